//! Which machines the cluster has, which it claims now, and which it gives back.
//!
//! The control plane is all or nothing. A cluster for which nothing was created yet claims its
//! control plane only when it can see all of it, and gives back what it holds as soon as it
//! cannot complete it. Two clusters that each hold a part of what both want are told apart by
//! age (creation, then uid): the younger counts as giving way, so the elder waits for its part,
//! and the younger, which nobody gives way to, gives its part back. The youngest of all
//! therefore either completes or lets go, then the next, and none holds a part for ever.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use nico_api::Machine;
use nico_api::condition;
use nico_api::kubernetes_cluster::Plane;
use nico_api::machine::conditions::NEEDS_CLEANUP;
use nico_api::names::MachineName;
use nico_api::reason::ClusterReason;

use crate::observed::{Claim, Observed, Rival, claimant_uid};
use crate::role::Role;

/// The machines of a cluster, and what to do about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The control plane.
    pub control_plane: PlaneSelection,
    /// The workers.
    pub workers: PlaneSelection,
    /// Machines to claim now, in this order. Nothing is created before these are held.
    pub claims: Vec<(MachineName, Role)>,
    /// Machines to give back now: nothing is on them.
    pub releases: Vec<MachineName>,
}

/// The machines of one role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaneSelection {
    /// How many machines the spec asks for.
    pub wanted: usize,
    /// Machines that are held and wanted, in the order in which they were chosen.
    pub members: Vec<MachineName>,
    /// Machines that are held, are no longer wanted and still carry a configuration.
    pub leaving: Vec<MachineName>,
    /// Why there are fewer members than wanted.
    pub shortage: Option<Shortage>,
}

/// Why a plane has too few machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The reason of the condition.
    pub reason: ClusterReason,
    /// Which machines were passed over, and why.
    pub message: String,
}

impl PlaneSelection {
    /// Whether every machine that the spec asks for is held.
    pub fn is_complete(&self) -> bool {
        self.members.len() == self.wanted
    }
}

/// Selects the machines of the cluster.
///
/// Pure: the same snapshot gives the same selection. Machines that are held stay, in their
/// order, while they exist and are wanted.
pub fn select(observed: &Observed) -> Selection {
    let spec = &observed.cluster.spec;
    let named_workers = names(spec.data_plane().named_machines());
    let mut control = examine(
        observed,
        Role::ControlPlane,
        &spec.control_plane,
        &named_workers,
    );
    let chosen: BTreeSet<MachineName> = control
        .members
        .iter()
        .chain(&control.free)
        .cloned()
        .chain(names(spec.control_plane.named_machines()))
        .collect();
    let mut workers = examine(observed, Role::Worker, &spec.data_plane(), &chosen);

    let mut selection = Selection::default();
    let in_sight = control.members.len() + control.free.len();
    if observed.has_started() || in_sight >= control.wanted {
        selection.claim(Role::ControlPlane, &control);
    } else if in_sight + control.giving_way.len() < control.wanted {
        selection.releases.append(&mut control.members);
    }
    if control.members.len() == control.wanted || observed.has_started() {
        selection.claim(Role::Worker, &workers);
    } else {
        selection.releases.append(&mut workers.members);
    }
    selection.control_plane = selection.settle(observed, Role::ControlPlane, control);
    selection.workers = selection.settle(observed, Role::Worker, workers);
    selection
}

impl Selection {
    fn claim(&mut self, role: Role, plane: &Examined) {
        self.claims
            .extend(plane.free.iter().map(|name| (name.clone(), role)));
    }

    /// Parts the machines that leave into those that can be given back now and those that
    /// still carry a configuration.
    fn settle(&mut self, observed: &Observed, role: Role, plane: Examined) -> PlaneSelection {
        let shortage = plane.shortage(role);
        let (leaving, bare): (Vec<_>, Vec<_>) = plane
            .leaving
            .into_iter()
            .partition(|name| observed.configuration_of(name).is_some());
        self.releases.extend(bare);
        PlaneSelection {
            wanted: plane.wanted,
            members: plane.members,
            leaving,
            shortage,
        }
    }
}

/// One plane, looked at by itself.
struct Examined {
    wanted: usize,
    members: Vec<MachineName>,
    leaving: Vec<MachineName>,
    /// Machines that can be claimed now; never more than are missing.
    free: Vec<MachineName>,
    /// Machines that another cluster holds and will give back.
    giving_way: Vec<MachineName>,
    passed_over: BTreeMap<MachineName, PassedOver>,
    /// Names of the spec, or `None` when a selector chooses.
    is_named: bool,
    problem: Option<String>,
}

