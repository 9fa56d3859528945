//! Nodes, and what the API server says of itself.

use jiff::Timestamp;
use serde::Deserialize;

use super::meta::{Condition, Nothing, Object, null_is_default};

/// A Node.
pub type Node = Object<NodeSpec, NodeStatus>;

/// A Namespace.
pub type Namespace = Object<Nothing, NamespaceStatus>;

/// A CustomResourceDefinition, its metadata alone.
pub type Definition = Object<Nothing, Nothing>;

/// An APIService.
pub type ApiService = Object<ApiServiceSpec, Conditions>;

/// A Warning among the Events.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    /// What it is about.
    pub involved_object: Involved,
    /// What happened, in one word.
    pub reason: String,
    /// What happened, in a sentence.
    pub message: String,
    /// When it happened last, as older writers say it.
    pub last_timestamp: Option<Timestamp>,
    /// When it happened, as newer writers say it.
    pub event_time: Option<Timestamp>,
    /// When it happened again, as newer writers say it.
    pub series: Option<Series>,
}

/// What an Event is about.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Involved {
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// An Event that repeats.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Series {
    /// When it happened last.
    pub last_observed_time: Option<Timestamp>,
}

/// What a Node is to be.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// Whether it takes no new Pods.
    pub unschedulable: bool,
    /// What Pods must tolerate.
    #[serde(deserialize_with = "null_is_default")]
    pub taints: Vec<Taint>,
}

/// What Pods must tolerate.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Taint {
    /// Its name.
    pub key: String,
    /// Since when.
    pub time_added: Option<Timestamp>,
}

/// How a Node is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// Its conditions.
    #[serde(deserialize_with = "null_is_default")]
    pub conditions: Vec<Condition>,
    /// Its software.
    pub node_info: NodeInfo,
}

/// The software of a Node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeInfo {
    /// The kubelet's version, such as `v1.36.1`.
    pub kubelet_version: String,
    /// The operating system, such as `Talos (v1.12.0)`.
    pub os_image: String,
}

/// How a Namespace is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NamespaceStatus {
    /// What keeps it from going.
    #[serde(deserialize_with = "null_is_default")]
    pub conditions: Vec<Condition>,
}

/// A status of which only the conditions matter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Conditions {
    /// The conditions.
    #[serde(deserialize_with = "null_is_default")]
    pub conditions: Vec<Condition>,
}

/// What serves a part of the API.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ApiServiceSpec {
    /// The Service behind it; none for what the API server serves itself.
    pub service: Option<ServiceReference>,
}

/// A Service that is called by the API server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ServiceReference {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

impl Event {
    /// When it happened last.
    pub fn last_seen(&self) -> Option<Timestamp> {
        let series = self.series.as_ref();
        let again = series.and_then(|series| series.last_observed_time);
        again.or(self.last_timestamp).or(self.event_time)
    }
}
