//! What `nico status` and `nico plan` see, against a controller that runs and one that does not.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use nico_api::KubernetesCluster;
use nico_api::kubernetes_cluster::conditions as kind;
use nico_clusters::Settings;
use nico_clusters::plan::Intervals;
use nico_clusters::report::preview::{self, PlanReport, PlanState};
use nico_clusters::report::snapshot::{Scope, Snapshot};
use nico_clusters::report::state::MachineState;
use nico_clusters::report::status::{self, StatusReport};
use nico_clusters::report::{changes, look};
use serde_json::json;

use crate::creation::{FIVE, home};
use crate::lab::{Lab, eventually};
use crate::writes::Side;

async fn plan(client: &Client) -> PlanReport {
    let now = Timestamp::now();
    let observed = look::look(client, &Settings::default(), "default", "home", now)
        .await
        .unwrap();
    preview::of(&observed.unwrap(), &Intervals::default(), now)
}

fn what(plan: &PlanReport) -> Vec<&str> {
    plan.steps.iter().map(|step| step.what.as_str()).collect()
}

fn scope() -> Scope {
    Scope {
        namespace: Some("default".to_owned()),
        cluster: Some("home".to_owned()),
    }
}

async fn set_ref(client: &Client, reference: &str) {
    let clusters: Api<KubernetesCluster> = Api::namespaced(client.clone(), "default");
    let patch = Patch::Merge(json!({"spec": {"ref": reference}}));
    let parameters = PatchParams::default();
    clusters.patch("home", &parameters, &patch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_what_the_controller_does_next_and_writes_nothing() {
    let lab = Lab::start_embedded(&FIVE).await;
    let (client, writes) = lab.counted().await;
    lab.create("home", home()).await;
    let first = plan(&client).await;
    assert_eq!(what(&first), ["put the finalizer on the cluster"]);

    let operator = lab.operator().await;
    lab.condition("home", kind::READY, "True").await;
    drop(operator);
    // The operator writes to the new cluster as the same user.
    let by_the_operator = writes.seen(Side::NewCluster);
    let settled = plan(&client).await;
    assert!(settled.is_settled(), "{settled:?}");

    set_ref(&lab.client, &"2".repeat(40)).await;
    let staging = plan(&client).await;
    assert_eq!(staging.state, PlanState::Staging);
    let staged: Vec<String> = FIVE
        .iter()
        .map(|machine| format!("have 2222222 copied to {machine}, where it waits"))
        .collect();
    assert_eq!(what(&staging), staged);
    assert!(
        staging.steps[0].why.contains("commit (1111111 to 2222222)"),
        "{staging:?}"
    );
    assert_eq!(plan(&client).await.steps, staging.steps);
    let seen = writes.seen(Side::NewCluster);
    assert_eq!(seen, by_the_operator, "a plan wrote to the new cluster");

    let _operator = lab.operator().await;
    eventually("every node runs the new commit", async || {
        let plan = plan(&client).await;
        let commit = plan.target.as_ref()?.commit.starts_with('2');
        (commit && plan.is_settled()).then_some(())
    })
    .await;
    lab.reason("home", kind::ROLLING_OUT, "Finished").await;
    let seen = writes.seen(Side::Management);
    assert_eq!(seen, 0, "a plan wrote something");
    assert!(
        look::look(
            &client,
            &Settings::default(),
            "default",
            "other",
            Timestamp::now()
        )
        .await
        .unwrap()
        .is_none()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_is_followed_from_the_first_machine_to_the_end_of_a_rollout() {
    let lab = Lab::start(&FIVE).await;
    let mut snapshots = Snapshot::follow(&lab.client, &scope()).boxed();
    let mut next = async || {
        let next = tokio::time::timeout(Duration::from_secs(60), snapshots.next());
        let snapshot = next.await.expect("a change").expect("no end");
        status::report(&snapshot, Timestamp::now())
    };
    assert_eq!(next().await.clusters, []);

    lab.create("home", home()).await;
    let _operator = lab.operator().await;
    let mut seen: Vec<StatusReport> = vec![];
    let is_at = |report: &StatusReport, commit: char| {
        report.clusters.iter().any(|cluster| {
            let revision = cluster.revision.as_ref();
            cluster.ready && revision.is_some_and(|it| it.commit.starts_with(commit))
        })
    };
    for commit in ['1', '2'] {
        if commit == '2' {
            set_ref(&lab.client, &"2".repeat(40)).await;
        }
        loop {
            let report = next().await;
            let is_there = is_at(&report, commit);
            seen.push(report);
            if is_there {
                break;
            }
        }
    }
    let once = Snapshot::read(&lab.client, &scope()).await;
    let last = status::report(&once, Timestamp::now());
    assert!(is_at(&last, '2'), "{last:#?}");
    let cluster = &last.clusters[0];
    let names = |machines: &[status::MachineReport]| {
        machines
            .iter()
            .map(|machine| machine.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&cluster.control_plane.machines), FIVE[..3]);
    assert_eq!(names(&cluster.data_plane.machines), FIVE[3..]);
    assert!(last.unread.is_empty(), "{last:#?}");

    let states: Vec<MachineState> = seen
        .iter()
        .flat_map(|report| &report.clusters)
        .flat_map(|cluster| &cluster.control_plane.machines)
        .map(|machine| machine.state)
        .collect();
    assert!(states.contains(&MachineState::Waiting), "{states:?}");
    assert!(states.contains(&MachineState::Changing), "{states:?}");
    for pair in seen.windows(2) {
        for line in changes::between(Some(&pair[0]), &pair[1]) {
            assert!(line.starts_with("default/home"), "{line}");
        }
    }
}
