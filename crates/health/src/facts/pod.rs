//! Pods and their containers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::meta::{Condition, Object, condition, null_is_default};

/// A Pod.
pub type Pod = Object<PodSpec, PodStatus>;

/// What a Pod is to be.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// The Node that it is on; empty while it is on none.
    pub node_name: String,
    /// What is mounted.
    #[serde(deserialize_with = "null_is_default")]
    pub volumes: Vec<Volume>,
}

/// Something that is mounted, as far as it comes from another object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// A PersistentVolumeClaim.
    pub persistent_volume_claim: Option<ClaimName>,
}

/// A PersistentVolumeClaim by its name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimName {
    /// The name.
    pub claim_name: String,
}

/// How a Pod is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// Why, in one word, for what did not end by itself.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
    /// When the kubelet took it.
    pub start_time: Option<Timestamp>,
    /// Its conditions.
    #[serde(deserialize_with = "null_is_default")]
    pub conditions: Vec<Condition>,
    /// Its containers.
    #[serde(deserialize_with = "null_is_default")]
    pub container_statuses: Vec<ContainerStatus>,
    /// Its init containers, sidecars among them.
    #[serde(deserialize_with = "null_is_default")]
    pub init_container_statuses: Vec<ContainerStatus>,
}

/// How a container is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// Its name.
    pub name: String,
    /// How often it was started again.
    pub restart_count: u32,
    /// How it is now.
    pub state: ContainerState,
    /// How it was before it was started again.
    pub last_state: ContainerState,
}

/// A state of a container: one of these, or none while it was never started.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ContainerState {
    /// It is not started yet, or not again.
    pub waiting: Option<Waiting>,
    /// It ended.
    pub terminated: Option<Terminated>,
}

/// Why a container is not started.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Waiting {
    /// In one word.
    pub reason: String,
    /// In a sentence.
    pub message: String,
}

/// How a container ended.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Terminated {
    /// In one word.
    pub reason: String,
    /// What its process gave back.
    pub exit_code: i32,
    /// When it had been started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl Pod {
    /// Whether all of it has ended, well or not.
    pub fn is_over(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    /// Whether it serves.
    pub fn is_ready(&self) -> bool {
        let ready = condition(&self.status.conditions, "Ready");
        self.status.phase == "Running" && ready.is_some_and(Condition::is_true)
    }

    /// All containers, those that come first before those that stay.
    pub fn containers(&self) -> impl Iterator<Item = &ContainerStatus> {
        let first = self.status.init_container_statuses.iter();
        first.chain(&self.status.container_statuses)
    }

    /// The containers that wait for one of these reasons.
    pub fn waiting<'a>(
        &'a self,
        reasons: &'a [&str],
    ) -> impl Iterator<Item = (&'a ContainerStatus, &'a Waiting)> {
        self.containers().filter_map(move |container| {
            let waiting = container.state.waiting.as_ref()?;
            let is_one = reasons.contains(&waiting.reason.as_str());
            is_one.then_some((container, waiting))
        })
    }

    /// Restarts of all containers together.
    pub fn restarts(&self) -> u32 {
        self.containers()
            .map(|container| container.restart_count)
            .sum()
    }

    /// Since when it is not ready; when it was never, since it was made.
    pub fn not_ready_since(&self) -> Option<Timestamp> {
        let ready = condition(&self.status.conditions, "Ready");
        ready
            .filter(|ready| !ready.is_true())
            .and_then(|ready| ready.last_transition_time)
            .or(self.metadata.creation_timestamp)
    }

    /// The names of the claims that it mounts.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        let volumes = self.spec.volumes.iter();
        let claims = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
        claims.map(|claim| claim.claim_name.as_str())
    }

    /// Whether the labels of the Pod are what a Service selects.
    pub fn is_selected_by(&self, namespace: &str, selector: &BTreeMap<String, String>) -> bool {
        self.metadata.namespace == namespace && is_selected(&self.metadata.labels, selector)
    }
}

/// Whether labels have all that a selector wants. An empty selector selects nothing.
pub fn is_selected(labels: &BTreeMap<String, String>, selector: &BTreeMap<String, String>) -> bool {
    let wanted = selector.iter();
    !selector.is_empty()
        && wanted
            .into_iter()
            .all(|(name, value)| labels.get(name) == Some(value))
}
