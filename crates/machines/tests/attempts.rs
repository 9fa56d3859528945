//! Attempts on a real host: a namespace with its own address, `sshd` and `/nix`, driven with the
//! real `git`, `nix` and SSH.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use nico_api::condition;
use nico_api::nixos_configuration::Step;
use nico_api::nixos_configuration::conditions::{EVALUATED, STALLED};
use serde_json::json;
use support::lab::Lab;
use support::{eventually, gone, message};

const TOKEN: &str = "k3s-token-0123456789";

/// The additional file `token`, from the Secret `join`.
fn token() -> serde_json::Value {
    json!({"additionalFiles": [{
        "path": "token", "valueType": "SecretRef",
        "secretRef": {"name": "join", "key": "token"},
    }]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_applied_followed_and_taken_off_again() {
    let Some(lab) = Lab::start().await else {
        return;
    };
    let cluster = &lab.cluster;
    let operator = cluster.operator();
    cluster.secret("join", "token", TOKEN).await;
    cluster.configuration("web", "m", token()).await;
    let ready = cluster.reason("web", "Applied").await;
    let status = ready.status.unwrap();
    assert_eq!(
        lab.on_host("readlink -f /run/current-system"),
        status.system_path.unwrap()
    );
    assert_eq!(status.generation, Some(1));
    assert_eq!(lab.activations(), [format!("one {TOKEN}")]);
    let machine = cluster.machines().get("m").await.unwrap();
    let on_machine = machine.status.unwrap();
    assert_eq!(on_machine.applied_configuration.as_deref(), Some("web"));
    assert_eq!(on_machine.applied_commit, status.applied_commit);

    // Nothing to do: another process looks, and leaves the host alone.
    operator.shut_down().await;
    let _operator = cluster.operator();
    cluster.repository.write("hosts/content", "two ");
    let second = cluster.repository.commit();
    cluster.commit("web", &second).await;
    let both = [format!("one {TOKEN}"), format!("two {TOKEN}")];
    assert_eq!(lab.activations(), both);

    cluster.secret("join", "token", "another").await;
    eventually(&cluster.configurations(), "web", |it| {
        let hash = |it: &nico_api::NixosConfiguration| {
            it.status.as_ref().unwrap().additional_files_hash.clone()
        };
        hash(it) != status.additional_files_hash
    })
    .await;
    assert_eq!(lab.activations().last().unwrap(), "two another");
    assert_eq!(cluster.attempts(), 0, "an attempt left its directory");

    cluster.delete("web").await;
    gone(&cluster.configurations(), "web").await;
    assert_eq!(lab.activations().last().unwrap(), "minimal");
    let machine = cluster.machines().get("m").await.unwrap();
    let on_machine = machine.status.unwrap();
    assert_eq!(on_machine.has_configuration, Some(false));
    assert_eq!(on_machine.applied_configuration, None);
    assert_eq!(on_machine.applied_commit, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_in_any_step_leaves_an_attempt_that_the_next_one_ends() {
    let Some(lab) = Lab::start().await else {
        return;
    };
    let cluster = &lab.cluster;
    cluster.configuration("web", "m", json!({})).await;
    let steps = [
        Step::Source,
        Step::Files,
        Step::Evaluate,
        Step::Build,
        Step::Copy,
        Step::Activate,
        Step::Confirm,
        Step::Record,
    ];
    for (number, step) in steps.into_iter().enumerate() {
        cluster
            .repository
            .write("hosts/content", &format!("{number} "));
        let commit = cluster.repository.commit();
        let operator = cluster.operator();
        eventually(&cluster.configurations(), "web", |it| {
            let attempt = it
                .status
                .as_ref()
                .and_then(|status| status.last_attempt.clone());
            attempt.is_some_and(|attempt| {
                attempt.commit.as_deref() == Some(&commit) && attempt.step >= Some(step)
            })
        })
        .await;
        operator.kill().await;
        let operator = cluster.operator();
        cluster.commit("web", &commit).await;
        operator.kill().await;
        let wanted = number.to_string();
        let activations = lab.activations();
        let times = activations.iter().filter(|line| **line == wanted).count();
        assert_eq!(times, 1, "killed in {step:?}: {activations:?}");
    }
    let _operator = cluster.operator();
    cluster.delete("web").await;
    gone(&cluster.configurations(), "web").await;
    assert_eq!(cluster.attempts(), 0, "an attempt left its directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_that_outlives_its_operator_is_waited_for_and_not_started_again() {
    let Some(lab) = Lab::start().await else {
        return;
    };
    let cluster = &lab.cluster;
    lab.on_host("touch /var/hold");
    let operator = cluster.operator();
    cluster.configuration("web", "m", json!({})).await;
    lab.until("[ -s /var/log/switches ]");
    operator.kill().await;
    let operator = cluster.operator();
    // The second process waits for what the first one began.
    lab.until("grep -qa 'confir[m]' /proc/[0-9]*/cmdline 2>/dev/null");
    lab.on_host("rm /var/hold");
    cluster.reason("web", "Applied").await;
    assert_eq!(lab.activations(), ["one"]);
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flake_that_does_not_evaluate_says_why_and_is_tried_again_when_it_is_corrected() {
    let Some(lab) = Lab::start().await else {
        return;
    };
    let cluster = &lab.cluster;
    let _operator = cluster.operator();
    cluster.secret("join", "token", TOKEN).await;
    let good = std::fs::read_to_string(
        cluster
            .repository
            .url()
            .trim_start_matches("file://")
            .to_owned()
            + "/hosts/flake.nix",
    )
    .unwrap();
    cluster.repository.write(
        "hosts/flake.nix",
        "{ outputs = _: throw \"the token is ${builtins.readFile ./token}\"; }",
    );
    cluster.repository.commit();
    cluster.configuration("web", "m", token()).await;
    let failed = cluster.reason("web", "EvaluationFailed").await;
    let said = message(&failed, EVALUATED);
    assert!(said.contains("the token is [redacted]"), "{said}");
    let status = failed.status.unwrap();
    assert!(condition::is_true(&status.conditions, STALLED));
    assert!(!serde_json::to_string(&status).unwrap().contains(TOKEN));

    cluster.repository.write("hosts/flake.nix", &good);
    let corrected = cluster.repository.commit();
    cluster.commit("web", &corrected).await;
    assert_eq!(lab.activations().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_off_is_waited_for_or_given_up_by_force() {
    let Some(mut lab) = Lab::start().await else {
        return;
    };
    let _operator = lab.cluster.operator();
    lab.cluster.configuration("web", "m", json!({})).await;
    lab.cluster.reason("web", "Applied").await;
    tokio::task::block_in_place(|| lab.sandbox.host_mut("m").unwrap().power_off());
    lab.cluster.delete("web").await;
    let stuck = lab.cluster.reason("web", "MachineNotReachable").await;
    let said = message(&stuck, "Ready");
    assert!(
        said.contains("nio.homystack.com/force-remove=true"),
        "{said}"
    );

    let annotation = "nio.homystack.com/force-remove";
    lab.cluster.annotate("web", annotation, "true").await;
    gone(&lab.cluster.configurations(), "web").await;
    let machine = lab.cluster.machines().get("m").await.unwrap();
    let conditions = &machine.status.as_ref().unwrap().conditions;
    assert!(
        condition::is_true(conditions, "NeedsCleanup"),
        "{conditions:?}"
    );
    assert!(!machine.has_configuration());

    // A configuration that succeeds has cleaned up.
    tokio::task::block_in_place(|| lab.sandbox.host_mut("m").unwrap().power_on()).unwrap();
    lab.cluster.configuration("next", "m", json!({})).await;
    lab.cluster.reason("next", "Applied").await;
    let machine = lab.cluster.machines().get("m").await.unwrap();
    let conditions = &machine.status.as_ref().unwrap().conditions;
    assert_eq!(condition::find(conditions, "NeedsCleanup"), None);
}
