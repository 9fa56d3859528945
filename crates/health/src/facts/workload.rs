//! What makes Pods, and what limits that Pods are taken away.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::meta::{Condition, Metadata, Nothing, Object, null_is_default};

/// A Deployment, StatefulSet or DaemonSet.
pub type Workload = Object<WorkloadSpec, WorkloadStatus>;

/// A Deployment.
pub type Deployment = Object<WorkloadSpec, WorkloadStatus>;

/// A StatefulSet.
pub type StatefulSet = Object<WorkloadSpec, WorkloadStatus>;

/// A DaemonSet.
pub type DaemonSet = Object<WorkloadSpec, WorkloadStatus>;

/// A Job.
pub type Job = Object<Nothing, JobStatus>;

/// A PodDisruptionBudget.
pub type DisruptionBudget = Object<BudgetSpec, BudgetStatus>;

/// What makes Pods and keeps them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSpec {
    /// How many Pods; 1 when it is not said. A DaemonSet has none.
    pub replicas: Option<u32>,
    /// Whether changes wait.
    pub paused: bool,
    /// How Pods are made.
    pub template: Template,
}

/// How Pods are made.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Template {
    /// Their labels.
    pub metadata: Metadata,
}

/// How that goes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadStatus {
    /// For which generation of the spec.
    pub observed_generation: Option<i64>,
    /// Pods that are ready.
    pub ready_replicas: u32,
    /// Pods that have been ready for long enough.
    pub available_replicas: u32,
    /// Pods that a DaemonSet should have.
    pub desired_number_scheduled: u32,
    /// Pods of a DaemonSet that are ready.
    pub number_ready: u32,
    /// Conditions of a Deployment.
    #[serde(deserialize_with = "null_is_default")]
    pub conditions: Vec<Condition>,
}

/// How that goes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobStatus {
    /// When it was done.
    pub completion_time: Option<Timestamp>,
    /// Its conditions.
    #[serde(deserialize_with = "null_is_default")]
    pub conditions: Vec<Condition>,
}

/// Which Pods may not all be taken away.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct BudgetSpec {
    /// The Pods.
    pub selector: LabelSelector,
}

/// A selector, as far as it names labels.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels with their values.
    #[serde(deserialize_with = "null_is_default")]
    pub match_labels: BTreeMap<String, String>,
}

/// How many may be taken away.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BudgetStatus {
    /// Now.
    pub disruptions_allowed: i64,
    /// Of how many.
    pub expected_pods: i64,
}

impl Object<WorkloadSpec, WorkloadStatus> {
    /// How many Pods there should be.
    pub fn wanted(&self) -> u32 {
        match self.kind {
            "DaemonSet" => self.status.desired_number_scheduled,
            _ => self.spec.replicas.unwrap_or(1),
        }
    }

    /// How many of them serve.
    pub fn serving(&self) -> u32 {
        match self.kind {
            "DaemonSet" => self.status.number_ready,
            "StatefulSet" => self.status.ready_replicas,
            _ => self.status.available_replicas,
        }
    }

    /// Whether its Pods are the inner end of a tunnel into the cluster.
    pub fn is_tunnel(&self) -> bool {
        let mut labels = self.spec.template.metadata.labels.values();
        self.metadata.name.contains("cloudflared") || labels.any(|value| value == "cloudflared")
    }

    /// Whether its controller has seen the newest spec; what it says of an older one is not about
    /// what is wanted.
    pub fn is_observed(&self) -> bool {
        self.metadata.generation.unwrap_or(0) <= self.status.observed_generation.unwrap_or(i64::MAX)
    }
}
