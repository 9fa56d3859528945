//! Whether a machine may join a cluster that runs.
//!
//! Neither its kubelet nor its API server may be of a newer minor version of Kubernetes than the
//! control planes that are there: those go up first, by the rules of a rollout.

use crate::role::Role;

use super::super::readiness::{ConfigurationState, Member};
use super::order::Version;
use super::{Placed, Stage};

/// Why no machine may join now; `None` when it may. A machine that joins gets the wanted commit.
pub(super) fn obstacle(placed: &[Placed<'_>]) -> Option<String> {
    let (alive, others): (Vec<_>, Vec<_>) = placed
        .iter()
        .filter(|node| node.is_of(Role::ControlPlane) && node.stage != Stage::Joining)
        .partition(|node| node.member.is_alive());
    // One that is down holds nobody up, unless none is known to work.
    let present = if alive.is_empty() { others } else { alive };
    let older = present.into_iter().find(|node| may_be_older(node.member))?;
    Some(format!(
        "{} may run an older Kubernetes than the wanted commit, and changes first",
        older.member.machine
    ))
}

/// Whether the machine may run an older minor version than what is wanted.
fn may_be_older(member: &Member) -> bool {
    if member.runs_commit {
        return false;
    }
    let runs = member
        .seen
        .as_ref()
        .and_then(|node| Version::read(node.kubelet_version.as_deref()?));
    let wanted = match &member.configuration {
        ConfigurationState::Staged(Some(version)) if member.updated => Version::read(version),
        _ => None,
    };
    match (runs, wanted) {
        (Some(runs), Some(wanted)) => runs.minor() < wanted.minor(),
        _ => true,
    }
}
