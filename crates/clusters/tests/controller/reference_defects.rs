//! What the public reference of this layer (homystack/NICO) gets wrong. Each test has the number
//! of its defect and shows that the defect is not here.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::config::Kubeconfig;
use nico_api::kubernetes_cluster::{Phase, conditions as kind};
use nico_api::{KubernetesCluster, Machine, NixosConfiguration, condition};
use nico_clusters::kubeconfig::retrieve;
use nico_testbed::ControlPlane;
use serde_json::{Value, json};

use crate::creation::{FIVE, home};
use crate::lab::{Kubeconfigs, Lab, Operator, eventually};
use crate::machine_layer::set_node_ready;

fn solo() -> Value {
    json!({"controlPlane": {"machines": ["cp-01"]}})
}

/// One control plane, and `count` workers by a selector.
fn with_workers(count: usize) -> Value {
    json!({
        "controlPlane": {"machines": ["cp-01"]},
        "dataPlane": {"machineSelector": {"matchLabels": {"role": "w"}}, "count": count},
    })
}

async fn change(lab: &Lab, cluster: &str, patch: Value) {
    let clusters: Api<KubernetesCluster> = lab.api();
    let parameters = PatchParams::default();
    let patch = Patch::Merge(patch);
    clusters.patch(cluster, &parameters, &patch).await.unwrap();
}

async fn change_machine(lab: &Lab, machine: &str, status: Value) {
    let machines: Api<Machine> = lab.api();
    let parameters = PatchParams::default();
    let patch = Patch::Merge(json!({"status": status}));
    let patched = machines.patch_status(machine, &parameters, &patch);
    patched.await.unwrap();
}

/// Waits until the cluster holds exactly these machines.
async fn holds(lab: &Lab, expected: &[&str]) {
    eventually(&format!("{expected:?} are claimed"), async || {
        lab.claims().await.keys().eq(expected).then_some(())
    })
    .await;
}

async fn configuration(lab: &Lab, name: &str) -> NixosConfiguration {
    let configurations: Api<NixosConfiguration> = lab.api();
    eventually(name, async || configurations.get_opt(name).await.unwrap()).await
}

/// Starts an operator, and has it make a cluster that is Ready.
async fn ready(lab: &Lab, name: &str, spec: Value) -> Operator {
    let operator = lab.operator().await;
    lab.create(name, spec).await;
    lab.condition(name, kind::READY, "True").await;
    operator
}

// 1. Any change is patched into all nodes in one pass, control plane first, nothing is waited for.

#[tokio::test(flavor = "multi_thread")]
async fn defect_01_a_change_reaches_one_machine_after_the_other() {
    let lab = Lab::start(&FIVE).await;
    let _operator = ready(&lab, "home", home()).await;
    let created = lab.layer.log().len();
    let commit = "2".repeat(40);
    change(&lab, "home", json!({"spec": {"ref": commit}})).await;
    eventually("every node runs the new commit", async || {
        let revision = lab.status("home").await.revision?;
        (revision.commit == commit).then_some(())
    })
    .await;
    let changed = lab.layer.log().split_off(created);
    let machines: Vec<&str> = changed
        .iter()
        .map(|(machine, _)| machine.as_str())
        .collect();
    assert_eq!(machines, ["w-01", "w-02", "cp-01", "cp-02", "cp-03"]);
    lab.reason("home", kind::ROLLING_OUT, "Finished").await;
}

// 2. `count` and selector changes after the first selection have no effect; `machines` removed
//    from the list stay configured.

#[tokio::test(flavor = "multi_thread")]
async fn defect_02_count_and_list_count_at_any_time() {
    let lab = Lab::start(&["cp-01", "cp-02", "w-01", "w-02"]).await;
    let _operator = ready(&lab, "home", with_workers(2)).await;
    change(&lab, "home", json!({"spec": {"dataPlane": {"count": 1}}})).await;
    holds(&lab, &["cp-01", "w-01"]).await;
    let configurations = lab.names::<NixosConfiguration>().await;
    assert_eq!(configurations, ["home-cp-01", "home-w-01"]);
    let both = json!({"spec": {"controlPlane": {"machines": ["cp-01", "cp-02"]}}});
    change(&lab, "home", both).await;
    holds(&lab, &["cp-01", "cp-02", "w-01"]).await;
    lab.condition("home", kind::READY, "True").await;
    let one = json!({"spec": {"controlPlane": {"machines": ["cp-01"]}}});
    change(&lab, "home", one).await;
    holds(&lab, &["cp-01", "w-01"]).await;
    lab.layer.assert_no_rule_was_broken();
}

