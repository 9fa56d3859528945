//! Two servers on an etcd of three members, some of which die.

#[path = "support/etcd.rs"]
mod etcd;
#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd::{Cluster, PATIENCE};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use nico_apiserver::Server;

/// How long a request may take while there is no quorum.
const BOUND: Duration = Duration::from_secs(15);

async fn server(etcd: &Cluster) -> (Server, Client) {
    let storage = Arc::new(etcd.storage("/test").await);
    let server = Server::builder()
        .storage(storage)
        .start()
        .await
        .expect("the server starts");
    let client = support::client(&server).await;
    (server, client)
}

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(serde_json::json!({"metadata": {"name": name}}))
        .expect("a valid ConfigMap")
}

async fn create(maps: &Api<ConfigMap>, name: &str) -> kube::Result<ConfigMap> {
    maps.create(&PostParams::default(), &map(name)).await
}

/// Creates until it is done. An attempt that failed may have been done nevertheless.
async fn create_at_last(maps: &Api<ConfigMap>, name: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match create(maps, name).await {
            Ok(_) => return,
            Err(kube::Error::Api(status)) if status.is_already_exists() => return,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

async fn ready(client: &Client) -> Result<String, kube::Error> {
    let request = http::Request::get("/readyz?verbose")
        .body(Vec::new())
        .expect("a valid request");
    client.request_text(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_a_member_is_borne_and_that_of_the_quorum_is_said_and_ends() {
    let Some(mut etcd) = Cluster::start(3) else {
        return;
    };
    let (one, two) = (server(&etcd).await, server(&etcd).await);
    let maps = |client: &Client| Api::<ConfigMap>::namespaced(client.clone(), "default");
    let (here, there) = (maps(&one.1), maps(&two.1));
    let first = create(&here, "first").await.unwrap();
    let version = first.metadata.resource_version.unwrap();
    let watch = there
        .watch(&WatchParams::default(), &version)
        .await
        .unwrap();
    let mut watch = watch.boxed();

    etcd.kill(0);
    create_at_last(&here, "one-lost").await;
    create_at_last(&there, "one-lost-too").await;
    assert!(ready(&one.1).await.is_ok());

    etcd.kill(1);
    let begun = Instant::now();
    let refused = create(&here, "refused").await.unwrap_err();
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    let kube::Error::Api(status) = refused else {
        panic!("not a Status: {refused}");
    };
    assert_eq!(status.code, 500, "{status:?}");
    assert!(status.message.contains("etcd"), "{status:?}");
    let unready = ready(&two.1).await.unwrap_err().to_string();
    assert!(unready.contains("[-]etcd failed"), "{unready}");

    etcd.revive(0);
    etcd.revive(1);
    create_at_last(&there, "back").await;
    create_at_last(&here, "done").await;
    let acknowledged = ["first", "one-lost", "one-lost-too", "back", "done"];
    for maps in [&here, &there] {
        let found = maps.list(&ListParams::default()).await.unwrap();
        for name in acknowledged {
            let is = |map: &ConfigMap| map.metadata.name.as_deref() == Some(name);
            assert!(found.items.iter().any(is), "{name} is lost");
        }
    }
    let mut missing: Vec<&str> = acknowledged[1..].to_vec();
    while !missing.is_empty() {
        let next = tokio::time::timeout(PATIENCE, watch.next()).await;
        match next.expect("the watch goes on").expect("it has not ended") {
            Ok(WatchEvent::Added(map)) => {
                let name = map.metadata.name.unwrap_or_default();
                missing.retain(|missing| *missing != name);
            }
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    }
    one.0.shutdown().await;
    two.0.shutdown().await;
}
