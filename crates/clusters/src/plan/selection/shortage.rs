//! What a person is told when there are too few machines.

use std::collections::BTreeMap;

use nico_api::names::MachineName;
use nico_api::reason::ClusterReason;

use crate::role::Role;

use super::Examined;
use super::candidates::PassedOver;

/// Why a plane has too few machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The reason of the condition.
    pub reason: ClusterReason,
    /// Which machines were passed over, and why.
    pub message: String,
}

impl Examined {
    /// Why there are fewer members than wanted; `None` when there are enough.
    pub(super) fn shortage(&self, role: Role) -> Option<Shortage> {
        if self.members.len() >= self.wanted {
            return None;
        }
        let count = format!(
            "{}: {} of {} machines",
            role.plane(),
            self.members.len(),
            self.wanted
        );
        if let Some(problem) = &self.problem {
            return Some(Shortage {
                reason: ClusterReason::InvalidSpec,
                message: format!("{count}; {problem}"),
            });
        }
        if self.free.len() + self.members.len() >= self.wanted {
            return Some(Shortage {
                reason: ClusterReason::WaitingForMachines,
                message: format!("{count}; claiming {}", join(&self.free)),
            });
        }
        if self.is_named {
            Some(self.named_shortage(&count))
        } else {
            Some(self.selector_shortage(&count))
        }
    }

    fn named_shortage(&self, count: &str) -> Shortage {
        let contended = self
            .giving_way
            .iter()
            .map(|name| format!("{name} is claimed by another cluster that has not started"));
        let passed_over = self
            .passed_over
            .iter()
            .map(|(name, why)| format!("{name} {}", why.sentence()));
        let details: Vec<String> = passed_over.chain(contended).collect();
        Shortage {
            reason: self
                .passed_over
                .values()
                .min()
                .map_or(ClusterReason::ClaimContended, PassedOver::reason),
            message: format!("{count}; {}", details.join("; ")),
        }
    }

    fn selector_shortage(&self, count: &str) -> Shortage {
        let matching =
            self.passed_over.len() + self.giving_way.len() + self.free.len() + self.members.len();
        let mut groups: BTreeMap<&'static str, usize> = BTreeMap::new();
        for why in self.passed_over.values() {
            *groups.entry(why.group()).or_default() += 1;
        }
        if !self.giving_way.is_empty() {
            *groups.entry("in use").or_default() += self.giving_way.len();
        }
        let mut counts: Vec<(&str, usize)> = groups.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let usable = self.members.len() + self.free.len();
        let details: Vec<String> = counts
            .iter()
            .map(|(group, count)| format!("{count} {group}"))
            .collect();
        let message = if matching == 0 {
            format!(
                "{count}; no free Machine matches the selector; label more Machines, or correct machineSelector"
            )
        } else if details.is_empty() {
            format!(
                "{count}; {matching} match the selector, all of them usable; add more Machines, or lower count"
            )
        } else {
            format!(
                "{count}; {matching} match the selector, {usable} of them usable: {}",
                details.join(", ")
            )
        };
        let reason = if self.giving_way.is_empty() {
            ClusterReason::NotEnoughMachines
        } else {
            ClusterReason::ClaimContended
        };
        Shortage { reason, message }
    }
}

fn join(names: &[MachineName]) -> String {
    let names: Vec<&str> = names.iter().map(MachineName::as_str).collect();
    names.join(", ")
}
