//! What is particular to an etcd as the storage: its certificates, and what it forgets.

#[path = "support/etcd.rs"]
mod etcd;
#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;

use etcd::Cluster;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, PostParams, VersionMatch, WatchEvent, WatchParams};
use kube::{Api, Client};
use nico_apiserver::Server;
use nico_apiserver::storage::{ConnectError, Etcd, Expected, Storage};

async fn server(storage: Etcd) -> (Server, Client) {
    let builder = Server::builder().storage(Arc::new(storage));
    let server = builder.start().await.expect("the server starts");
    let client = support::client(&server).await;
    (server, client)
}

fn map(name: &str) -> ConfigMap {
    support::cluster::object(serde_json::json!({"metadata": {"name": name}}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_etcd_is_used_with_its_authority_and_a_certificate() {
    let Some(cluster) = Cluster::start_guarded() else {
        return;
    };
    let storage = cluster.storage("/test").await;
    let written = storage
        .write("a", Expected::Absent, Some("one".into()))
        .await;
    written.expect("it is written");
    let read = storage.get("a").await.expect("it is read");
    assert_eq!(read.expect("it is there").value, "one");

    let etcd::Credentials {
        authority,
        identity,
    } = cluster.credentials();
    let refused = |result: Result<Etcd, ConnectError>| match result {
        Err(ConnectError::Unavailable { .. }) => {}
        other => panic!("it may not be reached: {other:?}"),
    };
    refused(cluster.storage_as("/test", Some(authority), None).await);
    refused(cluster.storage_as("/test", None, Some(identity)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_etcd_forgot_is_gone() {
    let Some(cluster) = Cluster::start(1) else {
        return;
    };
    let (_first, client) = server(cluster.storage("/test").await).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let version = |map: ConfigMap| map.metadata.resource_version.expect("a version");
    let old = version(
        maps.create(&PostParams::default(), &map("a"))
            .await
            .unwrap(),
    );
    let new = version(
        maps.create(&PostParams::default(), &map("b"))
            .await
            .unwrap(),
    );
    cluster.compact(new.parse().expect("a number")).await;

    let at = |version: &str| {
        ListParams::default()
            .at(version)
            .matching(VersionMatch::Exact)
    };
    let gone = |result: kube::Result<_>| match result {
        Err(kube::Error::Api(status)) => {
            assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
        }
        Err(error) => panic!("{error}"),
        Ok(()) => panic!("what is gone cannot be listed"),
    };
    gone(maps.list(&at(&old)).await.map(|_| ()));
    assert!(maps.list(&at(&new)).await.is_ok());

    // Who has seen it happen remembers it; who comes later cannot.
    let (_second, client) = server(cluster.storage("/test").await).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    gone(maps.list(&at(&old)).await.map(|_| ()));
    let watched = watch(&maps, &old).await;
    assert!(
        matches!(&watched, WatchEvent::Error(status) if status.code == 410),
        "{watched:?}"
    );
}

/// The first event of a watch from a version on.
async fn watch(maps: &Api<ConfigMap>, version: &str) -> WatchEvent<ConfigMap> {
    use futures::StreamExt;
    let parameters = WatchParams::default().disable_bookmarks().timeout(20);
    let events = maps.watch(&parameters, version).await.expect("a watch");
    let mut events = events.boxed();
    events.next().await.expect("an event").expect("it is read")
}
