//! What the public reference of this layer (homystack/NIO) gets wrong. Each test is named after
//! one of its defects and shows that the defect is not here. The sections have the numbers of
//! the list of defects; those that are missing have no section yet.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::process::Command;

use kube::api::{Api, Patch, PatchParams};
use nico_api::condition;
use nico_api::nixos_configuration::conditions::{READY, STALLED};
use serde_json::json;
use support::{Cluster, eventually, gone, message};

/// Whether `git` is there. Says loudly when a test is skipped because it is not.
fn git_is_missing() -> bool {
    let missing = Command::new("git").arg("--version").output().is_err();
    if missing {
        nico_sandbox::tools::skip("this test needs git in PATH");
    }
    missing
}

// 5. No finalizer logic of its own on the machine side: a failing removal blocks for ever,
//    silently.

#[tokio::test]
async fn defect_05_a_removal_that_fails_says_why_and_has_a_way_out() {
    if git_is_missing() {
        return;
    }
    let cluster = Cluster::start().await;
    cluster.machine("m", "127.0.0.1").await;
    cluster
        .configuration("web", "m", json!({"gitRepo": "file:///no/such/repository"}))
        .await;
    // As an operator left it that had applied the configuration.
    let applied = json!({"status": {"appliedCommit": "a".repeat(40), "targetMachine": "m"}});
    let held = json!({"status": {"hasConfiguration": true, "appliedConfiguration": "web"}});
    let parameters = PatchParams::default();
    let configurations = cluster.configurations();
    let machines = cluster.machines();
    let finalizer = json!({"metadata": {"finalizers": ["nio.homystack.com/remove"]}});
    configurations
        .patch("web", &parameters, &Patch::Merge(finalizer))
        .await
        .unwrap();
    configurations
        .patch_status("web", &parameters, &Patch::Merge(applied))
        .await
        .unwrap();
    machines
        .patch_status("m", &parameters, &Patch::Merge(held))
        .await
        .unwrap();

    let _operator = cluster.operator();
    cluster.delete("web").await;
    let stuck = cluster.reason("web", "RepositoryNotFound").await;
    let said = message(&stuck, READY);
    assert!(said.contains("/no/such/repository"), "{said}");
    assert!(
        said.contains("nio.homystack.com/force-remove=true"),
        "{said}"
    );
    let conditions = &stuck.status.as_ref().unwrap().conditions;
    assert!(!condition::is_true(conditions, STALLED), "it gave up");

    let annotation = "nio.homystack.com/force-remove";
    cluster.annotate("web", annotation, "true").await;
    gone(&configurations, "web").await;
    let machine = machines.get("m").await.unwrap();
    let conditions = &machine.status.as_ref().unwrap().conditions;
    assert!(condition::is_true(conditions, "NeedsCleanup"));
    assert!(!machine.has_configuration());
}

// 9. The whole apply is one shell string built from spec fields.

#[tokio::test]
async fn defect_09_a_spec_field_is_never_a_command_of_a_shell() {
    if git_is_missing() {
        return;
    }
    let cluster = Cluster::start().await;
    let _operator = cluster.operator();
    cluster.machine("m", "192.0.2.1").await;
    let marker = cluster.base_path().join("marker");
    // The schema refuses blanks in a reference; a shell needs none.
    let touch = format!("touch${{IFS}}{}", marker.display());
    for reference in [
        format!("main;{touch}"),
        format!("$({touch})"),
        format!("`{touch}`"),
        format!("main|{touch}"),
        format!("'{touch}'"),
    ] {
        cluster
            .configuration("web", "m", json!({"ref": reference}))
            .await;
        let refused = cluster.reason("web", "ReferenceNotFound").await;
        let said = message(&refused, READY);
        assert!(said.contains(&reference), "{said}");
        assert!(!marker.exists(), "{reference} was run");
        cluster.delete("web").await;
        gone(&cluster.configurations(), "web").await;
    }
}

#[tokio::test]
async fn defect_09_the_schema_refuses_an_output_that_is_more_than_a_name() {
    let cluster = Cluster::start().await;
    for flake in ["#web; touch /tmp/x", "#$(id)", "#web`id`", "#web'"] {
        let configuration = json!({
            "apiVersion": "nio.homystack.com/v1alpha1", "kind": "NixosConfiguration",
            "metadata": {"name": "web"},
            "spec": {
                "gitRepo": cluster.repository.url(), "flake": flake, "machineRef": {"name": "m"},
            },
        });
        let api: Api<nico_api::NixosConfiguration> = cluster.configurations();
        let applied = api
            .patch(
                "web",
                &PatchParams::apply("test").force(),
                &Patch::Apply(configuration),
            )
            .await;
        let refused = applied.unwrap_err().to_string();
        assert!(refused.contains("spec.flake"), "{flake}: {refused}");
    }
}

// 11. Two configurations for one machine overwrite each other in turns.

#[tokio::test]
async fn defect_11_a_second_configuration_does_not_get_the_machine_of_the_first() {
    if git_is_missing() {
        return;
    }
    let cluster = Cluster::start().await;
    let _operator = cluster.operator();
    cluster.machine("m", "192.0.2.1").await;
    cluster.configuration("first", "m", json!({})).await;
    let holds = |machine: &nico_api::Machine| {
        let status = machine.status.as_ref();
        status.is_some_and(|it| it.applied_configuration.as_deref() == Some("first"))
    };
    eventually(&cluster.machines(), "m", holds).await;
    cluster.configuration("second", "m", json!({})).await;
    let refused = cluster.reason("second", "MachineInUse").await;
    assert!(message(&refused, READY).contains("NixosConfiguration first"));
    assert_eq!(refused.status.unwrap().last_attempt, None);
    // A wish for another try does not change who has the machine.
    let annotation = "nio.homystack.com/reconcile-at";
    cluster.annotate("second", annotation, "now").await;
    cluster.annotate("first", annotation, "now").await;
    let machine = eventually(&cluster.machines(), "m", holds).await;
    assert!(holds(&machine));
    cluster.reason("second", "MachineInUse").await;
}
