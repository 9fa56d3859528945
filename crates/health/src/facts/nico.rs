//! The objects of NICO, as far as their health goes.

use serde::Deserialize;

use super::meta::{Condition, Object, null_is_default};

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
    /// Whether the machine is not to be changed now.
    pub hold: bool,
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
#[serde(default)]
pub struct Rollout {
    /// In words.
    pub message: Option<String>,
    /// The machines in hand.
    #[serde(deserialize_with = "null_is_default")]
    pub current: Vec<String>,
}

impl<P> Object<P, NicoStatus> {
    /// Whether the controller has seen the newest spec.
    pub fn is_observed(&self) -> bool {
        self.metadata.generation.unwrap_or(0) <= self.status.observed_generation.unwrap_or(i64::MAX)
    }
}
