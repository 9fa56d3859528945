//! One owned snapshot of the world, as the decisions see it.
//!
//! Nothing in here reads anything: [`crate::observe`] fills it, [`crate::plan`] decides by it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use nico_api::kubernetes_cluster::Plane;
use nico_api::names::{CommitId, GitUrl, MachineName};
use nico_api::reason::ClusterReason;
use nico_api::{KubernetesCluster, Machine, NixosConfiguration, labels};

use crate::kubeconfig::{Contents, Kubeconfig};
use crate::naming;
use crate::role::Role;
use crate::workload::contact::{NOTICING, SILENCE};

/// Everything that decides what becomes of one cluster.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The cluster, as it is in the Kubernetes API.
    pub cluster: KubernetesCluster,
    /// All Machines of the namespace. Those that the cluster holds are as fresh as the
    /// snapshot; the others may be a little older, so every claim is proven by its write.
    pub machines: BTreeMap<MachineName, Arc<Machine>>,
    /// Machines that are there and cannot be understood, with what is wrong.
    pub unreadable_machines: BTreeMap<String, String>,
    /// The other clusters of the namespace.
    pub rivals: Vec<Rival>,
    /// uids of clusters that hold claims and are no more.
    pub gone_clusters: BTreeSet<String>,
    /// The NixosConfigurations that the cluster owns, by name.
    pub configurations: BTreeMap<String, NixosConfiguration>,
    /// Machines for which others made a NixosConfiguration, with its name. May be a little
    /// older than the snapshot.
    pub configured_by_others: BTreeMap<MachineName, String>,
    /// What `spec.gitRepo` and `spec.ref` lead to.
    pub source: Source,
    /// The Secret with the join token.
    pub join_token: OwnedSecret,
    /// The Secret with the kubeconfig, or what stands in its way.
    pub kubeconfig: KubeconfigState,
    /// What the new cluster says of itself.
    pub workload: Workload,
}

/// Another cluster of the namespace, as far as it competes for machines.
#[derive(Clone, Debug, PartialEq)]
pub struct Rival {
    /// Its uid.
    pub uid: String,
    /// When it was created.
    pub created: Timestamp,
    /// The control plane that it wants.
    pub control_plane: Plane,
    /// The workers that it wants.
    pub data_plane: Plane,
    /// Whether something was created on a machine for it, after which it gives nothing back.
    pub started: bool,
}

/// What a repository and a reference lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// To a commit.
    Resolved {
        /// The repository.
        repository: GitUrl,
        /// The commit.
        commit: CommitId,
    },
    /// To nothing yet.
    Unresolved(Problem),
}

/// Something that stands in the way, for a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The reason of the condition.
    pub reason: ClusterReason,
    /// What a person must know.
    pub message: String,
    /// Whether it stays until a person changes something.
    pub needs_change: bool,
}

/// A Secret that the cluster makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedSecret {
    /// It is not there.
    Missing,
    /// It is there and the cluster made it.
    Ours {
        /// Its uid, so that no other is deleted in its place.
        uid: String,
    },
    /// Somebody else made a usable Secret of that name: it is used and left alone.
    Foreign,
    /// It is there and cannot be used.
    Unusable(Problem),
}

/// The kubeconfig of the new cluster.
#[derive(Clone, Debug)]
pub enum KubeconfigState {
    /// It is in its Secret.
    Published(Published),
    /// It was read from a machine and a request with it was answered.
    Proven(Kubeconfig),
    /// There is none.
    Missing(Option<Problem>),
}

/// A kubeconfig in its Secret.
#[derive(Clone, Debug)]
pub struct Published {
    /// uid of the Secret.
    pub uid: String,
    /// resourceVersion of the Secret.
    pub version: String,
    /// The machine on which it was found, if the Secret says that.
    pub machine: Option<MachineName>,
    /// What is in it, or what is wrong with that.
    pub contents: Result<Contents, String>,
    /// What a machine has now, proven by a request, if one was just asked.
    pub found: Option<Kubeconfig>,
    /// Why no machine gave one when they were last asked.
    pub problem: Option<Problem>,
}

/// What the new cluster says of itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Workload {
    /// It cannot be asked, for want of a kubeconfig.
    NotAsked,
    /// It answers.
    Answers(View),
    /// It does not answer.
    Unreachable {
        /// The first time that it was asked in vain since it answered last.
        since: Timestamp,
        /// The Nodes of its last answer, if it ever gave one to this process.
        last_nodes: Option<Vec<Node>>,
        /// Whether somebody answered, and it was the credentials or the certificate that would
        /// not do.
        is_refusal: bool,
        /// What went wrong.
        message: String,
    },
}