// 3. No claims: two clusters created together take the same machines.

#[tokio::test(flavor = "multi_thread")]
async fn defect_03_clusters_that_are_created_together_share_no_machine() {
    let lab = Lab::start(&["cp-01", "w-01"]).await;
    let _operator = lab.operator().await;
    tokio::join!(lab.create("one", solo()), lab.create("two", solo()));
    let loser = eventually("one of them is Ready", async || {
        for (winner, loser) in [("one", "two"), ("two", "one")] {
            let conditions = lab.status(winner).await.conditions;
            if condition::is_true(&conditions, kind::READY) {
                return Some(loser);
            }
        }
        None
    })
    .await;
    lab.reason(loser, kind::MACHINES_SELECTED, "MachineInUse")
        .await;
    assert_eq!(lab.names::<NixosConfiguration>().await.len(), 1);
    lab.layer.assert_no_rule_was_broken();
}

// 4. `discoverable` is not looked at.

#[tokio::test(flavor = "multi_thread")]
async fn defect_04_a_machine_that_does_not_answer_is_not_chosen() {
    let lab = Lab::start(&["cp-01", "w-01", "w-02"]).await;
    change_machine(&lab, "w-01", json!({"discoverable": false})).await;
    let _operator = ready(&lab, "home", with_workers(1)).await;
    holds(&lab, &["cp-01", "w-02"]).await;
}

// 5. The join token is the string `join-token-for-<name>`.

#[tokio::test(flavor = "multi_thread")]
async fn defect_05_a_join_token_cannot_be_guessed() {
    let lab = Lab::start(&["cp-01", "cp-02"]).await;
    let _operator = lab.operator().await;
    lab.create("one", solo()).await;
    lab.create("two", json!({"controlPlane": {"machines": ["cp-02"]}}))
        .await;
    let secrets: Api<Secret> = lab.api();
    let token = async |name: &str| {
        let secret = eventually(name, async || secrets.get_opt(name).await.unwrap()).await;
        String::from_utf8(secret.data.unwrap()["token"].0.clone()).unwrap()
    };
    let (one, two) = (token("one-join-token").await, token("two-join-token").await);
    assert_ne!(one, two);
    let (id, rest) = one.split_once('.').unwrap();
    assert_eq!((id.len(), rest.len()), (6, 16));
    let is_plain = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
    assert!(id.chars().chain(rest.chars()).all(is_plain));
}

// 6. `cluster.nix` is a NixOS module with string interpolation of unescaped names, and its own
//    example flake expects plain data.

#[tokio::test(flavor = "multi_thread")]
async fn defect_06_cluster_nix_is_plain_data() {
    let lab = Lab::start(&["cp-01"]).await;
    let _operator = lab.operator().await;
    lab.create("solo", solo()).await;
    let file = configuration(&lab, "solo-cp-01")
        .await
        .spec
        .additional_files[0]
        .clone();
    assert_eq!(file.path, "cluster.nix");
    assert_eq!(
        file.inline.unwrap(),
        r#"# Generated by NICO. Do not edit.
{
  clusterName = "solo";
  name = "solo";
  controlPlane = [
    { name = "cp-01"; ip = "127.0.0.1"; hostname = "cp-01.lan"; }
  ];
  workers = [ ];
}
"#
    );
}

// 7. `ControlPlaneReady` is written although the CRD's enum does not allow it.

#[tokio::test(flavor = "multi_thread")]
async fn defect_07_the_phase_control_plane_ready_can_be_stored() {
    let lab = Lab::start(&["cp-01", "w-01"]).await;
    let _operator = ready(&lab, "home", with_workers(1)).await;
    set_node_ready(&lab.nodes(), "w-01", false).await.unwrap();
    eventually("the phase ControlPlaneReady", async || {
        let phase = lab.status("home").await.phase;
        (phase == Some(Phase::ControlPlaneReady)).then_some(())
    })
    .await;
}

// 8. Status is reset to Provisioning with `0/n` on every reconcile, also of a running cluster.

