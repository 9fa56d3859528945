//! What is to be done: a pure function of what was observed.
//!
//! - [`desired`]: which rules there should be, and which Nodes are in doubt
//! - [`matching`]: which rule that is there is which that should be
//! - [`surplus`]: which of the others may go
//! - [`overlap`]: whose rules are in the way
//!
//! Nothing is planned for a rule that is not ours, and nothing is deleted on doubt.

mod desired;
mod matching;
mod overlap;
mod surplus;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::names::{IpNet, NetworkName, NodeName, Uuid};
use crate::netmaker::types::{Host, Member, Owner, Rule};
use crate::nodes::KubeNodes;
use crate::ownership::Cluster;
use crate::settings::Share;

pub use desired::NodeState;
pub(crate) use desired::YOUNG_SECONDS;
pub use matching::Drift;
pub use surplus::Surplus;

/// The metric of our routes. Agents use 1 to 998 as they are.
pub const METRIC: i64 = 500;

/// All that a plan depends on.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The Nodes of Kubernetes.
    pub nodes: KubeNodes,
    /// The hosts of Netmaker.
    pub hosts: std::sync::Arc<Vec<Host>>,
    /// The hosts in their networks.
    pub members: std::sync::Arc<Vec<Member>>,
    /// The networks that may be written to and whose rules were read.
    pub networks: Vec<NetworkName>,
    /// The rules in those networks, whoever made them.
    pub rules: Vec<Rule>,
}

/// What the user allows.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Which rules are ours.
    pub cluster: Cluster,
    /// No rule for a CIDR outside of these is written; empty allows all.
    pub cidrs: Vec<IpNet>,
    /// How many of our rules one pass may delete.
    pub max_deletes: Share,
}

/// A rule that there should be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// The Node.
    pub node: NodeName,
    /// The network.
    pub network: NetworkName,
    /// The Node's host in that network.
    pub member: Uuid,
    /// Which of the Node's CIDRs, from 0 on.
    pub index: usize,
    /// How many CIDRs the Node has.
    pub count: usize,
    /// The CIDR.
    pub cidr: IpNet,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make a rule.
    Create(Wanted),
    /// Make a rule what it should be, under the id that it has.
    Update {
        /// The rule.
        rule: Uuid,
        /// What it should be.
        wanted: Wanted,
        /// In what it differs.
        drift: Vec<Drift>,
    },
    /// Remove a rule of ours.
    Delete(Deletion),
}

/// The removal of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// The rule.
    pub rule: Uuid,
    /// Its network.
    pub network: NetworkName,
    /// Its name.
    pub name: Box<str>,
    /// The Node that it was for, as far as that is known.
    pub node: Option<NodeName>,
    /// Its range.
    pub range: Option<IpNet>,
    /// Why it goes.
    pub why: Surplus,
}

/// Why nothing is deleted though something should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// A list is empty that has something in it where a mesh works.
    EmptyList(&'static str),
    /// It would be too many at once.
    TooMany {
        /// How many of our rules would go.
        deletions: usize,
        /// How many there are.
        ours: usize,
        /// How many may go.
        allowed: usize,
    },
}

/// A rule of somebody else's that covers an address which one of ours covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The other rule.
    pub rule: Uuid,
    /// Its name.
    pub name: Box<str>,
    /// Its network.
    pub network: NetworkName,
    /// Its range.
    pub range: IpNet,
}

/// How a rule was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleState {
    /// As it should be.
    InSync,
    /// Not there.
    Missing,
    /// There, but not as it should be.
    Drifted,
    /// There, and should not be.
    Surplus,
    /// There, and left alone because its Node is in doubt.
    Held,
    /// Somebody else's, with a range that overlaps one of ours.
    Overlapping,
}

impl RuleState {
    /// All states.
    pub const ALL: [Self; 6] = [
        Self::InSync,
        Self::Missing,
        Self::Drifted,
        Self::Surplus,
        Self::Held,
        Self::Overlapping,
    ];

    /// The word for metrics and lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InSync => "in_sync",
            Self::Missing => "missing",
            Self::Drifted => "drifted",
            Self::Surplus => "surplus",
            Self::Held => "held",
            Self::Overlapping => "overlapping",
        }
    }
}

/// How many rules of a network were found in which state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleCounts([usize; RuleState::ALL.len()]);

impl RuleCounts {
    /// The number of rules in this state.
    pub fn of(&self, state: RuleState) -> usize {
        self.0[state as usize]
    }

    fn add(&mut self, state: RuleState) {
        self.0[state as usize] += 1;
    }
}