impl Workload {
    /// Why it is not sure how the cluster is; `None` when it is, and while there is no way to ask.
    pub fn doubt(&self, now: Timestamp) -> Option<String> {
        match self {
            Self::NotAsked => None,
            Self::Unreachable { message, .. } => Some(message.clone()),
            Self::Answers(view) => {
                let since = view.back_since?;
                (now.duration_since(since) < NOTICING).then(|| {
                    format!(
                        "the API of the new cluster answers again only since {since:.0}: what it says of its Nodes may be old"
                    )
                })
            }
        }
    }

    /// Whether the cluster has been silent for so long that nothing is known of it any more.
    pub fn is_long_silent(&self, now: Timestamp) -> bool {
        match self {
            Self::NotAsked | Self::Answers(_) => false,
            Self::Unreachable { since, .. } => now.duration_since(*since) >= SILENCE,
        }
    }
}

/// A cluster as its API shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// Its Nodes.
    pub nodes: Vec<Node>,
    /// Why its API says that it is not ready; `None` when it is.
    pub not_ready: Option<String>,
    /// Its etcd members.
    pub etcd: Etcd,
    /// The Pods that a drain has to move, by the name of the Node, for the Nodes that are being
    /// drained.
    pub draining: BTreeMap<String, Vec<DrainedPod>>,
    /// Since when it answers again, if nothing was known of it for a while.
    pub back_since: Option<Timestamp>,
}

/// The etcd members that the API of a cluster shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Etcd {
    /// It shows none: the distribution keeps them to itself, or uses another database.
    #[default]
    Unseen,
    /// Whether each member is healthy, by the name of its Node.
    Members(BTreeMap<String, bool>),
}

/// A Node of the new cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its uid, so that no other is deleted in its place.
    pub uid: String,
    /// Host names and addresses by which it says it can be found.
    pub addresses: Vec<String>,
    /// Whether its condition `Ready` is `True`.
    pub ready: bool,
    /// Why it is not.
    pub message: String,
    /// Whether it is cordoned.
    pub unschedulable: bool,
    /// Whether a taint keeps ordinary Pods away.
    pub repels_pods: bool,
    /// Version of its kubelet, such as `v1.31.4+k3s1`.
    pub kubelet_version: Option<String>,
    /// The drain that this controller began, if there is one.
    pub drain: Option<Drain>,
}

/// A drain that this controller began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// When.
    pub since: Timestamp,
    /// For which rollout.
    pub attempt: String,
    /// Whether this controller cordoned the Node for it, and not somebody else before.
    pub cordoned: bool,
}

/// A Pod that a drain has to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainedPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid, so that no other is evicted in its place.
    pub uid: String,
    /// Whether it is on its way out.
    pub is_leaving: bool,
    /// Whether it has `emptyDir` volumes, whose data go with it.
    pub has_empty_dir: bool,
    /// The PodDisruptionBudget that does not allow another disruption now.
    pub held_by: Option<String>,
}

/// Who has a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim<'a> {
    /// Nobody, or a cluster that is no more.
    None,
    /// This cluster.
    Ours(Role),
    /// Another cluster.
    Other {
        /// Its name.
        cluster: &'a str,
        /// Its uid, if the claim has one.
        uid: Option<&'a str>,
    },
}

impl Observed {
    /// The name of the cluster.
    pub fn name(&self) -> String {
        self.cluster.name_any()
    }

    /// The uid of the cluster; empty only for an object that the API never stored.
    pub fn uid(&self) -> &str {
        self.cluster.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Who has the machine.
    pub fn claim<'a>(&self, machine: &'a Machine) -> Claim<'a> {
        let Some(cluster) = machine.label(labels::CLUSTER) else {
            return Claim::None;
        };
        let uid = claimant_uid(machine);
        match uid {
            Some(uid) if uid == self.uid() => machine
                .label(labels::ROLE)
                .and_then(Role::from_label)
                .map_or(Claim::None, Claim::Ours),
            Some(uid) if self.gone_clusters.contains(uid) => Claim::None,
            None if cluster == naming::label_value(&self.name()) => Claim::None,
            _ => Claim::Other { cluster, uid },
        }
    }

    /// The machines that the cluster holds in a role, by name.
    pub fn held(&self, role: Role) -> impl Iterator<Item = &MachineName> {
        self.machines
            .iter()
            .filter(move |(_, machine)| self.claim(machine) == Claim::Ours(role))
            .map(|(name, _)| name)
    }

    /// The NixosConfiguration of a machine, if it is there.
    pub fn configuration_of(&self, machine: &MachineName) -> Option<&NixosConfiguration> {
        self.configurations
            .values()
            .find(|configuration| configuration.spec.machine_ref.name == machine.as_str())
    }

    /// Whether anything was created on a machine for this cluster.
    pub fn has_started(&self) -> bool {
        !self.configurations.is_empty()
            || self
                .cluster
                .status
                .as_ref()
                .is_some_and(|status| !status.applied_machines.is_empty())
    }
}

/// The uid of the cluster that claimed a machine.
pub fn claimant_uid(machine: &Machine) -> Option<&str> {
    machine
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(labels::CLUSTER_UID))
        .map(String::as_str)
}
