//! A cluster, its objects, and its Nodes.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use nico_api::names::MachineName;
use nico_api::{KubernetesCluster, NixosConfiguration, labels};
use nico_clusters::observed::{Drain, DrainedPod, KubeconfigState, Node, OwnedSecret, Rival};
use nico_clusters::role::Role;
use serde_json::json;

use crate::events::Shape;
use crate::operator::Operator;
use crate::world::at;

/// A cluster, its objects, and its Nodes.
pub(crate) struct Cluster {
    pub(crate) object: KubernetesCluster,
    pub(crate) shape: Shape,
    pub(crate) configurations: BTreeMap<String, NixosConfiguration>,
    pub(crate) join_token: OwnedSecret,
    pub(crate) kubeconfig: KubeconfigState,
    pub(crate) nodes: BTreeMap<MachineName, NodeObject>,
    /// Number of the commit at the head of its branch.
    pub(crate) head: usize,
    pub(crate) operator: Operator,
    pub(crate) is_gone: bool,
    /// The control planes that are members of its etcd, whether they work or not.
    pub(crate) etcd: BTreeSet<MachineName>,
    /// Since when a quorum of them works, while one does.
    pub(crate) answers_since: Option<i64>,
    /// Nodes that went before the cluster answered again, and are Ready there all the same.
    pub(crate) unnoticed: BTreeSet<MachineName>,
}

/// A Node as its API server has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeObject {
    /// What it said last, which need not be true.
    pub(crate) says_ready: bool,
    pub(crate) unschedulable: bool,
    pub(crate) is_cordoned_by_a_person: bool,
    pub(crate) drain: Option<Drain>,
    pub(crate) has_pod: bool,
    pub(crate) is_held_by_budget: bool,
    pub(crate) minor: Option<u32>,
}

impl Cluster {
    pub(crate) fn new(number: usize, shape: &Shape, now: i64) -> Self {
        let selector = json!({"matchLabels": {"pool": "all"}});
        let object = json!({
            "apiVersion": "nico.homystack.com/v1alpha1", "kind": "KubernetesCluster",
            "metadata": {"name": format!("c-{number}"), "namespace": "default",
                "uid": format!("uid-{number}"), "generation": 1,
                "creationTimestamp": at(now + i64::try_from(number).unwrap())},
            "spec": {
                "controlPlane": {"machineSelector": selector, "count": shape.control_planes},
                "dataPlane": {"machineSelector": selector, "count": shape.workers},
                "rollout": {
                    "maxUnavailableWorkers": shape.budget,
                    "drain": {"enabled": shape.drains},
                    "onFailure": if shape.rolls_back { "RollBackNode" } else { "Stop" },
                },
            },
        });
        Self {
            object: serde_json::from_value(object).unwrap(),
            shape: shape.clone(),
            configurations: BTreeMap::new(),
            join_token: OwnedSecret::Missing,
            kubeconfig: KubeconfigState::Missing(None),
            nodes: BTreeMap::new(),
            head: 0,
            operator: Operator::default(),
            is_gone: false,
            etcd: BTreeSet::new(),
            answers_since: None,
            unnoticed: BTreeSet::new(),
        }
    }

    pub(crate) fn as_rival(&self) -> Rival {
        Rival {
            uid: self.object.uid().unwrap(),
            created: self.object.metadata.creation_timestamp.as_ref().unwrap().0,
            control_plane: self.object.spec.control_plane.clone(),
            data_plane: self.object.spec.data_plane(),
            started: self
                .object
                .status
                .as_ref()
                .is_some_and(|status| !status.applied_machines.is_empty()),
        }
    }
}

impl NodeObject {
    pub(crate) fn shown(&self, name: &MachineName) -> Node {
        Node {
            name: name.to_string(),
            uid: format!("uid-of-{name}"),
            addresses: vec![],
            ready: self.says_ready,
            message: "kubelet is silent".to_owned(),
            unschedulable: self.unschedulable,
            repels_pods: false,
            kubelet_version: self.minor.map(|minor| format!("v1.{minor}.0")),
            drain: self.drain.clone(),
        }
    }

    pub(crate) fn pods(&self) -> Vec<DrainedPod> {
        let pod = DrainedPod {
            namespace: "default".to_owned(),
            name: "pod".to_owned(),
            uid: "uid".to_owned(),
            is_leaving: false,
            has_empty_dir: false,
            held_by: self.is_held_by_budget.then(|| "budget".to_owned()),
        };
        self.has_pod.then_some(pod).into_iter().collect()
    }
}

/// Whether the configuration of a machine is being taken off.
pub(crate) fn is_leaving(
    configurations: &BTreeMap<String, NixosConfiguration>,
    machine: &MachineName,
) -> bool {
    configurations
        .values()
        .filter(|configuration| configuration.spec.machine_ref.name == machine.as_str())
        .any(|configuration| configuration.metadata.deletion_timestamp.is_some())
}

/// The machines on which a configuration ever worked, with their roles.
pub(crate) fn joined(
    configurations: &BTreeMap<String, NixosConfiguration>,
) -> impl Iterator<Item = (MachineName, Role)> {
    configurations
        .values()
        .filter(|configuration| {
            let status = configuration.status.as_ref();
            status.is_some_and(|status| status.applied_commit.is_some())
        })
        .map(|configuration| {
            let machine = configuration.spec.machine_ref.name.parse().unwrap();
            let role = configuration.labels().get(labels::ROLE).unwrap();
            (machine, Role::from_label(role).unwrap())
        })
}
