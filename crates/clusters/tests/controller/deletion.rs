//! From a cluster to free machines.

use kube::Api;
use kube::api::{Patch, PatchParams};
use nico_api::NixosConfiguration;
use nico_api::kubernetes_cluster::{Phase, conditions as kind};
use serde_json::json;

use crate::creation::{FIVE, home};
use crate::lab::{Lab, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_cluster_leaves_nothing_behind() {
    let lab = Lab::start(&FIVE).await;
    let _operator = lab.operator().await;
    lab.create("home", home()).await;
    lab.condition("home", kind::READY, "True").await;
    lab.delete("home").await;
    lab.gone("home").await;
    lab.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_deleted_before_it_is_ready_leaves_nothing_behind() {
    let lab = Lab::start(&FIVE).await;
    let _operator = lab.operator().await;
    lab.create("home", home()).await;
    eventually("the first configuration", async || {
        (!lab.names::<NixosConfiguration>().await.is_empty()).then_some(())
    })
    .await;
    lab.delete("home").await;
    lab.gone("home").await;
    lab.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_a_deletion_up_is_said_and_the_control_plane_waits_for_the_workers() {
    let lab = Lab::start(&FIVE).await;
    let _operator = lab.operator().await;
    lab.create("home", home()).await;
    lab.condition("home", kind::READY, "True").await;
    let configurations: Api<NixosConfiguration> = lab.api();
    let hold = |finalizers: serde_json::Value| {
        let patch = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
        let configurations = configurations.clone();
        async move {
            configurations
                .patch("home-w-01", &PatchParams::default(), &patch)
                .await
                .unwrap();
        }
    };
    hold(json!(["test/hold", "nio.homystack.com/remove"])).await;
    lab.delete("home").await;
    let message = lab.reason("home", kind::READY, "Deleting").await;
    assert!(message.contains("w-01"), "{message}");
    assert_eq!(lab.status("home").await.phase, Some(Phase::Deleting));
    let left = lab.names::<NixosConfiguration>().await;
    assert!(left.contains(&"home-cp-01".to_owned()), "{left:?}");
    hold(json!([])).await;
    lab.gone("home").await;
    lab.assert_nothing_is_left().await;
}
