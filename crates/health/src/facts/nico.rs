//! The objects of NICO, as far as their health goes.

use jiff::Timestamp;
use nico_api::labels;
use serde::Deserialize;

use super::meta::{Condition, Object, condition, null_is_default};

/// A Machine.
pub type Machine = Object<MachineSpec, NicoStatus>;

/// A NixosConfiguration.
pub type Configuration = Object<ConfigurationSpec, NicoStatus>;

/// A KubernetesCluster.
pub type Cluster = Object<ClusterSpec, NicoStatus>;

/// A computer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MachineSpec {
    /// Whether somebody works on it.
    pub maintenance: bool,
}

/// What a machine runs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigurationSpec {
    /// The machine.
    pub machine_ref: MachineReference,
}

/// A machine by its name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MachineReference {
    /// The name.
    pub name: String,
}

/// Many machines as one cluster.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ClusterSpec {
    /// Whether nothing is to be begun.
    pub paused: bool,
}

/// How an object of NICO is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NicoStatus {
    /// For which generation of the spec.
    pub observed_generation: Option<i64>,
    /// Its conditions.
    #[serde(deserialize_with = "null_is_default")]
    pub conditions: Vec<Condition>,
    /// Whether a configuration is on the machine.
    pub has_configuration: bool,
    /// What a rollout does.
    pub rollout: Option<Rollout>,
}

/// What a rollout does.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rollout {
    /// In words.
    pub message: Option<String>,
    /// Machines that are done.
    pub updated: i64,
    /// All machines.
    pub total: i64,
    /// When it began.
    pub started_at: Option<Timestamp>,
}

impl<P> Object<P, NicoStatus> {
    /// Whether the controller has seen the newest spec.
    pub fn is_observed(&self) -> bool {
        self.metadata.generation.unwrap_or(0) <= self.status.observed_generation.unwrap_or(i64::MAX)
    }
}

impl Configuration {
    /// Whether nothing more is tried, or a rollout failed on it.
    pub fn is_given_up(&self) -> bool {
        let stalled = condition(&self.status.conditions, "Stalled");
        let failed = self.metadata.annotation(labels::FAILED_ROLLOUT);
        stalled.is_some_and(Condition::is_true) || failed.is_some()
    }

    /// Whether it is on its way to what it should be.
    pub fn is_under_way(&self) -> bool {
        const REASONS: &[&str] = &[
            "Pending",
            "InProgress",
            "Resolved",
            "Evaluated",
            "Built",
            "Copied",
            "Activated",
            "Staged",
            "Removing",
            "MachineInMaintenance",
        ];
        let ready = condition(&self.status.conditions, "Ready");
        !self.is_given_up() && ready.is_some_and(|ready| REASONS.contains(&ready.reason.as_str()))
    }
}
