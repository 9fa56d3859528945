//! Which rules there should be, and what is in doubt.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;

use super::{Observed, Policy, Wanted};
use crate::names::{IpNet, NetworkName, NodeName, Uuid};
use crate::netmaker::types::{Host, Member};
use crate::nodes::{Cidrs, KubeNode};

/// A Node of this age has its CIDRs and its host, or gets them late.
pub(crate) const YOUNG_SECONDS: i64 = 600;

/// How a Node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeState {
    /// Its rules are known.
    Ready,
    /// It has no CIDRs, which other Nodes have from the start.
    WithoutCidrs,
    /// A CIDR of it is none.
    UnreadableCidrs,
    /// Netmaker has no host of its name, or that host is in no network.
    HostMissing,
    /// Several hosts have its name, and which is meant cannot be told.
    Ambiguous,
    /// Netmaker's lists do not agree about its host.
    Inconsistent,
    /// A CIDR of it is outside of what may be written.
    Refused,
}

impl NodeState {
    /// All states.
    pub const ALL: [Self; 7] = [
        Self::Ready,
        Self::WithoutCidrs,
        Self::UnreadableCidrs,
        Self::HostMissing,
        Self::Ambiguous,
        Self::Inconsistent,
        Self::Refused,
    ];

    /// The word for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::WithoutCidrs => "without_cidrs",
            Self::UnreadableCidrs => "unreadable_cidrs",
            Self::HostMissing => "host_missing",
            Self::Ambiguous => "ambiguous",
            Self::Inconsistent => "inconsistent",
            Self::Refused => "refused",
        }
    }
}

/// What there should be.
#[derive(Debug, Default)]
pub(super) struct Desired {
    pub(super) wanted: Vec<Wanted>,
    pub(super) nodes: BTreeMap<NodeName, NodeState>,
    /// Nodes whose rules are left as they are.
    pub(super) doubtful_nodes: HashSet<NodeName>,
    /// Members whose rules are left as they are.
    pub(super) doubtful_members: HashSet<Uuid>,
}

struct World<'a> {
    /// By name.
    hosts: HashMap<&'a str, Vec<&'a Host>>,
    members: HashMap<Uuid, &'a Member>,
    /// By the host that they name.
    members_of: HashMap<Uuid, Vec<&'a Member>>,
    networks: HashSet<&'a NetworkName>,
}

/// Which host a Node is.
enum Chosen<'a> {
    None,
    One(&'a Host),
    Unclear,
}

pub(super) fn desired(observed: &Observed, policy: &Policy, now: Timestamp) -> Desired {
    let world = World::new(observed);
    let mut desired = Desired::default();
    desired.doubt_partial_lists(observed);
    for (name, node) in &*observed.nodes {
        let state = desired.add(&world, policy, name, node, now);
        desired.nodes.insert(name.clone(), state);
    }
    desired
}

impl<'a> World<'a> {
    fn new(observed: &'a Observed) -> Self {
        let mut hosts: HashMap<&str, Vec<&Host>> = HashMap::new();
        for host in &*observed.hosts {
            if observed.nodes.contains_key(&*host.name) {
                hosts.entry(&host.name).or_default().push(host);
            }
        }
        let mut members_of: HashMap<Uuid, Vec<&Member>> = HashMap::new();
        let ids: HashSet<Uuid> = hosts.values().flatten().map(|host| host.id).collect();
        for member in &*observed.members {
            if ids.contains(&member.host) {
                members_of.entry(member.host).or_default().push(member);
            }
        }
        let members = observed.members.iter();
        Self {
            hosts,
            members: members.map(|member| (member.id, member)).collect(),
            members_of,
            networks: observed.networks.iter().collect(),
        }
    }

    fn hosts_of(&self, name: &NodeName) -> &[&'a Host] {
        self.hosts.get(name.as_str()).map_or(&[], Vec::as_slice)
    }

    fn members_of(&self, host: &Host) -> &[&'a Member] {
        self.members_of.get(&host.id).map_or(&[], Vec::as_slice)
    }

    /// Whether the lists say the same about a host: they are read one beside the other, while
    /// hosts join and leave. Which of several hosts is live cannot be told of one that is half
    /// there, nor that it is in no network.
    fn is_whole(&self, host: &Host) -> bool {
        let is_its_own = |id: &Uuid| {
            let member = self.members.get(id);
            member.is_some_and(|member| member.host == host.id)
        };
        let is_listed = |member: &&Member| member.is_leaving || host.nodes.contains(&member.id);
        host.nodes.iter().all(is_its_own) && self.members_of(host).iter().all(is_listed)
    }

