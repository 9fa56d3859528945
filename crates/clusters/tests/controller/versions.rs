//! What a change does to the version of Kubernetes decides its order, or whether it is made.

use kube::api::{Api, ListParams, Patch, PatchParams};
use nico_api::KubernetesCluster;
use nico_api::kubernetes_cluster::{Phase, conditions as kind};
use serde_json::{Value, json};

use crate::creation::{FIVE, home};
use crate::lab::{COMMIT, Lab, Operator, eventually};

/// A commit whose digits are all the same.
fn commit(digit: char) -> String {
    digit.to_string().repeat(40)
}

/// A cluster that is Ready and runs Kubernetes 1.31, and what three other commits would run.
async fn ready() -> (Lab, Operator) {
    let lab = Lab::start(&FIVE).await;
    for (commit, version) in [
        (COMMIT.to_owned(), "1.31.4+k3s1"),
        (commit('2'), "1.32.1+k3s1"),
        (commit('3'), "1.33.0+k3s1"),
        (commit('4'), "1.31.2+k3s1"),
    ] {
        lab.layer.is_of_version(&commit, version);
    }
    let operator = lab.operator().await;
    lab.create("home", home()).await;
    lab.condition("home", kind::READY, "True").await;
    (lab, operator)
}

async fn change(lab: &Lab, spec: Value) {
    let clusters: Api<KubernetesCluster> = lab.api();
    let patch = Patch::Merge(json!({"spec": spec}));
    let parameters = PatchParams::default();
    clusters.patch("home", &parameters, &patch).await.unwrap();
}

/// Waits until every node runs `commit`; gives the machines in the order in which they got it.
async fn rolled(lab: &Lab, commit: &str) -> Vec<String> {
    eventually(&format!("every node runs {commit}"), async || {
        let status = lab.status("home").await;
        let runs = status.revision?.commit == commit;
        let is_ready = nico_api::condition::is_true(&status.conditions, kind::READY);
        (runs && is_ready).then_some(())
    })
    .await;
    let log = lab.layer.log().into_iter();
    let log = log.filter(|(_, applied)| applied == commit);
    log.map(|(machine, _)| machine).collect()
}

/// Checks that no machine was changed, and no Node cordoned, for a change that is refused.
async fn nothing_was_touched(lab: &Lab, commit: &str) {
    let log = lab.layer.log();
    assert!(log.iter().all(|(_, applied)| applied != commit), "{log:?}");
    let nodes = lab.nodes().list(&ListParams::default()).await.unwrap();
    for node in nodes {
        let spec = node.spec.unwrap_or_default();
        assert_ne!(spec.unschedulable, Some(true), "{:?}", node.metadata.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn control_planes_go_first_when_the_version_rises_by_a_minor_one() {
    let (lab, _operator) = ready().await;
    change(&lab, json!({"ref": commit('2')})).await;
    let order = rolled(&lab, &commit('2')).await;
    assert_eq!(order, ["cp-01", "cp-02", "cp-03", "w-01", "w-02"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skip_of_two_minor_versions_is_refused_until_somebody_sets_the_order() {
    let (lab, _operator) = ready().await;
    change(&lab, json!({"ref": commit('3')})).await;
    let message = lab
        .reason("home", kind::ROLLING_OUT, "VersionChangeRefused")
        .await;
    for words in [
        "cp-01 would go up from Kubernetes 1.31.4 to 1.33.0, more than one minor version",
        "set rollout.order by hand",
    ] {
        assert!(message.contains(words), "{message}");
    }
    lab.reason("home", kind::READY, "VersionChangeRefused")
        .await;
    let status = lab.status("home").await;
    assert_eq!(status.phase, Some(Phase::Failed));
    assert_eq!(status.revision.unwrap().commit, COMMIT);
    nothing_was_touched(&lab, &commit('3')).await;

    let by_hand = json!({"rollout": {"order": "ControlPlaneFirst"}});
    change(&lab, by_hand).await;
    let order = rolled(&lab, &commit('3')).await;
    assert_eq!(order, ["cp-01", "cp-02", "cp-03", "w-01", "w-02"]);
    assert_eq!(lab.status("home").await.phase, Some(Phase::Ready));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_back_is_refused_and_the_next_commit_goes_on_by_itself() {
    let (lab, _operator) = ready().await;
    change(&lab, json!({"ref": commit('4')})).await;
    let message = lab
        .reason("home", kind::ROLLING_OUT, "VersionChangeRefused")
        .await;
    assert!(
        message.contains("cp-01 would go down from Kubernetes 1.31.4 to 1.31.2"),
        "{message}"
    );
    nothing_was_touched(&lab, &commit('4')).await;
    change(&lab, json!({"ref": commit('2')})).await;
    let order = rolled(&lab, &commit('2')).await;
    assert_eq!(order[0], "cp-01");
}
