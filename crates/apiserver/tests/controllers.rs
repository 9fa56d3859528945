//! What the controller-manager does for everybody: Events end, namespaces are furnished, silent
//! Nodes become Unknown.

mod support;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Node, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use nico_apiserver::Server;
use serde_json::{Value, json};

use support::eventually;

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the object is complete")
}

fn event(name: &str) -> Event {
    object(json!({
        "metadata": {"name": name}, "reason": "Because",
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "one"},
    }))
}

#[tokio::test]
async fn an_event_goes_some_time_after_its_last_write() {
    let time = Duration::from_secs(2);
    let server = Server::builder().event_ttl(time).start().await.unwrap();
    let events: Api<Event> = Api::default_namespaced(support::client(&server).await);
    let start = std::time::Instant::now();
    for name in ["left-alone", "written-again"] {
        events
            .create(&PostParams::default(), &event(name))
            .await
            .unwrap();
    }
    let gone = async |name| events.get_opt(name).await.unwrap().is_none();
    let counted = json!({"count": 2});
    eventually("the event is half as old as it may get", async || {
        start.elapsed() > time / 2
    })
    .await;
    events
        .patch(
            "written-again",
            &PatchParams::default(),
            &Patch::Merge(&counted),
        )
        .await
        .unwrap();
    eventually("the event ends", async || gone("left-alone").await).await;
    assert!(start.elapsed() >= time);
    assert!(!gone("written-again").await);
    eventually("the other event ends", async || gone("written-again").await).await;
    assert!(start.elapsed() >= time + time / 2);
    server.shutdown().await;
}

#[tokio::test]
async fn every_namespace_has_an_account_and_the_authority_and_gets_them_back() {
    let (server, client) = support::server().await;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let team = object(json!({"metadata": {"name": "team"}}));
    namespaces
        .create(&PostParams::default(), &team)
        .await
        .unwrap();
    for namespace in ["default", "kube-system", "team"] {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let account = async || accounts.get_opt("default").await.unwrap();
        let authority = async || {
            let map = maps.get_opt("kube-root-ca.crt").await.unwrap()?;
            map.data?.remove("ca.crt")
        };
        eventually("there is an account", async || account().await.is_some()).await;
        eventually("there is an authority", async || {
            authority().await.is_some()
        })
        .await;
        let made = authority().await.unwrap();
        assert!(made.starts_with("-----BEGIN CERTIFICATE-----"), "{made}");

        accounts
            .delete("default", &DeleteParams::default())
            .await
            .unwrap();
        eventually("the account is back", async || account().await.is_some()).await;
        let spoilt = json!({"data": {"ca.crt": "nothing", "more": "things"}});
        maps.patch(
            "kube-root-ca.crt",
            &PatchParams::default(),
            &Patch::Merge(&spoilt),
        )
        .await
        .unwrap();
        eventually("the authority is back", async || {
            authority().await.as_ref() == Some(&made)
        })
        .await;
    }
    server.shutdown().await;
}

#[tokio::test]
async fn a_furnished_namespace_can_be_deleted() {
    let (server, client) = support::server().await;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let accounts: Api<ServiceAccount> = Api::namespaced(client, "team");
    let team = object(json!({"metadata": {"name": "team"}}));
    namespaces
        .create(&PostParams::default(), &team)
        .await
        .unwrap();
    eventually("it is furnished", async || {
        accounts.get_opt("default").await.unwrap().is_some()
    })
    .await;
    namespaces
        .delete("team", &DeleteParams::default())
        .await
        .unwrap();
    eventually("it is gone", async || {
        namespaces.get_opt("team").await.unwrap().is_none()
    })
    .await;
    let left = accounts.list(&ListParams::default()).await.unwrap();
    assert!(left.items.is_empty());
    server.shutdown().await;
}

fn node(name: &str) -> Node {
    object(json!({
        "metadata": {"name": name},
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]},
    }))
}

fn lease(name: &str, second: u8) -> Lease {
    let time = format!("2001-01-01T00:00:{second:02}.000000Z");
    object(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name}, "spec": {"holderIdentity": name, "renewTime": time},
    }))
}

/// The status of Ready and the keys of the taints.
async fn state(nodes: &Api<Node>, name: &str) -> (String, Vec<String>) {
    let node = nodes.get(name).await.expect("the Node is there");
    let conditions = node
        .status
        .unwrap_or_default()
        .conditions
        .unwrap_or_default();
    let ready = conditions
        .into_iter()
        .find(|condition| condition.type_ == "Ready");
    let taints = node.spec.unwrap_or_default().taints.unwrap_or_default();
    let taint =
        |taint: k8s_openapi::api::core::v1::Taint| format!("{}:{}", taint.key, taint.effect);
    let status = ready.map(|ready| ready.status).unwrap_or_default();
    (status, taints.into_iter().map(taint).collect())
}

#[tokio::test]
async fn a_node_whose_lease_is_not_renewed_becomes_unknown_and_comes_back() {
    let grace = Duration::from_secs(1);
    let server = Server::builder()
        .node_monitor_grace_period(grace)
        .start()
        .await
        .unwrap();
    let client = support::client(&server).await;
    let nodes: Api<Node> = Api::all(client.clone());
    let leases: Api<Lease> = Api::namespaced(client, "kube-node-lease");
    for name in ["leased", "bare"] {
        nodes
            .create(&PostParams::default(), &node(name))
            .await
            .unwrap();
    }
    leases
        .create(&PostParams::default(), &lease("leased", 0))
        .await
        .unwrap();
    let unreachable = ["NoSchedule", "NoExecute"]
        .map(|effect| format!("node.kubernetes.io/unreachable:{effect}"))
        .to_vec();
    eventually("the node is given up", async || {
        state(&nodes, "leased").await == ("Unknown".to_owned(), unreachable.clone())
    })
    .await;
    assert_eq!(state(&nodes, "bare").await, ("True".to_owned(), vec![]));

    let apply = PatchParams::apply("kubelet").force();
    leases
        .patch("leased", &apply, &Patch::Apply(lease("leased", 1)))
        .await
        .unwrap();
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    nodes
        .patch_status("leased", &PatchParams::default(), &Patch::Strategic(ready))
        .await
        .unwrap();
    eventually("the taints go", async || {
        state(&nodes, "leased").await == ("True".to_owned(), vec![])
    })
    .await;
    server.shutdown().await;
}

#[tokio::test]
async fn a_node_stays_ready_while_its_lease_is_renewed() {
    let grace = Duration::from_secs(2);
    let server = Server::builder()
        .node_monitor_grace_period(grace)
        .start()
        .await
        .unwrap();
    let client = support::client(&server).await;
    let nodes: Api<Node> = Api::all(client.clone());
    let leases: Api<Lease> = Api::namespaced(client, "kube-node-lease");
    nodes
        .create(&PostParams::default(), &node("one"))
        .await
        .unwrap();
    let apply = PatchParams::apply("kubelet").force();
    let start = std::time::Instant::now();
    let mut beats = tokio::time::interval(grace / 8);
    let mut second = 0;
    while start.elapsed() < grace * 2 {
        beats.tick().await;
        second += 1;
        leases
            .patch("one", &apply, &Patch::Apply(lease("one", second)))
            .await
            .unwrap();
        assert_eq!(state(&nodes, "one").await.0, "True");
    }
    server.shutdown().await;
}