/// Why a machine cannot be claimed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PassedOver {
    Missing,
    Unreadable(String),
    BeingDeleted,
    Claimed(String),
    Configured(String),
    OtherRole(Role),
    Maintenance,
    NeedsCleanup,
    NotDiscoverable,
}

enum Verdict {
    Free,
    GivingWay,
    PassedOver(PassedOver),
}

fn examine(
    observed: &Observed,
    role: Role,
    plane: &Plane,
    reserved: &BTreeSet<MachineName>,
) -> Examined {
    let held: BTreeSet<MachineName> = observed.held(role).cloned().collect();
    let wanted = plane.size();
    let mut examined = Examined {
        wanted,
        members: vec![],
        leaving: vec![],
        free: vec![],
        giving_way: vec![],
        passed_over: BTreeMap::new(),
        is_named: plane.named_machines().is_some(),
        problem: None,
    };
    let candidates: Vec<MachineName> = match plane.named_machines() {
        Some(list) => {
            let list: Vec<MachineName> = list.iter().filter_map(|name| name.parse().ok()).collect();
            let (members, others): (Vec<_>, Vec<_>) =
                list.into_iter().partition(|name| held.contains(name));
            examined.leaving = held
                .into_iter()
                .filter(|name| !members.contains(name))
                .collect();
            examined.members = members;
            others
        }
        None => {
            examined.members = in_order_of_choice(observed, role, held);
            examined.leaving = examined
                .members
                .split_off(wanted.min(examined.members.len()));
            match matching(observed, plane) {
                Ok(candidates) => candidates
                    .into_iter()
                    .filter(|name| !reserved.contains(name))
                    .filter(|name| {
                        !examined.members.contains(name) && !examined.leaving.contains(name)
                    })
                    .collect(),
                Err(problem) => {
                    examined.problem = Some(problem);
                    vec![]
                }
            }
        }
    };

    let missing = wanted.saturating_sub(examined.members.len());
    for name in candidates {
        match judge(observed, &name) {
            Verdict::Free if examined.free.len() < missing => examined.free.push(name),
            Verdict::Free => {}
            Verdict::GivingWay => examined.giving_way.push(name),
            Verdict::PassedOver(why) => {
                examined.passed_over.insert(name, why);
            }
        }
    }
    examined
}

/// Machines that match the selector of the plane, by name.
fn matching(observed: &Observed, plane: &Plane) -> Result<Vec<MachineName>, String> {
    let Some(selector) = plane.machine_selector.clone() else {
        return Ok(vec![]);
    };
    let selector = Selector::try_from(selector)
        .map_err(|error| format!("machineSelector cannot be used: {error}"))?;
    Ok(observed
        .machines
        .iter()
        .filter(|(_, machine)| selector.matches(machine.labels()))
        .map(|(name, _)| name.clone())
        .collect())
}

/// Held machines in the order in which they were chosen; those that the status does not know
/// yet come last, by name.
fn in_order_of_choice(
    observed: &Observed,
    role: Role,
    held: BTreeSet<MachineName>,
) -> Vec<MachineName> {
    let chosen = observed
        .cluster
        .status
        .as_ref()
        .map_or(&[][..], |status| match role {
            Role::ControlPlane => &status.selected_control_plane_machines,
            Role::Worker => &status.selected_data_plane_machines,
        });
    let place = |name: &MachineName| {
        chosen
            .iter()
            .position(|chosen| chosen == name.as_str())
            .unwrap_or(usize::MAX)
    };
    let mut members: Vec<MachineName> = held.into_iter().collect();
    members.sort_by_key(place);
    members
}

fn judge(observed: &Observed, name: &MachineName) -> Verdict {
    let Some(machine) = observed.machines.get(name) else {
        return Verdict::PassedOver(match observed.unreadable_machines.get(name.as_str()) {
            Some(error) => PassedOver::Unreadable(error.clone()),
            None => PassedOver::Missing,
        });
    };
    let claim = observed.claim(machine);
    let gives_way = match &claim {
        Claim::None => false,
        Claim::Ours(role) => return Verdict::PassedOver(PassedOver::OtherRole(*role)),
        Claim::Other { cluster, .. } => {
            if !claimant_gives_way(observed, machine) {
                return Verdict::PassedOver(PassedOver::Claimed((*cluster).to_owned()));
            }
            true
        }
    };
    match unfit(observed, name, machine) {
        Some(why) => Verdict::PassedOver(why),
        None if gives_way => Verdict::GivingWay,
        None => Verdict::Free,
    }
}

