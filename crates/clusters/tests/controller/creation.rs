//! From a spec to a cluster that is Ready, and through a change.

use k8s_openapi::api::core::v1::{Event, Secret};
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use nico_api::kubernetes_cluster::{Phase, conditions as kind};
use nico_api::{KubernetesCluster, Machine, NixosConfiguration};
use serde_json::json;

use crate::lab::{COMMIT, Lab, eventually};
use crate::machine_layer::set_node_ready;
use crate::writes::{CrashPoint, Side};

pub(crate) const FIVE: [&str; 5] = ["cp-01", "cp-02", "cp-03", "w-01", "w-02"];

pub(crate) fn home() -> serde_json::Value {
    json!({
        "controlPlane": {"machines": ["cp-01", "cp-02", "cp-03"]},
        "dataPlane": {"machineSelector": {"matchLabels": {"role": "w"}}, "count": 2},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_becomes_a_cluster_that_is_ready_with_a_kubeconfig_that_works() {
    let lab = Lab::start(&FIVE).await;
    let _operator = lab.operator().await;
    lab.create("home", home()).await;
    lab.condition("home", kind::READY, "True").await;

    let status = lab.status("home").await;
    assert_eq!(status.phase, Some(Phase::Ready));
    assert_eq!(status.control_plane_ready.as_deref(), Some("3/3"));
    assert_eq!(status.data_plane_ready.as_deref(), Some("2/2"));
    assert_eq!(status.kubeconfig_secret.as_deref(), Some("home-kubeconfig"));
    assert_eq!(status.revision.unwrap().commit, COMMIT);
    assert_eq!(status.selected_control_plane_machines, FIVE[..3]);
    let claims = lab.claims().await;
    assert_eq!(claims["w-02"], ("home".to_owned(), "worker".to_owned()));
    assert_eq!(claims.len(), 5);

    let secrets: Api<Secret> = lab.api();
    let secret = secrets.get("home-kubeconfig").await.unwrap();
    let data = secret.data.unwrap();
    assert_eq!(data["kubeconfig"], data["value"]);
    let text = String::from_utf8(data["kubeconfig"].0.clone()).unwrap();
    let config = Kubeconfig::from_yaml(&text).unwrap();
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default())
        .await
        .unwrap();
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(Client::try_from(config).unwrap());
    assert_eq!(
        nodes
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        5
    );

    let configurations: Api<NixosConfiguration> = lab.api();
    let configuration = configurations.get("home-cp-01").await.unwrap();
    assert_eq!(configuration.spec.flake, "#cp-01");
    assert_eq!(configuration.spec.reference, COMMIT);
    let owner = &configuration.metadata.owner_references.unwrap()[0];
    assert_eq!(
        (owner.controller, owner.block_owner_deletion),
        (Some(true), Some(true))
    );
    lab.layer.assert_no_rule_was_broken();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_transition_is_told_in_an_event_once() {
    let lab = Lab::start(&["cp-01"]).await;
    let _operator = lab.operator().await;
    lab.create("solo", json!({"controlPlane": {"machines": ["cp-01"]}}))
        .await;
    lab.condition("solo", kind::READY, "True").await;
    let events: Api<Event> = lab.api();
    let expected = [
        "MachineClaimed",
        "ConfigurationCreated",
        "NodeReady",
        "ControlPlaneReady",
        "KubeconfigCreated",
        "ClusterReady",
    ];
    for reason in expected {
        let count = eventually(&format!("an event {reason}"), async || {
            let events = events.list(&ListParams::default()).await.unwrap();
            let count = events
                .iter()
                .filter(|event| event.reason.as_deref() == Some(reason))
                .count();
            (count > 0).then_some(count)
        })
        .await;
        assert_eq!(count, 1, "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_cluster_is_not_written_to() {
    let lab = Lab::start_embedded(&["cp-01"]).await;
    let operator = lab.operator().await;
    lab.create("solo", json!({"controlPlane": {"machines": ["cp-01"]}}))
        .await;
    lab.condition("solo", kind::READY, "True").await;
    drop(operator);
    let clusters: Api<KubernetesCluster> = lab.api();
    let before = clusters.get("solo").await.unwrap().resource_version();
    let (_operator, writes) = lab.operator_that_stops(CrashPoint::NEVER).await;
    // It is known to look again when the node goes and comes.
    set_node_ready(&lab.nodes(), "cp-01", false).await.unwrap();
    lab.condition("solo", kind::NODES_HEALTHY, "False").await;
    let seen = writes.seen(Side::Management);
    assert_ne!(
        clusters.get("solo").await.unwrap().resource_version(),
        before
    );
    assert_eq!(seen, 1, "the status, once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_goes_not_ready_is_noticed_and_so_is_its_return() {
    let lab = Lab::start(&FIVE).await;
    let _operator = lab.operator().await;
    lab.create("home", home()).await;
    lab.condition("home", kind::READY, "True").await;
    set_node_ready(&lab.nodes(), "w-01", false).await.unwrap();
    let (_, message) = lab.condition("home", kind::NODES_HEALTHY, "False").await;
    assert!(message.contains("w-01"), "{message}");
    assert_eq!(
        lab.status("home").await.phase,
        Some(Phase::ControlPlaneReady)
    );
    set_node_ready(&lab.nodes(), "w-01", true).await.unwrap();
    lab.condition("home", kind::READY, "True").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_starts_without_the_workers_that_are_missing_and_takes_them_when_they_come() {
    let lab = Lab::start(&FIVE[..4]).await;
    let _operator = lab.operator().await;
    lab.create("home", home()).await;
    eventually("the shortage is said", async || {
        let conditions = lab.status("home").await.conditions;
        let selected = nico_api::condition::find(&conditions, kind::MACHINES_SELECTED)?;
        selected
            .message
            .contains("data plane: 1 of 2 machines")
            .then_some(())
    })
    .await;
    lab.condition("home", kind::CONTROL_PLANE_READY, "True")
        .await;
    lab.add_machine("w-02").await;
    lab.condition("home", kind::READY, "True").await;
    lab.layer.assert_no_rule_was_broken();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_is_never_overwritten() {
    let lab = Lab::start(&["cp-01"]).await;
    let secrets: Api<Secret> = lab.api();
    let mine = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "solo-join-token"},
        "stringData": {"token": "mine"}});
    secrets
        .create(&Default::default(), &serde_json::from_value(mine).unwrap())
        .await
        .unwrap();
    let _operator = lab.operator().await;
    lab.create("solo", json!({"controlPlane": {"machines": ["cp-01"]}}))
        .await;
    lab.condition("solo", kind::READY, "True").await;
    lab.delete("solo").await;
    lab.gone("solo").await;
    let kept = secrets.get("solo-join-token").await.unwrap();
    assert_eq!(kept.data.unwrap()["token"].0, b"mine");
    let machines: Api<Machine> = lab.api();
    assert!(!machines.get("cp-01").await.unwrap().has_configuration());
}
