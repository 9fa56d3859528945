//! `KubernetesCluster`: many machines as one Kubernetes cluster.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::Duration;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::nixos_configuration::Delivery;
use crate::references::LocalReference;

/// A Kubernetes cluster on machines that NICO reaches over SSH.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "nico.homystack.com",
    version = "v1alpha1",
    kind = "KubernetesCluster",
    plural = "kubernetesclusters",
    shortname = "kcluster",
    shortname = "k8scluster",
    category = "nico",
    namespaced,
    status = "KubernetesClusterStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "A Kubernetes cluster whose nodes are Machines and whose software is a NixOS flake.",
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.phase",
        description = "Where the cluster is in its life"
    ),
    printcolumn(
        name = "Control Plane",
        type_ = "string",
        json_path = ".status.controlPlaneReady",
        description = "Control-plane machines that are ready, of all"
    ),
    printcolumn(
        name = "Data Plane",
        type_ = "string",
        json_path = ".status.dataPlaneReady",
        description = "Workers that are ready, of all"
    ),
    printcolumn(
        name = "Kubeconfig",
        type_ = "string",
        json_path = ".status.kubeconfigSecret",
        description = "Secret with the kubeconfig"
    ),
    printcolumn(
        name = "Revision",
        type_ = "string",
        json_path = ".status.revision.shortCommit",
        description = "Git commit that every node runs"
    ),
    printcolumn(
        name = "Endpoint",
        type_ = "string",
        json_path = ".spec.controlPlaneEndpoint.host",
        description = "Address of the Kubernetes API",
        priority = 1
    ),
    printcolumn(
        name = "Rollout",
        type_ = "string",
        json_path = ".status.rollout.message",
        description = "What the rollout does",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since creation"
    )
)]
#[x_kube(
    validation = Rule::new("!has(self.dataPlane) || !has(self.dataPlane.machines) || !has(self.controlPlane.machines) || !self.dataPlane.machines.exists(machine, machine in self.controlPlane.machines)")
        .message("a machine cannot be in controlPlane and in dataPlane")
)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesClusterSpec {
    /// Git repository with the flake. The operator's `NICO_DEFAULT_GIT_REPO` when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 2048),
        regex(pattern = r"^((https?|ssh|file)://[^\s]+|[A-Za-z0-9._-]+@[A-Za-z0-9._-]+:[^\s]+)?$")
    )]
    pub git_repo: Option<String>,
    /// Branch, tag or full commit. The repository's default branch when empty.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 255),
        regex(pattern = r"^([^\s~^:?*\[\\-][^\s~^:?*\[\\]*)?$")
    )]
    pub reference: Option<String>,
    /// Directory of `flake.nix` in the repository: relative, without `..`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("!self.startsWith('/') && !self.split('/').exists(part, part == '..')", "configurationSubdir must be relative and must not contain '..'"))]
    #[schemars(length(max = 1024))]
    pub configuration_subdir: Option<String>,
    /// Secret with the credentials of the repository: `token`, or `username` and `password`, or
    /// `ssh-privatekey` and optionally `known_hosts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<LocalReference>,
    /// The machines that run the control plane; at least one.
    #[x_kube(validation = ("(has(self.machines) && size(self.machines) > 0) || (has(self.count) && self.count > 0)", "controlPlane needs machines, or machineSelector with a count of at least 1"))]
    #[x_kube(validation = ("(has(self.machines) && size(self.machines) > 0) || has(self.machineSelector)", "controlPlane without machines needs machineSelector"))]
    pub control_plane: Plane,
    /// The machines that run workloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("!has(self.count) || self.count == 0 || (has(self.machines) && size(self.machines) > 0) || has(self.machineSelector)", "dataPlane with a count needs machines or machineSelector"))]
    #[x_kube(validation = ("!has(self.machineSelector) || (has(self.machines) && size(self.machines) > 0) || has(self.count)", "dataPlane with machineSelector needs a count"))]
    pub data_plane: Option<Plane>,
    /// Address of the Kubernetes API: a virtual address or a load balancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane_endpoint: Option<Endpoint>,
    /// How join token and SSH key reach the machines. `Flake`: with the sources, so they end in
    /// the world-readable Nix store. `Host`: never through a store.
    #[serde(default)]
    pub secret_delivery: Delivery,
    /// Whether a disk may be wiped to install a machine.
    #[serde(default)]
    pub install_mode: InstallMode,
    /// Finish the node in hand and start no other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// How changes are rolled out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStrategy>,
}