#[tokio::test(flavor = "multi_thread")]
async fn defect_08_the_status_of_a_running_cluster_is_never_reset() {
    let lab = Lab::start(&["cp-01", "w-01"]).await;
    let operator = ready(&lab, "home", with_workers(1)).await;
    drop(operator);
    let clusters: Api<KubernetesCluster> = lab.api();
    let version = clusters.get("home").await.unwrap().resource_version();
    let _operator = lab.operator().await;
    // Two changes that are known to be noticed one after the other.
    set_node_ready(&lab.nodes(), "w-01", false).await.unwrap();
    lab.condition("home", kind::NODES_HEALTHY, "False").await;
    set_node_ready(&lab.nodes(), "w-01", true).await.unwrap();
    lab.condition("home", kind::READY, "True").await;
    let changes = kube::api::WatchParams::default().timeout(1);
    let changes = clusters.watch(&changes, &version.unwrap()).await.unwrap();
    let changes: Vec<_> = futures::StreamExt::collect(changes).await;
    let mut seen = 0;
    for change in changes {
        if let Ok(kube::api::WatchEvent::Modified(cluster)) = change {
            let status = cluster.status.unwrap_or_default();
            assert_ne!(status.phase, Some(Phase::Provisioning));
            assert_eq!(status.control_plane_ready.as_deref(), Some("1/1"));
            seen += 1;
        }
    }
    assert!(seen >= 2, "{seen}");
}

// 9. The kubeconfig keeps `https://127.0.0.1:6443`, is read with host key checking off, by a
//    blocking subprocess in the event loop. (Host keys: the tests of `nico-ssh`.)

#[tokio::test(flavor = "multi_thread")]
async fn defect_09_a_kubeconfig_leads_to_the_machine_and_not_to_the_loopback() {
    let server = ControlPlane::start_everywhere().await.unwrap();
    let mut machine = Machine::default();
    machine.spec.ip_address = Some("127.0.0.2".to_owned());
    let hosts = Kubeconfigs::new(server.kubeconfig().to_owned());
    let machines = [("cp-01".parse().unwrap(), &machine)];
    let found = retrieve(&hosts, "home", None, &machines).await.unwrap();
    let document = Kubeconfig::from_yaml(found.text()).unwrap();
    let server = document.clusters[0]
        .cluster
        .as_ref()
        .unwrap()
        .server
        .clone();
    assert!(server.unwrap().starts_with("https://127.0.0.2:"));
}

// 10. Deletion relies on `status.appliedMachines`: machines configured before the status was
//     written are forgotten.

#[tokio::test(flavor = "multi_thread")]
async fn defect_10_a_deletion_needs_no_status() {
    let lab = Lab::start(&["cp-01", "w-01"]).await;
    let operator = ready(&lab, "home", with_workers(1)).await;
    drop(operator);
    let clusters: Api<KubernetesCluster> = lab.api();
    let forget = Patch::Merge(json!({"status": null}));
    let parameters = PatchParams::default();
    let forgotten = clusters.patch_status("home", &parameters, &forget).await;
    assert!(
        forgotten
            .unwrap()
            .status
            .is_none_or(|it| it.applied_machines.is_empty())
    );
    lab.delete("home").await;
    let _operator = lab.operator().await;
    lab.gone("home").await;
    lab.assert_nothing_is_left().await;
}

// 11. `lastTransitionTime` changes every 30 s; conditions are overwritten rather than merged.

#[tokio::test(flavor = "multi_thread")]
async fn defect_11_a_condition_that_stays_keeps_its_time_and_those_of_others_stay() {
    let lab = Lab::start(&["cp-01", "w-01"]).await;
    let operator = ready(&lab, "home", with_workers(1)).await;
    drop(operator);
    let clusters: Api<KubernetesCluster> = lab.api();
    let mut conditions = lab.status("home").await.conditions;
    let long_ago = "2001-01-01T00:00:00Z";
    for condition in &mut conditions {
        condition.last_transition_time.0 = long_ago.parse().unwrap();
    }
    conditions.push(Condition {
        type_: "OfSomebodyElse".to_owned(),
        ..conditions[0].clone()
    });
    let patch = Patch::Merge(json!({"status": {"conditions": conditions}}));
    let parameters = PatchParams::default();
    let patched = clusters.patch_status("home", &parameters, &patch);
    patched.await.unwrap();
    let _operator = lab.operator().await;
    set_node_ready(&lab.nodes(), "w-01", false).await.unwrap();
    lab.condition("home", kind::NODES_HEALTHY, "False").await;
    let conditions = lab.status("home").await.conditions;
    let is_old = |kind: &str| {
        let found = condition::find(&conditions, kind).unwrap();
        found.last_transition_time.0.to_string() == long_ago
    };
    assert!(is_old(kind::CONTROL_PLANE_READY) && is_old(kind::MACHINES_SELECTED));
    assert!(is_old("OfSomebodyElse"));
    assert!(!is_old(kind::NODES_HEALTHY));
}

