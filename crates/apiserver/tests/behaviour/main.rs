//! What is easily missed: rules of the real API server that no schema tells.

#[path = "../support/mod.rs"]
mod support;

mod deletions;
mod namespaces;
mod nodes;
mod pods;
mod reads;
mod writes;

use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Without the map that every namespace has.
const OURS: &str = "fieldSelector=metadata.name!%3Dkube-root-ca.crt";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

fn lease(name: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
        "spec": {"holderIdentity": "me", "renewTime": "2001-02-03T04:05:06.000007Z"},
    })
}

async fn next(events: &mut futures::stream::BoxStream<'static, Value>) -> Value {
    timeout(SOON, events.next())
        .await
        .expect("an event in time")
        .expect("the watch is open")
}
