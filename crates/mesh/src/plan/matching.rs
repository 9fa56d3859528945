//! Which rule that is there is which that should be.
//!
//! First by the routing node and the index in the description, unless another routing node of the
//! rule is in doubt. Then, since a rule that is changed
//! keeps its id and with it the access policies that name it, what would otherwise be deleted is
//! taken over: a rule of that name and index, then one of that range.

use std::collections::{HashMap, HashSet};

use super::desired::Desired;
use super::{METRIC, Wanted};
use crate::names::{IpNet, NetworkName, Uuid};
use crate::netmaker::types::{Owner, Rule};
use crate::ownership;

/// In what a rule differs from what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Drift {
    /// Its name.
    Name,
    /// Its description.
    Description,
    /// Its range.
    Range,
    /// Its routing nodes, or their metrics.
    Nodes,
    /// It translates addresses.
    Nat,
    /// It is off.
    Status,
    /// It has tags or a domain.
    More,
}

impl Drift {
    /// The word for logs and lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Description => "description",
            Self::Range => "range",
            Self::Nodes => "nodes",
            Self::Nat => "nat",
            Self::Status => "status",
            Self::More => "tags or domain",
        }
    }
}

#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) rule: &'a Rule,
    pub(super) drift: Vec<Drift>,
}

#[derive(Debug)]
pub(super) struct Matched<'a> {
    /// For each rule that there should be, in their order.
    pub(super) found: Vec<Option<Found<'a>>>,
    pub(super) claimed: HashSet<Uuid>,
}

pub(super) fn matched<'a>(desired: &Desired, ours: &[&'a Rule]) -> Matched<'a> {
    let wanted = &desired.wanted;
    let mut matching = Matching {
        rules: vec![None; wanted.len()],
        claimed: HashSet::new(),
    };
    matching.claim(
        wanted,
        ours,
        |rule, index| {
            let is_doubtful = |node| desired.doubtful_members.contains(node);
            let nodes = rule.nodes.iter().map(|(node, _)| node);
            let others_are_sure = |node| {
                !nodes
                    .clone()
                    .any(|other| other != node && is_doubtful(other))
            };
            nodes
                .clone()
                .filter(|node| others_are_sure(*node))
                .map(|node| Key::Member(*node, index))
                .collect()
        },
        |wanted, index| Key::Member(wanted.member, index),
    );
    let loose: Vec<&Rule> = ours
        .iter()
        .copied()
        .filter(|rule| !is_doubtful(rule, desired))
        .collect();
    matching.claim(
        wanted,
        &loose,
        |rule, index| {
            let node = ownership::node_of(&rule.name);
            node.map(|node| Key::Name(&rule.network, node, index))
                .into_iter()
                .collect()
        },
        |wanted, index| Key::Name(&wanted.network, wanted.node.as_str(), index),
    );
    matching.claim(
        wanted,
        &loose,
        |rule, index| {
            let range = rule.range;
            range
                .map(|range| Key::Range(&rule.network, range, index))
                .into_iter()
                .collect()
        },
        |wanted, index| Key::Range(&wanted.network, wanted.cidr, index),
    );
    let found = matching.rules.into_iter().zip(wanted);
    Matched {
        found: found
            .map(|(rule, wanted)| {
                rule.map(|rule| Found {
                    rule,
                    drift: drift(rule, wanted),
                })
            })
            .collect(),
        claimed: matching.claimed,
    }
}

/// What two things must have in common.
#[derive(PartialEq, Eq, Hash)]
enum Key<'a> {
    Member(Uuid, i64),
    Name(&'a NetworkName, &'a str, i64),
    Range(&'a NetworkName, IpNet, i64),
}

struct Matching<'a> {
    rules: Vec<Option<&'a Rule>>,
    claimed: HashSet<Uuid>,
}

impl<'a> Matching<'a> {
    /// Gives each that is still without one the oldest rule that is still free and has its key.
    fn claim<'k>(
        &mut self,
        wanted: &'k [Wanted],
        rules: &[&'a Rule],
        keys_of: impl Fn(&'a Rule, i64) -> Vec<Key<'k>>,
        key_of: impl Fn(&'k Wanted, i64) -> Key<'k>,
    ) where
        'a: 'k,
    {
        let mut free: HashMap<Key<'k>, Vec<&'a Rule>> = HashMap::new();
        for rule in rules {
            let Owner::Us { index, .. } = rule.owner else {
                continue;
            };
            if self.claimed.contains(&rule.id) {
                continue;
            }
            for key in keys_of(rule, index) {
                free.entry(key).or_default().push(rule);
            }
        }
        for (slot, wanted) in self.rules.iter_mut().zip(wanted) {
            if slot.is_some() {
                continue;
            }
            let Ok(index) = i64::try_from(wanted.index) else {
                continue;
            };
            let candidates = free.get(&key_of(wanted, index));
            let oldest = candidates
                .into_iter()
                .flatten()
                .filter(|rule| rule.network == wanted.network)
                .filter(|rule| !self.claimed.contains(&rule.id))
                .min_by_key(|rule| (rule.created, rule.id));
            if let Some(rule) = oldest {
                self.claimed.insert(rule.id);
                *slot = Some(rule);
            }
        }
    }
}

/// Whether a rule belongs to a Node that is in doubt.
pub(super) fn is_doubtful(rule: &Rule, desired: &Desired) -> bool {
    let node = ownership::node_of(&rule.name);
    node.is_some_and(|node| desired.doubtful_nodes.contains(node))
        || rule
            .nodes
            .iter()
            .any(|(member, _)| desired.doubtful_members.contains(member))
}

fn drift(rule: &Rule, wanted: &Wanted) -> Vec<Drift> {
    let name = ownership::rule_name(&wanted.node, wanted.index, wanted.count);
    let is_exact = matches!(rule.owner, Owner::Us { is_exact: true, .. });
    [
        (*rule.name != name, Drift::Name),
        (!is_exact, Drift::Description),
        (rule.range != Some(wanted.cidr), Drift::Range),
        (*rule.nodes != [(wanted.member, METRIC)], Drift::Nodes),
        (rule.nat, Drift::Nat),
        (!rule.is_on, Drift::Status),
        (rule.has_more, Drift::More),
    ]
    .into_iter()
    .filter_map(|(differs, drift)| differs.then_some(drift))
    .collect()
}