    /// Of several hosts with one name, the live one counts if exactly one is live.
    fn host_of(&self, name: &NodeName) -> Chosen<'a> {
        match self.hosts_of(name) {
            [] => Chosen::None,
            [host] => Chosen::One(host),
            hosts => {
                let mut live = hosts.iter().filter(|host| self.is_live(host));
                match (live.next(), live.next()) {
                    (Some(host), None) => Chosen::One(host),
                    _ => Chosen::Unclear,
                }
            }
        }
    }

    fn is_live(&self, host: &Host) -> bool {
        host.nodes.iter().any(|id| {
            let member = self.members.get(id);
            member.is_some_and(|member| member.is_live && !member.is_leaving)
        })
    }

    /// The host's member in each network. Where it has several, a live one; of those always the
    /// same.
    fn networks_of(&self, host: &Host) -> BTreeMap<&'a NetworkName, &'a Member> {
        let mut chosen: BTreeMap<&NetworkName, &Member> = BTreeMap::new();
        for id in &host.nodes {
            let Some(member) = self.members.get(id) else {
                continue;
            };
            if member.is_leaving || !self.networks.contains(&member.network) {
                continue;
            }
            let better = |old: &&Member| (!member.is_live, member.id) < (!old.is_live, old.id);
            if chosen.get(&member.network).is_none_or(better) {
                chosen.insert(&member.network, member);
            }
        }
        chosen
    }
}

impl Desired {
    /// Lists that were read one after the other, or not whole, may name what the others lack.
    fn doubt_partial_lists(&mut self, observed: &Observed) {
        let hosts: HashSet<Uuid> = observed.hosts.iter().map(|host| host.id).collect();
        let lonely = observed.members.iter();
        let lonely = lonely.filter(|member| !hosts.contains(&member.host));
        self.doubtful_members.extend(lonely.map(|member| member.id));
    }

    fn add(
        &mut self,
        world: &World<'_>,
        policy: &Policy,
        name: &NodeName,
        node: &KubeNode,
        now: Timestamp,
    ) -> NodeState {
        let is_young = now.as_second() - node.created.as_second() < YOUNG_SECONDS;
        let cidrs = match &node.cidrs {
            Cidrs::Known(cidrs) if cidrs.is_empty() => {
                // They are given to a Node soon after it was made; its rules wait for them.
                if is_young {
                    self.doubt(world, name);
                }
                return NodeState::WithoutCidrs;
            }
            Cidrs::Known(cidrs) => cidrs,
            Cidrs::Unreadable(_) => {
                self.doubt(world, name);
                return NodeState::UnreadableCidrs;
            }
        };
        if !world.hosts_of(name).iter().all(|host| world.is_whole(host)) {
            self.doubt(world, name);
            return NodeState::Inconsistent;
        }
        let host = match world.host_of(name) {
            Chosen::One(host) => host,
            Chosen::None => {
                if is_young {
                    self.doubt(world, name);
                }
                return NodeState::HostMissing;
            }
            Chosen::Unclear => {
                self.doubt(world, name);
                return NodeState::Ambiguous;
            }
        };
        if cidrs.iter().any(|cidr| !policy.allows(cidr)) {
            self.doubt(world, name);
            return NodeState::Refused;
        }
        let networks = world.networks_of(host);
        if networks.is_empty() {
            if is_young {
                self.doubt(world, name);
            }
            return NodeState::HostMissing;
        }
        for (network, member) in networks {
            for (index, cidr) in cidrs.iter().enumerate() {
                self.wanted.push(Wanted {
                    node: name.clone(),
                    network: network.clone(),
                    member: member.id,
                    index,
                    count: cidrs.len(),
                    cidr: *cidr,
                });
            }
        }
        NodeState::Ready
    }

    /// Whatever names the Node, or any host of its name, stays as it is.
    fn doubt(&mut self, world: &World<'_>, name: &NodeName) {
        self.doubtful_nodes.insert(name.clone());
        for host in world.hosts_of(name) {
            self.doubtful_members.extend(host.nodes.iter().copied());
            let members = world.members_of(host).iter().map(|member| member.id);
            self.doubtful_members.extend(members);
        }
    }
}

impl Policy {
    fn allows(&self, cidr: &IpNet) -> bool {
        self.cidrs.is_empty() || self.cidrs.iter().any(|allowed| allowed.contains(cidr))
    }
}