/// The machines of one role: a list, or a selector and a number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plane {
    /// Names of Machines, in the order in which they are used. Wins over selector and count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::machine_names")]
    pub machines: Option<Vec<String>>,
    /// Which Machines may be chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::label_selector")]
    pub machine_selector: Option<LabelSelector>,
    /// How many Machines are chosen. Ignored when `machines` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 5000))]
    pub count: Option<i32>,
}

/// Address of a Kubernetes API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Endpoint {
    /// DNS name or address.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9.:-]+$"))]
    pub host: String,
    /// TCP port.
    #[serde(default = "default_api_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

/// Whether a disk may be wiped to install a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum InstallMode {
    /// Only on a machine that runs an installer from RAM.
    #[default]
    Auto,
    /// On no machine.
    Never,
    /// On every machine that was not installed from scratch yet.
    Always,
}

/// How changes are rolled out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStrategy {
    /// Which role goes first.
    #[serde(default)]
    pub order: RolloutOrder,
    /// How many workers may be down at once: a number of at least 1, or a percentage.
    #[serde(default = "default_max_unavailable")]
    #[schemars(schema_with = "crate::schema::number_or_percentage")]
    pub max_unavailable_workers: IntOrString,
    /// How workloads are moved away before a worker changes.
    #[serde(default)]
    pub drain: Drain,
    /// How long a node may take to be Ready after its change.
    #[serde(default = "default_node_ready_timeout")]
    #[schemars(schema_with = "crate::schema::duration")]
    pub node_ready_timeout: Duration,
    /// What becomes of a node that fails. The rollout stops in both cases.
    #[serde(default)]
    pub on_failure: FailurePolicy,
}

impl Default for RolloutStrategy {
    fn default() -> Self {
        Self {
            order: RolloutOrder::default(),
            max_unavailable_workers: default_max_unavailable(),
            drain: Drain::default(),
            node_ready_timeout: default_node_ready_timeout(),
            on_failure: FailurePolicy::default(),
        }
    }
}

/// Which role goes first in a rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RolloutOrder {
    /// Control planes when the Kubernetes version rises, else workers.
    #[default]
    Auto,
    /// Workers, then control planes.
    WorkersFirst,
    /// Control planes, then workers.
    ControlPlaneFirst,
}

/// How workloads are moved away before a worker changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// Whether workers are cordoned and drained.
    #[serde(default = "default_true")]
    pub enabled: bool,
    /// How long a drain may take.
    #[serde(default = "default_drain_timeout")]
    #[schemars(schema_with = "crate::schema::duration")]
    pub timeout: Duration,
    /// Whether Pods with `emptyDir` volumes are evicted, which deletes their data.
    #[serde(default = "default_true")]
    pub delete_empty_dir_data: bool,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            enabled: true,
            timeout: default_drain_timeout(),
            delete_empty_dir_data: true,
        }
    }
}

/// What becomes of a node that fails in a rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FailurePolicy {
    /// It goes back to the previous revision.
    #[default]
    RollBackNode,
    /// It stays as it is.
    Stop,
}

/// What is known of a cluster.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesClusterStatus {
    /// Generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the cluster is in its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The control plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<PlaneStatus>,
    /// The workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_plane: Option<PlaneStatus>,
    /// `ready/total` of the control plane, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane_ready: Option<String>,
    /// `ready/total` of the workers, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_plane_ready: Option<String>,
    /// Secret with the kubeconfig; set once it exists and works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig_secret: Option<String>,
    /// NixosConfiguration of each machine, by machine name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub applied_machines: BTreeMap<String, String>,
    /// Machines of the control plane, in the order in which they were chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selected_control_plane_machines: Vec<String>,
    /// Workers, in the order in which they were chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selected_data_plane_machines: Vec<String>,
    /// What every node runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// The rollout that is under way, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// Conditions `Ready`, `MachinesSelected`, `SourceResolved`, `ControlPlaneReady`,
    /// `DataPlaneReady`, `KubeconfigAvailable`, `NodesHealthy`, `RollingOut`, `Paused`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// Where a cluster is in its life.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Phase {
    /// Machines are being selected and configured.
    Provisioning,
    /// The control plane is ready, workers are not yet.
    ControlPlaneReady,
    /// Every machine is ready.
    Ready,
    /// Nothing more is tried until something changes.
    Failed,
    /// Machines are being released.
    Deleting,
}

