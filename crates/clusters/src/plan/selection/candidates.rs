//! Whether a machine can be taken, and why not.

use std::collections::BTreeSet;

use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use nico_api::kubernetes_cluster::Plane;
use nico_api::machine::conditions::NEEDS_CLEANUP;
use nico_api::names::MachineName;
use nico_api::reason::ClusterReason;
use nico_api::{Machine, condition};

use crate::observed::{Claim, Observed};
use crate::role::Role;

use super::rivals;

/// Why a machine cannot be claimed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PassedOver {
    Missing,
    Unreadable(String),
    BeingDeleted,
    LeftToElder,
    Claimed(String),
    Configured(String),
    OtherRole(Role),
    Maintenance,
    NeedsCleanup,
    NotDiscoverable,
}

/// Whether a machine can be claimed.
pub(super) enum Verdict {
    Free,
    GivingWay,
    PassedOver(PassedOver),
}

/// Whether a machine can be claimed now.
pub(super) fn judge(
    observed: &Observed,
    name: &MachineName,
    left_to_elders: &BTreeSet<MachineName>,
) -> Verdict {
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
            if !rivals::claimant_gives_way(observed, machine) {
                return Verdict::PassedOver(PassedOver::Claimed((*cluster).to_owned()));
            }
            true
        }
    };
    match unfit(observed, name, machine) {
        Some(why) => Verdict::PassedOver(why),
        None if gives_way => Verdict::GivingWay,
        None if left_to_elders.contains(name) => Verdict::PassedOver(PassedOver::LeftToElder),
        None => Verdict::Free,
    }
}

/// Why a machine that nobody holds is not taken.
pub(super) fn unfit(
    observed: &Observed,
    name: &MachineName,
    machine: &Machine,
) -> Option<PassedOver> {
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
    } else if let Some(other) = observed.configured_by_others.get(name) {
        Some(PassedOver::Configured(other.clone()))
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

/// Machines that match the selector of the plane, by name.
pub(super) fn matching(observed: &Observed, plane: &Plane) -> Result<Vec<MachineName>, String> {
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

/// Names of a spec that are names.
pub(super) fn names(list: Option<&[String]>) -> BTreeSet<MachineName> {
    list.unwrap_or_default()
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect()
}

impl PassedOver {
    /// What is wrong, after the machine's name.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::Missing => "does not exist".to_owned(),
            Self::Unreadable(error) => format!("cannot be read ({error})"),
            Self::BeingDeleted => "is being deleted".to_owned(),
            Self::LeftToElder => "is about to be claimed by an older cluster".to_owned(),
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
    pub(super) fn group(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unreadable(_) => "unreadable",
            Self::BeingDeleted => "being deleted",
            Self::LeftToElder | Self::Claimed(_) | Self::Configured(_) | Self::OtherRole(_) => {
                "in use"
            }
            Self::Maintenance => "in maintenance",
            Self::NeedsCleanup => "in need of cleanup",
            Self::NotDiscoverable => "not discoverable",
        }
    }

    pub(super) fn reason(&self) -> ClusterReason {
        match self {
            Self::Missing | Self::Unreadable(_) => ClusterReason::MachineNotFound,
            Self::Claimed(_) | Self::Configured(_) | Self::OtherRole(_) => {
                ClusterReason::MachineInUse
            }
            Self::LeftToElder => ClusterReason::ClaimContended,
            Self::NotDiscoverable => ClusterReason::MachineNotDiscoverable,
            Self::BeingDeleted | Self::Maintenance | Self::NeedsCleanup => {
                ClusterReason::NotEnoughMachines
            }
        }
    }
}
