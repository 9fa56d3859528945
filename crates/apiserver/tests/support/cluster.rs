//! A server that simulates workloads, Nodes for it, and what is deployed there.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use nico_apiserver::Server;
use serde_json::{Value, json};

use super::eventually;

/// A server that simulates workloads, and some Nodes that are Ready.
pub struct Cluster {
    pub server: Server,
    pub nodes: Api<Node>,
    pub pods: Api<Pod>,
    pub client: Client,
}

impl Cluster {
    pub async fn new(nodes: &[&str]) -> Self {
        let server = Server::builder().simulate_workloads(true);
        let server = server.start().await.expect("the server starts");
        let client = super::client(&server).await;
        let cluster = Self {
            server,
            nodes: Api::all(client.clone()),
            pods: Api::default_namespaced(client.clone()),
            client,
        };
        for node in nodes {
            cluster.add_node(node).await;
        }
        cluster
    }

    pub async fn add_node(&self, name: &str) {
        let node = object(json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
            },
        }));
        self.nodes
            .create(&PostParams::default(), &node)
            .await
            .expect("the Node is new");
    }

    pub async fn set_ready(&self, node: &str, status: &str) {
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": status}]}});
        let patch = Patch::Strategic(ready);
        let patched = self
            .nodes
            .patch_status(node, &PatchParams::default(), &patch)
            .await;
        patched.expect("the Node is there");
    }

    pub fn all<T>(&self) -> Api<T>
    where
        T: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        T::DynamicType: Default,
    {
        Api::default_namespaced(self.client.clone())
    }

    /// The Pods, and for each its Node and whether it is Ready; those that end are left out.
    pub async fn living(&self) -> BTreeMap<String, (String, bool)> {
        let pods = self
            .pods
            .list(&ListParams::default())
            .await
            .expect("a list");
        let living = pods
            .into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none());
        living
            .map(|pod| (pod.metadata.name.clone().unwrap_or_default(), state(&pod)))
            .collect()
    }

    /// Waits until so many Pods are Ready and there are no others.
    pub async fn ready(&self, count: usize) -> BTreeMap<String, (String, bool)> {
        eventually(&format!("{count} pods are ready and alone"), async || {
            let living = self.living().await;
            let all = self
                .pods
                .list(&ListParams::default())
                .await
                .expect("a list")
                .items
                .len();
            all == count && living.len() == count && living.values().all(|(_, ready)| *ready)
        })
        .await;
        self.living().await
    }
}

pub fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the object is complete")
}

pub fn state(pod: &Pod) -> (String, bool) {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    let ready = conditions.any(|c| c.type_ == "Ready" && c.status == "True");
    (node.unwrap_or_default(), ready)
}

pub fn spec(replicas: i64, image: &str) -> Value {
    json!({
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": image}]},
        },
    })
}

pub fn workload<T: serde::de::DeserializeOwned>(spec: &Value) -> T {
    object(json!({"metadata": {"name": "web"}, "spec": spec}))
}

/// The spec without replicas.
pub fn daemon(image: &str) -> Value {
    let mut spec = spec(0, image);
    spec.as_object_mut().expect("an object").remove("replicas");
    spec
}

pub fn image(image: &str) -> Patch<Value> {
    let containers = json!([{"name": "main", "image": image}]);
    Patch::Strategic(json!({"spec": {"template": {"spec": {"containers": containers}}}}))
}

pub fn replicas(count: i64) -> Patch<Value> {
    Patch::Merge(json!({"spec": {"replicas": count}}))
}

pub const PATCH: fn() -> PatchParams = PatchParams::default;
