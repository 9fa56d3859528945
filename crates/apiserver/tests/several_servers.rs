//! Several servers with the same controllers on one storage: they do things once.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube::api::{Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use nico_apiserver::Server;
use nico_apiserver::storage::{Memory, Storage};
use serde_json::{Value, json};

use support::eventually;

const SERVERS: usize = 3;

async fn servers() -> Vec<(Server, Client)> {
    let storage: Arc<dyn Storage> = Arc::new(Memory::default());
    let mut servers = Vec::new();
    for _ in 0..SERVERS {
        let server = Server::builder()
            .storage(storage.clone())
            .simulate_workloads(true)
            .start()
            .await
            .expect("the server starts");
        let client = support::client(&server).await;
        servers.push((server, client));
    }
    servers
}

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the object is complete")
}

fn workload<T: serde::de::DeserializeOwned>(name: &str, replicas: i64) -> T {
    object(json!({"metadata": {"name": name}, "spec": {
        "replicas": replicas,
        "serviceName": name,
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "image": "main:1"}]},
        },
    }}))
}

/// The uids of all Pods that were ever made, once `wanted` of them are Ready at the same time.
async fn made(client: &Client, app: &str, wanted: usize) -> BTreeSet<String> {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let labels = WatchParams::default().labels(&format!("app={app}"));
    // From the beginning of the history: nothing is missed.
    let mut events = pods.watch(&labels, "1").await.expect("a watch").boxed();
    let mut uids = BTreeSet::new();
    let mut ready = BTreeSet::new();
    while ready.len() < wanted {
        let next = tokio::time::timeout(std::time::Duration::from_secs(30), events.try_next());
        let event = next
            .await
            .expect("an event in time")
            .expect("the watch goes on");
        let (pod, there) = match event {
            Some(WatchEvent::Added(pod) | WatchEvent::Modified(pod)) => (pod, true),
            Some(WatchEvent::Deleted(pod)) => (pod, false),
            other => panic!("no event of a pod: {other:?}"),
        };
        let uid = pod.metadata.uid.clone().expect("a uid");
        uids.insert(uid.clone());
        let conditions = pod
            .status
            .and_then(|status| status.conditions)
            .unwrap_or_default();
        let is_ready = conditions
            .iter()
            .any(|c| c.type_ == "Ready" && c.status == "True");
        if there && is_ready && pod.metadata.deletion_timestamp.is_none() {
            ready.insert(uid);
        } else {
            ready.remove(&uid);
        }
    }
    uids
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pod_is_made_once() {
    let servers = servers().await;
    let (_, client) = &servers[0];
    let nodes: Api<Node> = Api::all(client.clone());
    for name in ["a", "b", "c"] {
        let node = object(json!({"metadata": {"name": name},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}}));
        nodes.create(&PostParams::default(), &node).await.unwrap();
    }
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let stateful: Api<StatefulSet> = Api::default_namespaced(client.clone());
    let daemons: Api<DaemonSet> = Api::default_namespaced(client.clone());
    let create = PostParams::default();
    deployments
        .create(&create, &workload("web", 20))
        .await
        .unwrap();
    stateful
        .create(&create, &workload("data", 3))
        .await
        .unwrap();
    daemons
        .create(&create, &workload("agent", 0))
        .await
        .unwrap();
    let (_, other) = &servers[1];
    assert_eq!(made(other, "web", 20).await.len(), 20);
    assert_eq!(made(other, "data", 3).await.len(), 3);
    assert_eq!(made(other, "agent", 3).await.len(), 3);

    let image = json!({"spec": {"template": {"spec": {
        "containers": [{"name": "main", "image": "main:2"}]}}}});
    deployments
        .patch("web", &PatchParams::default(), &Patch::Strategic(image))
        .await
        .unwrap();
    eventually("the rollout is complete", async || {
        let web = deployments.get("web").await.unwrap();
        let status = web.status.unwrap_or_default();
        status.observed_generation == web.metadata.generation
            && status.updated_replicas == Some(20)
            && status.replicas == Some(20)
            && status.available_replicas == Some(20)
    })
    .await;
    for (server, _) in servers {
        server.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authorities_of_all_servers_are_in_every_namespace() {
    let servers = servers().await;
    let maps: Api<ConfigMap> = Api::namespaced(servers[0].1.clone(), "default");
    let certificates = async || {
        let map = maps.get("kube-root-ca.crt").await.unwrap();
        let bundle = map
            .data
            .unwrap_or_default()
            .remove("ca.crt")
            .unwrap_or_default();
        let count = bundle.matches("BEGIN CERTIFICATE").count();
        (count, map.metadata.resource_version)
    };
    eventually("all are there", async || certificates().await.0 == SERVERS).await;
    let (_, version) = certificates().await;
    // Each server has worked off what it saw when it has ended.
    let mut servers = servers.into_iter();
    let (first, _) = servers.next().expect("there are several");
    for (server, _) in servers {
        server.shutdown().await;
    }
    assert_eq!(certificates().await.1, version, "nobody fights about it");
    first.shutdown().await;
}
