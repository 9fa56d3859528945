//! What the new clusters say of their Nodes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Node as KubernetesNode;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::kubeconfig;
use crate::observed::{Node, Workload};
use crate::source::chain;

/// How long a new cluster may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Clients for the new clusters, and what each said last.
#[derive(Default)]
pub struct Workloads {
    clusters: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Known>>>>,
}

#[derive(Default)]
struct Known {
    /// The client, and the resourceVersion of the Secret that it was made from.
    client: Option<(String, Client)>,
    last_answer: Option<Timestamp>,
    last_nodes: Option<Vec<Node>>,
}

impl Workloads {
    /// The Nodes of the cluster with `uid`, by the kubeconfig `text` of the Secret that has the
    /// resourceVersion `version`.
    pub async fn nodes(&self, uid: &str, version: &str, text: &str, now: Timestamp) -> Workload {
        let known = self.known(uid);
        let mut known = known.lock().await;
        match known.ask(version, text).await {
            Ok(nodes) => {
                known.last_answer = Some(now);
                known.last_nodes = Some(nodes.clone());
                Workload::Nodes(nodes)
            }
            Err(message) => Workload::Unreachable {
                last_answer: known.last_answer,
                last_nodes: known.last_nodes.clone(),
                message: format!("the API of the new cluster does not answer: {message}"),
            },
        }
    }

    /// Forgets the cluster with `uid`.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn known(&self, uid: &str) -> Arc<tokio::sync::Mutex<Known>> {
        self.lock().entry(uid.to_owned()).or_default().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<Known>>>> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    async fn ask(&mut self, version: &str, text: &str) -> Result<Vec<Node>, String> {
        let client = self.client(version, text).await?;
        let nodes: Api<KubernetesNode> = Api::all(client);
        let request = ListParams::default();
        let list = tokio::time::timeout(DEADLINE, nodes.list(&request))
            .await
            .map_err(|_| format!("no answer within {} s", DEADLINE.as_secs()))?
            .map_err(|error| chain(&error))?;
        Ok(list.items.iter().map(summary).collect())
    }

    async fn client(&mut self, version: &str, text: &str) -> Result<Client, String> {
        if let Some((made_from, client)) = &self.client
            && made_from == version
        {
            return Ok(client.clone());
        }
        let client = kubeconfig::connect(text)
            .await
            .map_err(|error| chain(&error))?;
        self.client = Some((version.to_owned(), client.clone()));
        Ok(client)
    }
}

fn summary(node: &KubernetesNode) -> Node {
    let status = node.status.as_ref();
    let addresses = status
        .and_then(|status| status.addresses.as_ref())
        .into_iter()
        .flatten()
        .map(|address| address.address.clone());
    let ready = status
        .and_then(|status| status.conditions.as_ref())
        .and_then(|conditions| {
            conditions
                .iter()
                .find(|condition| condition.type_ == "Ready")
        });
    Node {
        name: node.name_any(),
        addresses: addresses.collect(),
        ready: ready.is_some_and(|ready| ready.status == "True"),
        message: ready
            .and_then(|ready| ready.message.clone().or_else(|| ready.reason.clone()))
            .unwrap_or_else(|| "it has no condition Ready".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_without_a_condition_is_not_ready() {
        let node = |conditions| {
            let node = json!({"metadata": {"name": "cp-01"}, "status": {"conditions": conditions,
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}});
            summary(&serde_json::from_value(node).unwrap())
        };
        assert!(!node(json!([])).ready);
        let ready = node(json!([{"type": "Ready", "status": "True"}]));
        assert!(ready.ready);
        assert_eq!(ready.addresses, ["10.0.0.1"]);
        let unknown =
            node(json!([{"type": "Ready", "status": "Unknown", "message": "no heartbeat"}]));
        assert_eq!(
            (unknown.ready, unknown.message.as_str()),
            (false, "no heartbeat")
        );
    }
}