/// The machines of one role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlaneStatus {
    /// How many machines are ready.
    pub ready: i32,
    /// How many machines are wanted.
    pub total: i32,
    /// How many machines are at the wanted revision.
    pub updated: i32,
    /// Names of the machines that are ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ready_machines: Vec<String>,
}

/// What a node runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Git commit.
    pub commit: String,
    /// The first seven digits of the commit, for people.
    pub short_commit: String,
    /// Hash (`sha256:…`) of everything that is generated for the nodes.
    pub configuration_hash: String,
}

/// A rollout that is under way, or the last one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// Git commit that is rolled out.
    pub target_commit: String,
    /// Hash (`sha256:…`) of everything that is generated for the nodes.
    pub target_hash: String,
    /// Which role goes first, once it is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<RolloutOrder>,
    /// How many nodes run the target.
    pub updated: i32,
    /// How many nodes there are.
    pub total: i32,
    /// Machines that are being changed now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub current: Vec<String>,
    /// When the rollout began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// What the rollout does or waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The condition types of a KubernetesCluster.
pub mod conditions {
    /// The cluster is what its spec says, and alive.
    pub const READY: &str = "Ready";
    /// All machines are chosen and claimed.
    pub const MACHINES_SELECTED: &str = "MachinesSelected";
    /// The Git reference is resolved to a commit.
    pub const SOURCE_RESOLVED: &str = "SourceResolved";
    /// Every control-plane machine is ready.
    pub const CONTROL_PLANE_READY: &str = "ControlPlaneReady";
    /// Every worker is ready.
    pub const DATA_PLANE_READY: &str = "DataPlaneReady";
    /// The Secret with a working kubeconfig is there.
    pub const KUBECONFIG_AVAILABLE: &str = "KubeconfigAvailable";
    /// The cluster's own API says that all Nodes are Ready.
    pub const NODES_HEALTHY: &str = "NodesHealthy";
    /// A change is being rolled out.
    pub const ROLLING_OUT: &str = "RollingOut";
    /// No node is taken in hand.
    pub const PAUSED: &str = "Paused";
}

impl KubernetesClusterSpec {
    /// How changes are rolled out, with the defaults filled in.
    pub fn rollout(&self) -> RolloutStrategy {
        self.rollout.clone().unwrap_or_default()
    }

    /// The workers; empty when the spec has none.
    pub fn data_plane(&self) -> Plane {
        self.data_plane.clone().unwrap_or_default()
    }
}

impl Plane {
    /// The machines that are named, or `None` when a selector chooses them.
    pub fn named_machines(&self) -> Option<&[String]> {
        self.machines
            .as_deref()
            .filter(|machines| !machines.is_empty())
    }

    /// How many machines the plane has.
    pub fn size(&self) -> usize {
        match self.named_machines() {
            Some(machines) => machines.len(),
            None => usize::try_from(self.count.unwrap_or(0)).unwrap_or(0),
        }
    }
}

impl Revision {
    /// A revision, with the short form of its commit.
    pub fn new(commit: &str, configuration_hash: &str) -> Self {
        Self {
            commit: commit.to_owned(),
            short_commit: commit.chars().take(7).collect(),
            configuration_hash: configuration_hash.to_owned(),
        }
    }
}

fn default_api_port() -> i32 {
    6443
}

fn default_max_unavailable() -> IntOrString {
    IntOrString::Int(1)
}

fn default_node_ready_timeout() -> Duration {
    Duration::from(std::time::Duration::from_secs(600))
}

fn default_drain_timeout() -> Duration {
    Duration::from(std::time::Duration::from_secs(300))
}

fn default_true() -> bool {
    true
}
