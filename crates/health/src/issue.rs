//! What is wrong, with what, how badly, and because of what.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It works, and will not for ever.
    Warning,
    /// Something does not work.
    Critical,
}

/// The parts of a cluster, each resting on those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// The API server, etcd, and what the API server calls.
    ApiServer,
    /// Nodes.
    Nodes,
    /// Networking and DNS.
    Network,
    /// Volumes.
    Storage,
    /// Flux: controllers, sources, Kustomizations, HelmReleases.
    Flux,
    /// Certificates, Secrets from elsewhere, gateways, tunnels.
    Platform,
    /// What runs for users.
    Workloads,
    /// NICO's own objects.
    Nico,
}

/// An object by kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty for what has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// The detector that found it.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The part of the cluster.
    pub layer: Layer,
    /// With what.
    pub object: ObjectRef,
    /// What is wrong.
    pub message: String,
    /// Since when, where that is known.
    pub since: Option<Timestamp>,
    /// What to do.
    pub fix: String,
    /// Objects that, if something is wrong with one of them, are the reason; the likeliest first.
    pub suspects: Vec<ObjectRef>,
}

impl Severity {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl Layer {
    /// All of them, from the bottom up.
    pub const ALL: [Self; 8] = [
        Self::ApiServer,
        Self::Nodes,
        Self::Network,
        Self::Storage,
        Self::Flux,
        Self::Platform,
        Self::Workloads,
        Self::Nico,
    ];

    /// Its name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ApiServer => "api-server",
            Self::Nodes => "nodes",
            Self::Network => "network",
            Self::Storage => "storage",
            Self::Flux => "flux",
            Self::Platform => "platform",
            Self::Workloads => "workloads",
            Self::Nico => "nico",
        }
    }

    /// What it is called in a report for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::ApiServer => "API server",
            Self::Nodes => "Nodes",
            Self::Network => "Network and DNS",
            Self::Storage => "Storage",
            Self::Flux => "Flux",
            Self::Platform => "Platform",
            Self::Workloads => "Workloads",
            Self::Nico => "NICO",
        }
    }
}

impl ObjectRef {
    /// An object; the namespace is empty for what has none.
    pub fn new(
        kind: impl Into<String>,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        Self {
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(formatter, "{} {}", self.kind, self.name),
            namespace => write!(formatter, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}
