//! Which machines the cluster has, which it claims now, and which it gives back.
//!
//! The control plane is all or nothing. A cluster for which nothing was created yet claims its
//! control plane only when it can see all of it, and gives back what it holds as soon as it
//! cannot complete it. Two clusters that each hold a part of what both want are told apart by
//! age (creation, then uid): the younger counts as giving way, so the elder waits for its part,
//! and the younger, which nobody gives way to, gives its part back. The youngest of all
//! therefore either completes or lets go, then the next, and none holds a part for ever.
//! Machines with which an elder could complete now are left to it, so that clusters that see
//! the same do not run into each other.
//!
//! - [`candidates`]: whether a machine can be taken, and why not
//! - [`rivals`]: who goes first
//! - [`shortage`]: what a person is told when there are too few

mod candidates;
mod rivals;
mod shortage;

use std::collections::{BTreeMap, BTreeSet};

use nico_api::kubernetes_cluster::Plane;
use nico_api::names::MachineName;

use crate::observed::Observed;
use crate::plan::readiness;
use crate::role::Role;

use candidates::{PassedOver, Verdict, judge, matching, names};
pub use shortage::Shortage;

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
    let left_to_elders = rivals::left_to_elders(observed);
    let named_workers = names(spec.data_plane().named_machines());
    let search = |role, plane: &Plane, reserved: &BTreeSet<MachineName>| {
        examine(observed, role, plane, reserved, &left_to_elders)
    };
    let mut control = search(Role::ControlPlane, &spec.control_plane, &named_workers);
    let chosen: BTreeSet<MachineName> = control
        .members
        .iter()
        .chain(&control.free)
        .cloned()
        .chain(names(spec.control_plane.named_machines()))
        .collect();
    let mut workers = search(Role::Worker, &spec.data_plane(), &chosen);

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

impl Examined {
    /// Parts members and those that are too many: machines that were let go of before, then those
    /// that do no work, then the last that were chosen; never the first control plane while
    /// others are there.
    fn let_go_of_surplus(&mut self, observed: &Observed, role: Role) {
        let surplus = self.members.len().saturating_sub(self.wanted);
        if surplus == 0 {
            return;
        }
        let chosen = chosen(observed, role);
        let is_first = |place: usize| role == Role::ControlPlane && place == 0;
        let worth = |(place, name): &(usize, MachineName)| {
            let is_chosen = chosen.iter().any(|chosen| chosen == name.as_str());
            let works = readiness::judge(observed, name, role, None).is_alive();
            (
                is_first(*place),
                is_chosen,
                works,
                std::cmp::Reverse(*place),
            )
        };
        let mut by_worth: Vec<_> = self.members.drain(..).enumerate().collect();
        by_worth.sort_by_cached_key(worth);
        let mut kept = by_worth.split_off(surplus);
        kept.sort_by_key(|(place, _)| *place);
        self.leaving = by_worth.into_iter().map(|(_, name)| name).collect();
        self.members = kept.into_iter().map(|(_, name)| name).collect();
    }
}

/// Looks at a plane. `reserved` are machines of the cluster's other plane.
fn examine(
    observed: &Observed,
    role: Role,
    plane: &Plane,
    reserved: &BTreeSet<MachineName>,
    left_to_elders: &BTreeSet<MachineName>,
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
            examined.let_go_of_surplus(observed, role);
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
        match judge(observed, &name, left_to_elders) {
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

/// Held machines in the order in which they were chosen; those that the status does not know
/// yet come last, by name.
fn in_order_of_choice(
    observed: &Observed,
    role: Role,
    held: BTreeSet<MachineName>,
) -> Vec<MachineName> {
    let chosen = chosen(observed, role);
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

/// The machines that the status knows.
fn chosen(observed: &Observed, role: Role) -> &[String] {
    let status = observed.cluster.status.as_ref();
    status.map_or(&[][..], |status| match role {
        Role::ControlPlane => &status.selected_control_plane_machines,
        Role::Worker => &status.selected_data_plane_machines,
    })
}

#[cfg(test)]
mod races;
#[cfg(test)]
mod tests;