/// A rule of ours that is there, for a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The rule.
    pub rule: Uuid,
    /// Its network.
    pub network: NetworkName,
    /// Its Node, as far as that is known.
    pub node: Option<NodeName>,
    /// Its range.
    pub range: Option<IpNet>,
    /// How it was found.
    pub state: RuleState,
}

/// What is to be done, and what was found on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The writes: what is needed first, what is removed last.
    pub actions: Vec<Action>,
    /// Deletions that are not done, and why.
    pub withheld: Option<(Withheld, Vec<Deletion>)>,
    /// How each Node stands.
    pub nodes: BTreeMap<NodeName, NodeState>,
    /// How the rules of each network were found.
    pub rules: BTreeMap<NetworkName, RuleCounts>,
    /// All rules of ours that are there.
    pub ours: Vec<Listed>,
    /// Rules of others in the way of ours.
    pub overlaps: Vec<Overlap>,
}

impl Plan {
    /// Whether a Node waits for something that no watch tells of.
    pub fn is_waiting(&self, state: NodeState) -> bool {
        self.nodes.values().any(|found| *found == state)
    }

    /// Whether every rule is as it should be.
    pub fn is_settled(&self) -> bool {
        self.actions.is_empty() && self.withheld.is_none()
    }

    /// Whether it was planned from hosts that may be different by now, and says something that
    /// hangs on them.
    pub fn hangs_on_hosts(&self) -> bool {
        let hangs = |action: &Action| match action {
            Action::Create(_) => false,
            Action::Update { drift, .. } => drift.contains(&Drift::Nodes),
            Action::Delete(deletion) => deletion.why == Surplus::HostGone,
        };
        self.actions.iter().any(hangs)
            || self.withheld.is_some()
            || self.nodes.values().any(|state| {
                matches!(
                    state,
                    NodeState::HostMissing | NodeState::Ambiguous | NodeState::Inconsistent
                )
            })
    }
}

/// What is to be done.
pub fn plan(observed: &Observed, policy: &Policy, now: Timestamp) -> Plan {
    let desired = desired::desired(observed, policy, now);
    let ours: Vec<&Rule> = ours(&observed.rules).collect();
    let matched = matching::matched(&desired, &ours);
    let surplus = surplus::surplus(observed, &desired, &matched, &ours);

    let mut plan = Plan {
        overlaps: overlap::overlaps(&desired.wanted, &observed.rules),
        ..Plan::default()
    };
    for network in &observed.networks {
        plan.rules.entry(network.clone()).or_default();
    }
    for (wanted, found) in desired.wanted.iter().zip(&matched.found) {
        let state = match found {
            None => {
                plan.actions.push(Action::Create(wanted.clone()));
                RuleState::Missing
            }
            Some(found) if found.drift.is_empty() => RuleState::InSync,
            Some(found) => {
                plan.actions.push(Action::Update {
                    rule: found.rule.id,
                    wanted: wanted.clone(),
                    drift: found.drift.clone(),
                });
                RuleState::Drifted
            }
        };
        plan.count(&wanted.network, state);
        if let Some(found) = found {
            plan.list(found.rule, Some(wanted.node.clone()), state);
        }
    }
    for held in &surplus.held {
        plan.count(&held.network, RuleState::Held);
        plan.list(held, None, RuleState::Held);
    }
    for deletion in &surplus.deletions {
        plan.count(&deletion.network, RuleState::Surplus);
        plan.ours.push(Listed {
            rule: deletion.rule,
            network: deletion.network.clone(),
            node: deletion.node.clone(),
            range: deletion.range,
            state: RuleState::Surplus,
        });
    }
    for overlap in plan.overlaps.clone() {
        plan.count(&overlap.network, RuleState::Overlapping);
    }
    match surplus::withheld(observed, ours.len(), surplus.deletions.len(), policy) {
        Some(reason) => plan.withheld = Some((reason, surplus.deletions)),
        None => plan
            .actions
            .extend(surplus.deletions.into_iter().map(Action::Delete)),
    }
    plan.nodes = desired.nodes;
    plan
}

impl Plan {
    fn count(&mut self, network: &NetworkName, state: RuleState) {
        self.rules.entry(network.clone()).or_default().add(state);
    }

    fn list(&mut self, rule: &Rule, node: Option<NodeName>, state: RuleState) {
        self.ours.push(Listed {
            rule: rule.id,
            network: rule.network.clone(),
            node: node.or_else(|| crate::ownership::node_of(&rule.name).map(NodeName::from)),
            range: rule.range,
            state,
        });
    }
}

/// The rules of ours among `rules`.
pub(crate) fn ours(rules: &[Rule]) -> impl Iterator<Item = &Rule> {
    rules
        .iter()
        .filter(|rule| matches!(rule.owner, Owner::Us { .. }))
}
