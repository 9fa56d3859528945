//! Clusters of every size that the simulator knows come up, change and end, against real APIs.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::api::{Api, Patch, PatchParams};
use nico_api::KubernetesCluster;
use nico_api::kubernetes_cluster::conditions as kind;
use serde_json::json;

use crate::lab::{COMMIT, Lab, eventually_within};

/// Another commit than that of [`Lab::create`].
const NEXT: &str = "3333333333333333333333333333333333333333";

/// For a cluster of hundreds of machines on a computer that does much else.
const DEADLINE: Duration = Duration::from_secs(480);

async fn rolls(control_planes: usize, workers: usize) {
    let names = |role: &str, count: usize| -> Vec<String> {
        (1..=count)
            .map(|number| format!("{role}-{number:03}"))
            .collect()
    };
    let machines = [names("cp", control_planes), names("w", workers)].concat();
    let machines: Vec<&str> = machines.iter().map(String::as_str).collect();
    let lab = Lab::start(&machines).await;
    let _operator = lab.operator().await;
    let of_role = |role: &str, count: usize| json!({"machineSelector": {"matchLabels": {"role": role}}, "count": count});
    lab.create(
        "home",
        json!({
            "controlPlane": of_role("cp", control_planes),
            "dataPlane": of_role("w", workers),
            "rollout": {"maxUnavailableWorkers": "50%"},
        }),
    )
    .await;
    every_node_runs(&lab, COMMIT, &machines).await;

    let clusters: Api<KubernetesCluster> = lab.api();
    let patch = Patch::Merge(json!({"spec": {"ref": NEXT}}));
    let parameters = PatchParams::default();
    clusters.patch("home", &parameters, &patch).await.unwrap();
    every_node_runs(&lab, NEXT, &machines).await;
    lab.layer.assert_no_rule_was_broken();

    let log = lab.layer.log();
    let rolled = log.iter().filter(|(_, commit)| commit == NEXT);
    let order: Vec<&str> = rolled.map(|(machine, _)| machine.as_str()).collect();
    assert_eq!(
        order.iter().copied().collect::<BTreeSet<_>>(),
        machines.iter().copied().collect()
    );
    let first_control_plane = order.iter().position(|name| name.starts_with("cp"));
    let last_worker = order.iter().rposition(|name| name.starts_with("w"));
    assert!(
        last_worker.is_none_or(|last| Some(last) < first_control_plane),
        "workers go first: {order:?}"
    );
    lab.delete("home").await;
    eventually_within(DEADLINE, "all machines are free", async || {
        lab.claims().await.is_empty().then_some(())
    })
    .await;
    lab.gone("home").await;
    lab.assert_nothing_is_left().await;
}

/// Waits until the cluster is Ready and says that every node runs `commit`.
async fn every_node_runs(lab: &Lab, commit: &str, machines: &[&str]) {
    eventually_within(
        DEADLINE,
        &format!("{} nodes run {commit}", machines.len()),
        async || {
            let status = lab.status("home").await;
            let is_ready = nico_api::condition::is_true(&status.conditions, kind::READY);
            let runs = status.revision.map(|revision| revision.commit);
            let applied = status.applied_machines.len();
            (is_ready && runs.as_deref() == Some(commit) && applied == machines.len()).then_some(())
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_one_control_plane_rolls() {
    rolls(1, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_one_control_plane_and_one_worker_rolls() {
    rolls(1, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_two_control_planes_rolls() {
    rolls(2, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_three_control_planes_rolls() {
    rolls(3, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_three_control_planes_and_fifty_workers_rolls() {
    rolls(3, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_five_control_planes_and_two_hundred_workers_rolls() {
    rolls(5, 200).await;
}
