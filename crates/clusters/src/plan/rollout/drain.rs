//! How Pods are moved away from a Node before its machine changes.

use std::fmt;

use crate::observed::{DrainedPod, Workload};
use crate::role::Role;

use super::super::readiness::Member;
use super::{Move, Situation};

/// The Pods that are still on a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    /// Pods to evict now.
    pub evict: Vec<DrainedPod>,
    /// The others, with what they wait for.
    pub waiting: Vec<String>,
    /// Whether one of them waits for somebody else than itself.
    pub is_blocked: bool,
}

impl Remaining {
    /// Whether the Node is drained.
    pub fn is_empty(&self) -> bool {
        self.evict.is_empty() && self.waiting.is_empty()
    }
}

impl fmt::Display for Remaining {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let evicted = self
            .evict
            .iter()
            .map(|pod| format!("{}/{} is being evicted", pod.namespace, pod.name));
        let all: Vec<String> = self.waiting.iter().cloned().chain(evicted).collect();
        const SHOWN: usize = 5;
        formatter.write_str(&all[..all.len().min(SHOWN)].join("; "))?;
        match all.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(formatter, "; and {more} more"),
        }
    }
}

/// What begins the drain of a machine; `None` when it is changed without one.
///
/// A Node that is down is not drained: nobody would end its Pods. A control plane is drained
/// only if it runs ordinary Pods and another Node can take them.
pub fn begin(situation: &Situation<'_>, member: &Member) -> Option<Move> {
    let Workload::Answers(view) = situation.workload else {
        return None;
    };
    let node = member.seen.as_ref()?;
    let takes_pods = |other: &&crate::observed::Node| {
        other.name != node.name && other.ready && !other.unschedulable && !other.repels_pods
    };
    let is_worth_it = member.role == Role::Worker
        || (!node.repels_pods && view.nodes.iter().find(takes_pods).is_some());
    // A cordon that is left of an earlier rollout is taken back first.
    let is_ours = node.drain.as_ref().is_some_and(|drain| drain.cordoned);
    (situation.strategy.drain.enabled && member.is_alive() && is_worth_it).then(|| Move::Drain {
        node: node.name.clone(),
        cordon: !node.unschedulable || is_ours,
        attempt: situation.attempt.to_owned(),
    })
}

/// The Pods that are still on the Node of a machine; `None` while they are not known.
pub fn remaining(situation: &Situation<'_>, member: &Member) -> Option<Remaining> {
    let Workload::Answers(view) = situation.workload else {
        return None;
    };
    let node = member.seen.as_ref()?;
    let mut remaining = Remaining::default();
    for pod in view.draining.get(&node.name)? {
        let deletes_data = situation.strategy.drain.delete_empty_dir_data;
        let name = format!("{}/{}", pod.namespace, pod.name);
        if pod.is_leaving {
            remaining.waiting.push(format!("{name} is ending"));
        } else if pod.has_empty_dir && !deletes_data {
            remaining.is_blocked = true;
            remaining.waiting.push(format!(
                "{name} has emptyDir volumes, whose data rollout.drain.deleteEmptyDirData keeps"
            ));
        } else if let Some(budget) = &pod.held_by {
            remaining.is_blocked = true;
            remaining
                .waiting
                .push(format!("{name} is held by PodDisruptionBudget {budget}"));
        } else {
            remaining.evict.push(pod.clone());
        }
    }
    Some(remaining)
}
