//! The operator is stopped dead after its 1st, 2nd, … nth write, and another one takes over:
//! every run ends in the same state as the undisturbed one.

use std::collections::BTreeMap;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use nico_api::kubernetes_cluster::{Phase, conditions as kind};
use nico_api::{KubernetesCluster, NixosConfiguration, NixosConfigurationSpec};

use crate::creation::{FIVE, home};
use crate::lab::Lab;

/// Runs that go on at the same time.
const AT_ONCE: usize = 4;

/// What a run ends in, without what is different each time.
#[derive(Debug, PartialEq)]
struct End {
    claims: BTreeMap<String, (String, String)>,
    configurations: BTreeMap<String, NixosConfigurationSpec>,
    secrets: Vec<String>,
    phase: Option<Phase>,
    selected: Vec<String>,
}

async fn end(lab: &Lab) -> End {
    let configurations: Api<NixosConfiguration> = lab.api();
    let configurations = configurations.list(&ListParams::default()).await.unwrap();
    let status = lab.status("home").await;
    lab.layer.assert_no_rule_was_broken();
    End {
        claims: lab.claims().await,
        configurations: configurations
            .items
            .into_iter()
            .map(|configuration| (configuration.name_any(), configuration.spec))
            .collect(),
        secrets: lab.names::<Secret>().await,
        phase: status.phase,
        selected: [
            status.selected_control_plane_machines,
            status.selected_data_plane_machines,
        ]
        .concat(),
    }
}

/// Creates the cluster with an operator that stops after `writes`, and then with another one.
/// Gives what it ends in, and whether the first operator stopped at all.
async fn create(writes: u64) -> (End, bool) {
    let lab = Lab::start_embedded(&FIVE).await;
    let stopped = disturbed(&lab, writes, async || {
        lab.create("home", home()).await;
        lab.condition("home", kind::READY, "True").await;
    })
    .await;
    (end(&lab).await, stopped)
}

/// Deletes a cluster that is Ready, in the same way.
async fn delete(writes: u64) -> (End, bool) {
    let lab = Lab::start_embedded(&FIVE).await;
    let operator = lab.operator().await;
    lab.create("home", home()).await;
    lab.condition("home", kind::READY, "True").await;
    drop(operator);
    let stopped = disturbed(&lab, writes, async || {
        if lab.names::<KubernetesCluster>().await.is_empty() {
            return;
        }
        lab.delete("home").await;
        lab.gone("home").await;
    })
    .await;
    lab.assert_nothing_is_left().await;
    (end(&lab).await, stopped)
}

/// Does `work` under an operator that stops after `allowed` writes and under its successor.
async fn disturbed(lab: &Lab, allowed: u64, work: impl AsyncFn()) -> bool {
    let (first, writes) = lab.operator_that_stops(allowed).await;
    let succession = async {
        writes.stopped().await;
        drop(first);
        lab.operator().await
    };
    tokio::pin!(succession);
    let mut successor = None;
    let work = work();
    tokio::pin!(work);
    loop {
        tokio::select! {
            () = &mut work => break,
            operator = &mut succession, if successor.is_none() => successor = Some(operator),
        }
    }
    successor.is_some()
}

/// Runs `scenario` with every crash point until one is not reached any more.
async fn crash_at_every_write<F: Future<Output = (End, bool)>>(
    name: &str,
    scenario: impl Fn(u64) -> F,
) {
    let (undisturbed, stopped) = scenario(u64::MAX).await;
    assert!(!stopped);
    let runs = futures::stream::iter(1_u64..)
        .map(|writes| {
            let run = scenario(writes);
            async move { (writes, run.await) }
        })
        .buffered(AT_ONCE);
    tokio::pin!(runs);
    while let Some((writes, (end, stopped))) = runs.next().await {
        assert_eq!(end, undisturbed, "{name}: stopped after write {writes}");
        if !stopped {
            println!("{name}: {} crash points, all end alike", writes - 1);
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_is_disturbed_at_any_write_ends_like_the_undisturbed_one() {
    crash_at_every_write("creation", create).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_disturbed_at_any_write_ends_like_the_undisturbed_one() {
    crash_at_every_write("deletion", delete).await;
}