/// Why a machine that nobody holds is not taken.
fn unfit(observed: &Observed, name: &MachineName, machine: &Machine) -> Option<PassedOver> {
    let conditions = machine
        .status
        .as_ref()
        .map_or(&[][..], |status| &status.conditions);
    let applied = machine
        .status
        .as_ref()
        .and_then(|status| status.applied_configuration.clone());
    if machine.metadata.deletion_timestamp.is_some() {
        Some(PassedOver::BeingDeleted)
    } else if machine.has_configuration() && observed.configuration_of(name).is_none() {
        Some(PassedOver::Configured(applied.unwrap_or_default()))
    } else if machine.spec.maintenance {
        Some(PassedOver::Maintenance)
    } else if condition::is_true(conditions, NEEDS_CLEANUP) {
        Some(PassedOver::NeedsCleanup)
    } else if !machine.is_discoverable() {
        Some(PassedOver::NotDiscoverable)
    } else {
        None
    }
}

/// Whether the cluster that holds `machine` will give it back: it is younger than this one,
/// nothing was created for it, and its control plane is not complete.
fn claimant_gives_way(observed: &Observed, machine: &Machine) -> bool {
    let Some(uid) = claimant_uid(machine) else {
        return false;
    };
    let Some(rival) = observed.rivals.iter().find(|rival| rival.uid == uid) else {
        return false;
    };
    !rival.started && is_younger(rival, observed) && !control_plane_is_complete(observed, rival)
}

fn is_younger(rival: &Rival, observed: &Observed) -> bool {
    let own_age = observed
        .cluster
        .metadata
        .creation_timestamp
        .as_ref()
        .map(|time| time.0);
    (Some(rival.created), rival.uid.as_str()) > (own_age, observed.uid())
}

fn control_plane_is_complete(observed: &Observed, rival: &Rival) -> bool {
    let holds = |machine: &Machine| {
        claimant_uid(machine) == Some(&rival.uid)
            && machine
                .label(nico_api::labels::ROLE)
                .and_then(Role::from_label)
                == Some(Role::ControlPlane)
    };
    observed
        .machines
        .values()
        .filter(|machine| holds(machine))
        .count()
        >= rival.control_plane_size
}

fn names(list: Option<&[String]>) -> BTreeSet<MachineName> {
    list.unwrap_or_default()
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect()
}

impl Examined {
    /// Why there are fewer members than wanted; `None` when there are enough.
    fn shortage(&self, role: Role) -> Option<Shortage> {
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

impl PassedOver {
    /// What is wrong, after the machine's name.
    fn sentence(&self) -> String {
        match self {
            Self::Missing => "does not exist".to_owned(),
            Self::Unreadable(error) => format!("cannot be read ({error})"),
            Self::BeingDeleted => "is being deleted".to_owned(),
            Self::Claimed(cluster) => format!("is claimed by cluster {cluster}"),
            Self::Configured(name) if name.is_empty() => "carries another configuration".to_owned(),
            Self::Configured(name) => format!("carries the NixosConfiguration {name}"),
            Self::OtherRole(role) => {
                format!("is a {role} machine of this cluster and has to be given back first")
            }
            Self::Maintenance => "is in maintenance".to_owned(),
            Self::NeedsCleanup => {
                "still carries a configuration that was given up (NeedsCleanup)".to_owned()
            }
            Self::NotDiscoverable => "does not answer over SSH (not discoverable)".to_owned(),
        }
    }

    /// What machines like this one are counted as.
    fn group(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unreadable(_) => "unreadable",
            Self::BeingDeleted => "being deleted",
            Self::Claimed(_) | Self::Configured(_) | Self::OtherRole(_) => "in use",
            Self::Maintenance => "in maintenance",
            Self::NeedsCleanup => "in need of cleanup",
            Self::NotDiscoverable => "not discoverable",
        }
    }

    fn reason(&self) -> ClusterReason {
        match self {
            Self::Missing | Self::Unreadable(_) => ClusterReason::MachineNotFound,
            Self::Claimed(_) | Self::Configured(_) | Self::OtherRole(_) => {
                ClusterReason::MachineInUse
            }
            Self::NotDiscoverable => ClusterReason::MachineNotDiscoverable,
            Self::BeingDeleted | Self::Maintenance | Self::NeedsCleanup => {
                ClusterReason::NotEnoughMachines
            }
        }
    }
}

fn join(names: &[MachineName]) -> String {
    let names: Vec<&str> = names.iter().map(MachineName::as_str).collect();
    names.join(", ")
}

#[cfg(test)]
mod races;
#[cfg(test)]
mod tests;
