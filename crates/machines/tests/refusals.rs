//! What keeps a configuration from being applied is said on the object, and goes away by itself
//! once it is corrected. No host is needed for any of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::process::Command;

use nico_api::condition;
use nico_api::nixos_configuration::conditions::{READY, SOURCE_READY, STALLED};
use nico_git::test_server::GitServer;
use serde_json::json;
use support::{Cluster, eventually, git_is_missing, gone, message};

#[tokio::test]
async fn a_machine_that_does_not_exist_is_waited_for() {
    if git_is_missing() {
        return;
    }
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    cluster.configuration("web", "m", json!({})).await;
    let configuration = cluster.reason("web", "MachineNotFound").await;
    assert!(message(&configuration, READY).contains("Machine m"));
    cluster.machine("m", "192.0.2.1").await;
    eventually(&cluster.configurations(), "web", |configuration| {
        let status = configuration.status.as_ref().unwrap();
        status.last_attempt.is_some()
    })
    .await;
    operator.kill().await;
}

#[tokio::test]
async fn a_missing_secret_is_named_and_nothing_is_applied_before_it_is_there() {
    let Some((cluster, _operator)) = Cluster::with_unreachable_machine().await else {
        return;
    };
    let file = json!({
        "path": "token", "valueType": "SecretRef",
        "secretRef": {"name": "join", "key": "token"},
    });
    cluster
        .configuration("web", "m", json!({"additionalFiles": [file]}))
        .await;
    let configuration = cluster.reason("web", "SecretNotFound").await;
    assert!(message(&configuration, SOURCE_READY).contains("Secret default/join"));
    assert_eq!(configuration.status.unwrap().last_attempt, None);

    cluster.secret("join", "wrong", "x").await;
    let api = cluster.configurations();
    eventually(&api, "web", |it| message(it, READY).contains("\"wrong\"")).await;
    cluster.secret("join", "token", "right").await;
    eventually(&api, "web", |it| {
        it.status.as_ref().unwrap().last_attempt.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_repository_that_does_not_exist_is_tried_again_until_it_does() {
    let Some((cluster, _operator)) = Cluster::with_unreachable_machine().await else {
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let url = format!("file://{}/late", place.path().display());
    cluster
        .configuration("web", "m", json!({"gitRepo": url}))
        .await;
    let configuration = cluster.reason("web", "RepositoryNotFound").await;
    assert!(message(&configuration, READY).contains("/late"));
    let conditions = &configuration.status.as_ref().unwrap().conditions;
    assert!(!condition::is_true(conditions, STALLED));

    let clone = Command::new("git")
        .args(["clone", "--quiet", "--bare", &cluster.repository.url()])
        .arg(place.path().join("late"))
        .status()
        .unwrap();
    assert!(clone.success());
    eventually(&cluster.configurations(), "web", |it| {
        it.status.as_ref().unwrap().last_attempt.is_some()
    })
    .await;
}

#[tokio::test]
async fn the_second_configuration_of_a_machine_is_told_who_has_it() {
    if git_is_missing() {
        return;
    }
    let cluster = Cluster::start().await;
    let _operator = cluster.operator();
    cluster.configuration("one", "m", json!({})).await;
    cluster.configuration("two", "m", json!({})).await;
    cluster.reason("one", "MachineNotFound").await;
    cluster.reason("two", "MachineNotFound").await;
    cluster.machine("m", "192.0.2.1").await;
    let machine = eventually(&cluster.machines(), "m", |machine| {
        let status = machine.status.as_ref();
        status.is_some_and(|status| status.applied_configuration.is_some())
    })
    .await;
    let winner = machine.status.unwrap().applied_configuration.unwrap();
    let loser = if winner == "one" { "two" } else { "one" };
    let refused = cluster.reason(loser, "MachineInUse").await;
    assert!(message(&refused, READY).contains(&winner));

    cluster.delete(&winner).await;
    gone(&cluster.configurations(), &winner).await;
    eventually(&cluster.machines(), "m", |machine| {
        let status = machine.status.as_ref().unwrap();
        status.applied_configuration.as_deref() == Some(loser)
    })
    .await;
}

#[tokio::test]
async fn what_this_version_does_not_do_is_refused_until_the_spec_changes() {
    let Some((cluster, _operator)) = Cluster::with_unreachable_machine().await else {
        return;
    };
    let elsewhere = json!({"flake": "path:/etc/nixos#web"});
    cluster.configuration("web", "m", elsewhere).await;
    let refused = cluster.reason("web", "NotSupported").await;
    let conditions = &refused.status.as_ref().unwrap().conditions;
    assert!(condition::is_true(conditions, STALLED));
    assert_eq!(refused.status.unwrap().last_attempt, None);
    cluster.configuration("web", "m", json!({})).await;
    eventually(&cluster.configurations(), "web", |it| {
        it.status.as_ref().unwrap().last_attempt.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_configuration_whose_machine_is_gone_can_be_deleted() {
    if git_is_missing() {
        return;
    }
    let cluster = Cluster::start().await;
    let _operator = cluster.operator();
    cluster.configuration("web", "m", json!({})).await;
    cluster.reason("web", "MachineNotFound").await;
    cluster.delete("web").await;
    gone(&cluster.configurations(), "web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_and_the_right_one_is_taken_at_once() {
    let Some((cluster, _operator)) = Cluster::with_unreachable_machine().await else {
        return;
    };
    let login = Some(("me", "right-password"));
    let server = GitServer::start(cluster.repository.path(), login)
        .await
        .unwrap();
    let secret = async |password: &str| {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "git"},
            "stringData": {"username": "me", "password": password},
        });
        cluster.apply(secret).await;
    };
    secret("wrong-password").await;
    let private = json!({"gitRepo": server.url(".git"), "credentialsRef": {"name": "git"}});
    cluster.configuration("web", "m", private).await;
    let refused = cluster.reason("web", "GitAuthenticationFailed").await;
    let said = message(&refused, READY);
    assert!(said.contains("credentialsRef"), "{said}");
    secret("right-password").await;
    eventually(&cluster.configurations(), "web", |it| {
        condition::is_true(&it.status.as_ref().unwrap().conditions, SOURCE_READY)
    })
    .await;
}
