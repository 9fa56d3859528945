//! Who goes first when several clusters want the same machines.

use std::collections::BTreeSet;

use nico_api::names::MachineName;
use nico_api::{Machine, labels};

use crate::observed::{Claim, Observed, Rival, claimant_uid};
use crate::role::Role;

use super::candidates::{matching, names, unfit};

/// Free machines that older clusters are about to claim: all that each of them misses, in the
/// order of their age, if it can complete its control plane now.
pub(super) fn left_to_elders(observed: &Observed) -> BTreeSet<MachineName> {
    let mut elders: Vec<&Rival> = observed
        .rivals
        .iter()
        .filter(|rival| !rival.started && !is_younger(rival, observed))
        .filter(|rival| !control_plane_is_complete(observed, rival))
        .collect();
    elders.sort_by_key(|rival| (rival.created, &rival.uid));
    let mut left = BTreeSet::new();
    for elder in elders {
        let held = control_plane_of(observed, elder);
        let missing = elder.control_plane.size() - held.len();
        let claims: Vec<MachineName> = candidates_of(observed, elder)
            .into_iter()
            .filter(|name| !left.contains(name) && is_free(observed, name))
            .take(missing)
            .collect();
        if claims.len() == missing {
            left.extend(claims);
        }
    }
    left
}

/// The machines that a rival would look at for its control plane, in its order.
fn candidates_of(observed: &Observed, rival: &Rival) -> Vec<MachineName> {
    if let Some(list) = rival.control_plane.named_machines() {
        return list.iter().filter_map(|name| name.parse().ok()).collect();
    }
    let workers = names(rival.data_plane.named_machines());
    matching(observed, &rival.control_plane)
        .unwrap_or_default()
        .into_iter()
        .filter(|name| !workers.contains(name))
        .collect()
}

fn is_free(observed: &Observed, name: &MachineName) -> bool {
    observed.machines.get(name).is_some_and(|machine| {
        observed.claim(machine) == Claim::None && unfit(observed, name, machine).is_none()
    })
}

/// Whether the cluster that holds `machine` will give it back: it is younger than this one,
/// nothing was created for it, and its control plane is not complete.
pub(super) fn claimant_gives_way(observed: &Observed, machine: &Machine) -> bool {
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
    control_plane_of(observed, rival).len() >= rival.control_plane.size()
}

/// The control-plane machines that a rival holds.
fn control_plane_of<'a>(observed: &'a Observed, rival: &Rival) -> Vec<&'a Machine> {
    observed
        .machines
        .values()
        .map(AsRef::as_ref)
        .filter(|machine| claimant_uid(machine) == Some(&rival.uid))
        .filter(|machine| {
            machine.label(labels::ROLE).and_then(Role::from_label) == Some(Role::ControlPlane)
        })
        .collect()
}
