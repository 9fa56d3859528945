//! What people get wrong is said, and goes on by itself once it is right.

use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use nico_api::KubernetesCluster;
use nico_api::kubernetes_cluster::{Phase, conditions as kind};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

use crate::lab::{Lab, eventually};

async fn change(lab: &Lab, cluster: &str, spec: Value) {
    let clusters: Api<KubernetesCluster> = lab.api();
    let patch = Patch::Merge(json!({"spec": spec}));
    clusters
        .patch(cluster, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_does_not_exist_is_named_and_taken_when_it_comes() {
    let lab = Lab::start(&[]).await;
    let _operator = lab.operator().await;
    lab.create("solo", json!({"controlPlane": {"machines": ["cp-01"]}}))
        .await;
    let message = lab
        .reason("solo", kind::MACHINES_SELECTED, "MachineNotFound")
        .await;
    assert!(message.contains("cp-01 does not exist"), "{message}");
    lab.add_machine("cp-01").await;
    lab.condition("solo", kind::READY, "True").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_does_not_exist_is_said_and_a_push_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("clusters");
    let url = format!("file://{}", path.display());
    let lab = Lab::start(&["cp-01"]).await;
    let _operator = lab.operator().await;
    let spec = json!({"controlPlane": {"machines": ["cp-01"]}, "gitRepo": url, "ref": "main"});
    lab.create("solo", spec).await;
    let message = lab
        .reason("solo", kind::SOURCE_RESOLVED, "RepositoryNotFound")
        .await;
    assert!(message.contains(&url), "{message}");
    assert_eq!(lab.status("solo").await.phase, Some(Phase::Failed));

    std::fs::create_dir(&path).unwrap();
    git(&path, &["init", "-q", "-b", "trunk"]);
    git(&path, &["commit", "-q", "--allow-empty", "-m", "one"]);
    lab.reason("solo", kind::SOURCE_RESOLVED, "ReferenceNotFound")
        .await;
    change(&lab, "solo", json!({"ref": null})).await;
    lab.condition("solo", kind::READY, "True").await;

    git(&path, &["commit", "-q", "--allow-empty", "-m", "two"]);
    let second = git(&path, &["rev-parse", "HEAD"]);
    eventually("the pushed commit runs", async || {
        let revision = lab.status("solo").await.revision?;
        (revision.commit == second).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_missing_or_wrong_are_named() {
    let lab = Lab::start(&["cp-01"]).await;
    let _operator = lab.operator().await;
    let spec =
        json!({"controlPlane": {"machines": ["cp-01"]}, "credentialsRef": {"name": "git-creds"}});
    lab.create("solo", spec).await;
    let message = lab
        .reason("solo", kind::SOURCE_RESOLVED, "SecretNotFound")
        .await;
    assert!(message.contains("default/git-creds"), "{message}");
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "git-creds"},
        "stringData": {"pasword": "x"}});
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = lab.api();
    secrets
        .create(
            &PostParams::default(),
            &serde_json::from_value(secret).unwrap(),
        )
        .await
        .unwrap();
    eventually("the keys of the Secret are named", async || {
        let conditions = lab.status("solo").await.conditions;
        let found = nico_api::condition::find(&conditions, kind::SOURCE_RESOLVED)?;
        found.message.contains("pasword").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flake_that_does_not_evaluate_is_said_with_the_tools_words_and_a_new_commit_helps() {
    let lab = Lab::start(&["cp-01", "w-01"]).await;
    lab.layer.fail("w-01", "attribute 'w-01' missing");
    let _operator = lab.operator().await;
    let spec =
        json!({"controlPlane": {"machines": ["cp-01"]}, "dataPlane": {"machines": ["w-01"]}});
    lab.create("pair", spec).await;
    let message = lab
        .reason("pair", kind::DATA_PLANE_READY, "ConfigurationFailed")
        .await;
    assert!(
        message.contains("w-01 EvaluationFailed: attribute 'w-01' missing"),
        "{message}"
    );
    eventually("phase Failed", async || {
        (lab.status("pair").await.phase == Some(Phase::Failed)).then_some(())
    })
    .await;
    lab.layer.succeed("w-01");
    change(&lab, "pair", json!({"ref": "2".repeat(40)})).await;
    lab.condition("pair", kind::READY, "True").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_object_does_not_stop_the_others() {
    let lab = Lab::start(&["cp-01"]).await;
    let kinds = [
        (
            "nico.homystack.com",
            "KubernetesCluster",
            json!({"controlPlane": "wrong"}),
        ),
        ("nio.homystack.com", "Machine", json!({"sshPort": "wrong"})),
    ];
    for (group, kind, spec) in kinds {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1alpha1", kind));
        let definitions: Api<DynamicObject> = Api::all_with(
            lab.client.clone(),
            &ApiResource::from_gvk(&GroupVersionKind::gvk(
                "apiextensions.k8s.io",
                "v1",
                "CustomResourceDefinition",
            )),
        );
        let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let name = format!("{}.{group}", resource.plural);
        let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
        let original = definitions.get(&name).await.unwrap();
        let original = original.data.pointer(path).unwrap().clone();
        let replace = |value: &Value| {
            Patch::<()>::Json(
                serde_json::from_value(json!([{"op": "replace", "path": path, "value": value}]))
                    .unwrap(),
            )
        };
        let parameters = PatchParams::default();
        definitions
            .patch(&name, &parameters, &replace(&anything))
            .await
            .unwrap();
        let objects: Api<DynamicObject> =
            Api::namespaced_with(lab.client.clone(), "default", &resource);
        let object = json!({"apiVersion": format!("{group}/v1alpha1"), "kind": kind,
            "metadata": {"name": "malformed", "labels": {"role": "cp"}}, "spec": spec});
        eventually("the malformed object is accepted", async || {
            let object = serde_json::from_value(object.clone()).unwrap();
            objects.create(&PostParams::default(), &object).await.ok()
        })
        .await;
        definitions
            .patch(&name, &parameters, &replace(&original))
            .await
            .unwrap();
    }
    let _operator = lab.operator().await;
    let selector = json!({"machineSelector": {"matchLabels": {"role": "cp"}}, "count": 1});
    lab.create("solo", json!({"controlPlane": selector})).await;
    lab.condition("solo", kind::READY, "True").await;
    let events: Api<k8s_openapi::api::core::v1::Event> = lab.api();
    eventually("the malformed cluster is reported on itself", async || {
        let events = events.list(&ListParams::default()).await.unwrap();
        events.iter().find(|event| {
            event.reason.as_deref() == Some("InvalidSpec")
                && event.involved_object.name.as_deref() == Some("malformed")
        })?;
        Some(())
    })
    .await;
}
