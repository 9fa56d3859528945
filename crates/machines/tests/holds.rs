//! A configuration that is held: prepared on a real host, which stays as it is until the hold
//! ends.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use nico_api::NixosConfiguration;
use nico_api::condition;
use nico_api::nixos_configuration::conditions::{COPIED, READY};
use serde_json::{Value, json};
use support::eventually;
use support::lab::Lab;

const TOKEN: &str = "k3s-token-0123456789";

/// The output `web` with its additional file, held or not.
fn web(hold: bool) -> Value {
    json!({"hold": hold, "additionalFiles": [{
        "path": "token", "valueType": "SecretRef",
        "secretRef": {"name": "join", "key": "token"},
    }]})
}

/// Waits until the configuration says that this commit waits on its host.
async fn staged(lab: &Lab, commit: &str) -> NixosConfiguration {
    let configurations = lab.cluster.configurations();
    eventually(&configurations, "web", |configuration| {
        let status = configuration.status.as_ref();
        status.is_some_and(|status| {
            let ready = condition::find(&status.conditions, READY);
            let staged = status.staged.as_ref();
            staged.is_some_and(|staged| staged.commit == commit)
                && ready.is_some_and(|ready| ready.reason == "Staged" && ready.status == "False")
                && status.observed_generation == configuration.metadata.generation
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_waits_on_the_host_and_is_activated_when_it_is_released() {
    let Some(lab) = Lab::start().await else {
        return;
    };
    let cluster = &lab.cluster;
    let operator = cluster.operator();
    cluster.secret("join", "token", TOKEN).await;
    cluster.configuration("web", "m", web(false)).await;
    let first = cluster.reason("web", "Applied").await.status.unwrap();
    let running = first.system_path.clone().unwrap();
    let one = [format!("one {TOKEN}")];
    assert_eq!(lab.activations(), one);

    // Held, and changed: the new system is copied, and the host runs what it ran.
    cluster.configuration("web", "m", web(true)).await;
    cluster.repository.write("hosts/content", "two ");
    let second = cluster.repository.commit();
    let held = staged(&lab, &second).await.status.unwrap();
    let waiting = held.staged.clone().unwrap().system_path;
    assert_ne!(waiting, running);
    assert_eq!(
        lab.on_host(&format!("cat {waiting}/content")),
        format!("two {TOKEN}")
    );
    assert_eq!(lab.on_host("readlink -f /run/current-system"), running);
    assert_eq!(lab.activations(), one);
    assert!(condition::is_true(&held.conditions, COPIED));
    assert_eq!(held.applied_commit, first.applied_commit);
    assert_eq!(held.system_path, first.system_path);
    let machine = cluster.machines().get("m").await.unwrap();
    assert_eq!(machine.status.unwrap().applied_commit, first.applied_commit);

    // Another process goes on with it, and another change takes the place of what waits.
    operator.kill().await;
    let _operator = cluster.operator();
    cluster.repository.write("hosts/content", "three ");
    let third = cluster.repository.commit();
    staged(&lab, &third).await;
    assert_eq!(lab.on_host("readlink -f /run/current-system"), running);
    assert_eq!(lab.activations(), one);

    // Released: what waited runs, and what waited before it never did.
    cluster.configuration("web", "m", web(false)).await;
    let released = cluster.commit("web", &third).await.status.unwrap();
    assert_eq!(released.staged, None);
    assert_eq!(
        lab.on_host("readlink -f /run/current-system"),
        released.system_path.unwrap()
    );
    let both = [format!("one {TOKEN}"), format!("three {TOKEN}")];
    assert_eq!(lab.activations(), both);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_a_configuration_stays_so_while_its_first_one_is_held() {
    let Some(lab) = Lab::start().await else {
        return;
    };
    let cluster = &lab.cluster;
    let _operator = cluster.operator();
    cluster.secret("join", "token", TOKEN).await;
    cluster.configuration("web", "m", web(true)).await;
    let commit = cluster.repository.git(&["rev-parse", "HEAD"]);
    let held = staged(&lab, &commit).await.status.unwrap();
    assert_eq!(held.applied_commit, None);
    assert_eq!(lab.activations(), [""; 0]);

    cluster.configuration("web", "m", web(false)).await;
    cluster.commit("web", &commit).await;
    assert_eq!(lab.activations(), [format!("one {TOKEN}")]);
}