// 12. `nico_clusters_by_phase` is incremented every 30 s for the same cluster.

#[tokio::test(flavor = "multi_thread")]
async fn defect_12_a_cluster_is_counted_once_in_its_phase() {
    let lab = Lab::start(&["cp-01"]).await;
    let operator = ready(&lab, "solo", solo()).await;
    for is_ready in [false, true] {
        let truth = if is_ready { "True" } else { "False" };
        set_node_ready(&lab.nodes(), "cp-01", is_ready)
            .await
            .unwrap();
        lab.condition("solo", kind::NODES_HEALTHY, truth).await;
    }
    let line = r#"nico_clusters_by_phase{namespace="default",phase="Ready"} 1"#;
    eventually(line, async || {
        let metrics = operator.metrics();
        let phases = metrics
            .lines()
            .filter(|it| it.starts_with("nico_clusters_by_phase{"));
        phases.eq([line]).then_some(())
    })
    .await;
}

// 13. `fullInstall` is true for every machine without an annotation that nothing ever sets:
//     selecting a machine wipes its disk, at every reconcile.

#[tokio::test(flavor = "multi_thread")]
async fn defect_13_only_a_machine_that_runs_an_installer_is_wiped_and_only_once() {
    let lab = Lab::start(&["cp-01", "w-01"]).await;
    let installer = json!({"hardwareFacts": {"os": {"id": "nixos", "variantId": "installer"}}});
    change_machine(&lab, "w-01", installer).await;
    let _operator = ready(&lab, "home", with_workers(1)).await;
    assert!(!configuration(&lab, "home-cp-01").await.spec.full_install);
    assert!(configuration(&lab, "home-w-01").await.spec.full_install);
    let configurations: Api<NixosConfiguration> = lab.api();
    let done = Patch::Merge(json!({"status": {"fullDiskInstallCompleted": true}}));
    let parameters = PatchParams::default();
    let told = configurations.patch_status("home-w-01", &parameters, &done);
    told.await.unwrap();
    let machines: Api<Machine> = lab.api();
    eventually("the installation is noted on the Machine", async || {
        let machine = machines.get("w-01").await.unwrap();
        let notes = machine.annotations();
        notes
            .contains_key(nico_api::labels::FULL_INSTALLATION_APPLIED)
            .then_some(())
    })
    .await;
    let commit = "2".repeat(40);
    change(&lab, "home", json!({"spec": {"ref": commit}})).await;
    eventually("the next commit does not wipe it", async || {
        let spec = configuration(&lab, "home-w-01").await.spec;
        (spec.reference == commit && !spec.full_install).then_some(())
    })
    .await;
}

// 14. `gitRepo` optional in the PRD, required in the code.

#[tokio::test(flavor = "multi_thread")]
async fn defect_14_a_cluster_without_a_repository_is_accepted_and_told_what_is_missing() {
    let lab = Lab::start(&["cp-01"]).await;
    let _operator = lab.operator().await;
    lab.create("solo", solo()).await;
    change(&lab, "solo", json!({"spec": {"gitRepo": null}})).await;
    let message = lab
        .reason("solo", kind::SOURCE_RESOLVED, "NoRepository")
        .await;
    assert!(message.contains("NICO_DEFAULT_GIT_REPO"), "{message}");
}

// 15. Errors of a removed Machine are swallowed, totals shrink, and the cluster becomes Ready
//     with fewer nodes.

#[tokio::test(flavor = "multi_thread")]
async fn defect_15_a_cluster_that_lost_a_machine_is_not_ready_and_says_which() {
    let lab = Lab::start(&["cp-01", "w-01"]).await;
    let _operator = lab.operator().await;
    let spec =
        json!({"controlPlane": {"machines": ["cp-01"]}, "dataPlane": {"machines": ["w-01"]}});
    lab.create("home", spec).await;
    lab.condition("home", kind::READY, "True").await;
    let machines: Api<Machine> = lab.api();
    let deleted = machines.delete("w-01", &DeleteParams::default()).await;
    deleted.unwrap();
    let message = lab
        .reason("home", kind::MACHINES_SELECTED, "MachineNotFound")
        .await;
    assert!(message.contains("w-01"), "{message}");
    lab.condition("home", kind::READY, "False").await;
    let status = lab.status("home").await;
    assert_eq!(status.data_plane_ready.as_deref(), Some("0/1"));
    assert_ne!(status.phase, Some(Phase::Ready));
    let list = lab.nodes().list(&ListParams::default()).await.unwrap();
    assert_eq!(list.items.len(), 2, "nobody was told to let it go");
}
