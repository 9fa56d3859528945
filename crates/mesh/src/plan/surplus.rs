//! Which rules of ours may go, and when none may.

use std::collections::{HashMap, HashSet};

use super::desired::{Desired, NodeState};
use super::matching::{Matched, is_doubtful};
use super::{Deletion, Observed, Policy, Withheld};
use crate::names::{NodeName, Uuid};
use crate::netmaker::types::{Owner, Rule};
use crate::ownership;

/// Up to so many rules the share that may go is all of them.
const FEW: usize = 10;

/// Why a rule should not be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Surplus {
    /// Another rule is for the same.
    Duplicate,
    /// The Node has fewer CIDRs.
    Leftover,
    /// Kubernetes has no such Node, or it is not selected.
    NodeGone,
    /// The Node has no host in that network.
    HostGone,
}

impl Surplus {
    /// The words for logs and lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "another rule is for the same",
            Self::Leftover => "the Node has fewer CIDRs",
            Self::NodeGone => "there is no such Node",
            Self::HostGone => "the Node has no host in the network",
        }
    }
}

pub(super) struct Judged<'a> {
    pub(super) held: Vec<&'a Rule>,
    pub(super) deletions: Vec<Deletion>,
}

pub(super) fn surplus<'a>(
    observed: &Observed,
    desired: &Desired,
    matched: &Matched<'_>,
    ours: &[&'a Rule],
) -> Judged<'a> {
    let hosts: HashMap<Uuid, &str> = observed
        .hosts
        .iter()
        .flat_map(|host| host.nodes.iter().map(|member| (*member, &*host.name)))
        .collect();
    let mut places: HashSet<(&str, &str)> = HashSet::new();
    let mut wanted_keys: HashSet<(&str, &str, i64)> = HashSet::new();
    for wanted in &desired.wanted {
        let (network, node) = (wanted.network.as_str(), wanted.node.as_str());
        places.insert((network, node));
        if let Ok(index) = i64::try_from(wanted.index) {
            wanted_keys.insert((network, node, index));
        }
    }
    let mut judged = Judged {
        held: Vec::new(),
        deletions: Vec::new(),
    };
    for rule in ours.iter().copied() {
        if matched.claimed.contains(&rule.id) {
            continue;
        }
        if is_doubtful(rule, desired) {
            judged.held.push(rule);
            continue;
        }
        let by_member = rule.nodes.iter().find_map(|(member, _)| hosts.get(member));
        // A host that was renamed has the name of no Node any more; the rule still has.
        let by_member = by_member
            .copied()
            .filter(|name| observed.nodes.contains_key(*name));
        let node = by_member.or_else(|| ownership::node_of(&rule.name));
        let index = match rule.owner {
            Owner::Us { index, .. } => index,
            Owner::Others => continue,
        };
        let network = rule.network.as_str();
        let why = match node {
            Some(node) if wanted_keys.contains(&(network, node, index)) => Surplus::Duplicate,
            Some(node) if places.contains(&(network, node)) => Surplus::Leftover,
            Some(node) => match desired.nodes.get(node) {
                None => Surplus::NodeGone,
                Some(NodeState::WithoutCidrs) => Surplus::Leftover,
                Some(_) => Surplus::HostGone,
            },
            None => Surplus::NodeGone,
        };
        judged.deletions.push(Deletion {
            rule: rule.id,
            network: rule.network.clone(),
            name: rule.name.clone(),
            node: node.map(NodeName::from),
            range: rule.range,
            why,
        });
    }
    judged
}

/// Why nothing may be deleted, if that is so.
pub(super) fn withheld(
    observed: &Observed,
    ours: usize,
    deletions: usize,
    policy: &Policy,
) -> Option<Withheld> {
    if deletions == 0 {
        return None;
    }
    let lists = [
        (observed.nodes.is_empty(), "Nodes of Kubernetes"),
        (observed.hosts.is_empty(), "hosts of Netmaker"),
        (observed.members.is_empty(), "nodes of Netmaker"),
    ];
    if let Some((_, list)) = lists.into_iter().find(|(is_empty, _)| *is_empty) {
        return Some(Withheld::EmptyList(list));
    }
    let allowed = policy.max_deletes.of(ours);
    (ours > FEW && deletions > allowed).then_some(Withheld::TooMany {
        deletions,
        ours,
        allowed,
    })
}
