//! Each fault reaches a real `kube` client as that which it imitates.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail tests by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod connections;
mod reflector;
mod requests;
mod restarts;
mod stale;
mod watches;

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use support::{config, server};

/// Longer than anything takes.
const SOON: Duration = Duration::from_secs(20);
/// Longer than any test takes.
const NEVER: Duration = Duration::from_secs(3600);

fn maps(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), "default")
}

fn map(name: &str, value: &str) -> ConfigMap {
    let map = json!({"metadata": {"name": name}, "data": {"key": value}});
    serde_json::from_value(map).unwrap()
}

fn value(map: &ConfigMap) -> &str {
    &map.data.as_ref().unwrap()["key"]
}

async fn create(maps: &Api<ConfigMap>, name: &str) -> ConfigMap {
    let map = map(name, "1");
    maps.create(&PostParams::default(), &map).await.unwrap()
}

async fn names(maps: &Api<ConfigMap>) -> Vec<String> {
    let list = maps.list(&ListParams::default()).await.unwrap();
    list.iter().map(ResourceExt::name_any).collect()
}

/// Waits until `probe` holds.
async fn eventually(what: &str, mut probe: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !probe().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(SOON, waiting).await.is_err() {
        panic!("not within {SOON:?}: {what}");
    }
}
