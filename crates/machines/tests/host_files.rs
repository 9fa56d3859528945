//! Files that are delivered to a real host, and are in no Nix store.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use nico_api::nixos_configuration::Outcome;
use nico_api::nixos_configuration::conditions::{READY, STALLED};
use nico_api::{NixosConfiguration, condition};
use serde_json::{Value, json};
use support::lab::Lab;
use support::{eventually, gone, message};

const TOKEN: &str = "host-token-0123456789";

/// Notes what is under `/var/lib/nio/files/deep` when the system is activated, and fails or
/// waits when that says so.
const SWITCH: &str = r#"#!/bin/sh
system=$(readlink -f "$0")
system=${system%/bin/switch-to-configuration}
token=$(cat /var/lib/nio/files/deep/token 2>&1)
echo "$1 $token" >>/var/log/switches
[ "$1" != boot ] || exit 0
ln -sfn "$system" /run/current-system
[ "$token" != bad ] || { echo 'the token is refused'; exit 4; }
while [ "$token" = slow ] && [ -e /var/hold ]; do sleep 0.05; done
"#;

fn file(path: &str, change: &Value) -> Value {
    let mut file = json!({
        "path": path, "valueType": "SecretRef", "deliver": "Host",
        "secretRef": {"name": "join", "key": "token"},
    });
    for (field, value) in change.as_object().unwrap() {
        file[field] = value.clone();
    }
    file
}

/// The files below a directory that hold the token.
fn holders(directory: &Path) -> String {
    let found = Command::new("grep")
        .args(["-rlF", TOKEN])
        .arg(directory)
        .output()
        .unwrap();
    String::from_utf8(found.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_file_is_there_before_the_activation_follows_its_secret_and_goes_with_the_object() {
    let Some(lab) = Lab::start().await else {
        return;
    };
    let cluster = &lab.cluster;
    cluster.repository.write("switch", SWITCH);
    cluster.repository.commit();
    cluster.secret("join", "token", TOKEN).await;
    let _operator = cluster.operator();
    let owned = json!({"owner": "nobody:nogroup", "mode": "0640"});
    let files = json!({"additionalFiles": [
        file("deep/token", &json!({})), file("owned", &owned),
    ]});
    cluster.configuration("web", "m", files).await;
    let status = cluster.reason("web", "Applied").await.status.unwrap();
    assert_eq!(status.host_files, ["deep/token", "owned"]);
    assert_eq!(
        lab.on_host("grep -v boot /var/log/switches"),
        format!("test {TOKEN}")
    );
    let described = "cd /var/lib/nio/files/ && stat -c '%n %a %U:%G' . deep deep/token owned";
    assert_eq!(
        lab.on_host(described),
        ". 711 root:root\ndeep 711 root:root\ndeep/token 400 root:root\nowned 640 nobody:nogroup"
    );
    assert_eq!(lab.on_host("grep -rlF host-token /nix"), "");
    assert_eq!(holders(cluster.base_path()), "");

    // Another content alone is activated again, though the system is the same.
    cluster.secret("join", "token", "another").await;
    let api = cluster.configurations();
    let changed = eventually(&api, "web", |it| {
        let now = it.status.as_ref().unwrap();
        now.additional_files_hash != status.additional_files_hash
    })
    .await;
    let both = format!("test {TOKEN}\ntest another");
    assert_eq!(lab.on_host("grep -v boot /var/log/switches"), both);
    assert_eq!(changed.status.unwrap().system_path, status.system_path);
    assert_eq!(lab.on_host("ls /var/lib/nio/sets | wc -l"), "1");

    // A file that is not wanted any more is gone.
    let fewer = json!({"additionalFiles": [file("deep/token", &json!({}))]});
    cluster.configuration("web", "m", fewer).await;
    eventually(&api, "web", |it| {
        it.status.as_ref().unwrap().host_files == ["deep/token"]
    })
    .await;
    let listed = "cd /var/lib/nio/files/ && find . -type f";
    assert_eq!(lab.on_host(listed), "./deep/token");

    cluster.delete("web").await;
    gone(&api, "web").await;
    assert_eq!(lab.on_host("find /var/lib/nio -type f -o -type l"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_flake_for_removal_the_files_are_removed_as_soon_as_the_host_answers() {
    let Some(mut lab) = Lab::start().await else {
        return;
    };
    lab.cluster.secret("join", "token", TOKEN).await;
    let _operator = lab.cluster.operator();
    let spec = json!({
        "onRemoveFlake": null,
        "additionalFiles": [file("token", &json!({}))],
    });
    lab.cluster.configuration("web", "m", spec).await;
    lab.cluster.reason("web", "Applied").await;
    assert_eq!(lab.on_host("cat /var/lib/nio/files/token"), TOKEN);
    tokio::task::block_in_place(|| lab.sandbox.host_mut("m").unwrap().power_off());
    lab.cluster.delete("web").await;
    let stuck = lab.cluster.reason("web", "MachineNotReachable").await;
    let said = message(&stuck, READY);
    assert!(said.contains("/var/lib/nio/files"), "{said}");
    tokio::task::block_in_place(|| lab.sandbox.host_mut("m").unwrap().power_on()).unwrap();
    gone(&lab.cluster.configurations(), "web").await;
    assert_eq!(lab.on_host("find /var/lib/nio -type f -o -type l"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_whom_nobody_creates_is_named_with_the_file() {
    let Some(lab) = Lab::start().await else {
        return;
    };
    let cluster = &lab.cluster;
    cluster.secret("join", "token", TOKEN).await;
    let _operator = cluster.operator();
    let files = json!({"additionalFiles": [file("token", &json!({"owner": "nosuchuser"}))]});
    cluster.configuration("web", "m", files).await;
    let failed = eventually(&cluster.configurations(), "web", |it| {
        let attempt = it.status.as_ref().and_then(|it| it.last_attempt.as_ref());
        attempt.is_some_and(|attempt| attempt.finished_at.is_some())
    })
    .await;
    let said = message(&failed, READY);
    assert!(said.contains("nosuchuser"), "{said}");
    // What was activated is not activated again for that.
    lab.until("[ $(grep -c . /var/log/switches) -ge 2 ]");
    assert_eq!(lab.activations(), ["one"]);
    // Root creates the user; the next attempt is content with it.
    lab.on_host("echo nosuchuser:x:4711:4711::/:/bin/false >>/etc/passwd");
    cluster.reason("web", "Applied").await;
    assert_eq!(
        lab.on_host("stat -Lc '%u %a' /var/lib/nio/files/token"),
        "4711 400"
    );
    assert_eq!(lab.activations(), ["one"]);
}

/// A host that runs a system with the token `first`.
async fn with_first_token(activation: &Value) -> Option<Lab> {
    let lab = Lab::start().await?;
    let cluster = &lab.cluster;
    cluster.repository.write("switch", SWITCH);
    cluster.repository.commit();
    cluster.secret("join", "token", "first").await;
    let operator = cluster.operator();
    let files = json!({
        "activation": activation, "additionalFiles": [file("deep/token", &json!({}))],
    });
    cluster.configuration("web", "m", files).await;
    cluster.reason("web", "Applied").await;
    operator.shut_down().await;
    Some(lab)
}

const SHOWN: &str = "cat /var/lib/nio/files/deep/token; echo; ls /var/lib/nio/sets | wc -l";

#[tokio::test(flavor = "multi_thread")]
async fn files_whose_activation_fails_give_way_to_those_of_before() {
    let Some(lab) = with_first_token(&json!({})).await else {
        return;
    };
    let cluster = &lab.cluster;
    let _operator = cluster.operator();
    cluster.secret("join", "token", "bad").await;
    let failed = eventually(&cluster.configurations(), "web", |it| {
        condition::is_true(&it.status.as_ref().unwrap().conditions, STALLED)
    })
    .await;
    let attempt = failed.status.as_ref().unwrap().last_attempt.clone();
    assert_eq!(attempt.unwrap().outcome, Some(Outcome::RolledBack));
    let said = message(&failed, READY);
    assert!(said.contains("the token is refused"), "{said}");
    // The old system was activated again with the old files, and nothing is left of the new.
    assert_eq!(lab.on_host("tail -n 1 /var/log/switches"), "test first");
    lab.until("[ ! -e /var/lib/nio/activation ]");
    assert_eq!(lab.on_host(SHOWN), "first\n1");

    cluster.secret("join", "token", "good").await;
    cluster.reason("web", "Applied").await;
    assert_eq!(lab.on_host(SHOWN), "good\n1");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_nobody_confirms_give_way_to_those_of_before_without_an_operator() {
    let Some(lab) = with_first_token(&json!({"confirmTimeout": "3s"})).await else {
        return;
    };
    let cluster = &lab.cluster;
    lab.on_host("touch /var/hold");
    let operator = cluster.operator();
    cluster.secret("join", "token", "slow").await;
    lab.until("grep -q 'test slow' /var/log/switches");
    operator.kill().await;
    lab.on_host("rm /var/hold");
    lab.until("[ \"$(cat /var/lib/nio/files/deep/token)\" = first ]");
    lab.until("[ \"$(tail -n 1 /var/log/switches)\" = 'test first' ]");
    lab.until("[ ! -e /run/nio ]");
    assert_eq!(lab.on_host(SHOWN), "first\n1");

    // The next operator tells of it, and tries again.
    let _operator = cluster.operator();
    let told = |it: &NixosConfiguration| {
        let attempt = it.status.as_ref().unwrap().last_attempt.as_ref();
        attempt.is_some_and(|it| it.rollbacks == Some(1))
    };
    eventually(&cluster.configurations(), "web", told).await;
    lab.until("[ \"$(cat /var/lib/nio/files/deep/token)\" = slow ]");
    cluster.reason("web", "Applied").await;
    assert_eq!(lab.on_host(SHOWN), "slow\n1");
}

/// Waits when the files that are shown are given to their owners, which comes after their
/// activation was confirmed.
const CHOWN: &str = r#"#!/bin/sh
case $2 in
/var/lib/nio/files/*)
    touch /var/reached
    while [ -e /var/hold ]; do sleep 0.05; done
    ;;
esac
exec /usr/bin/chown "$@"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_files_alone_is_activated_once_though_its_success_was_not_recorded() {
    let Some(mut lab) = with_first_token(&json!({})).await else {
        return;
    };
    tokio::task::block_in_place(|| {
        let host = lab.sandbox.host_mut("m").unwrap();
        host.power_off();
        let disk = host.disk();
        let config = disk.join("etc/ssh/sshd_config");
        let text = std::fs::read_to_string(&config).unwrap();
        let text = text.replace("SetEnv PATH=", "SetEnv PATH=/var/programs:");
        std::fs::write(&config, text).unwrap();
        std::fs::create_dir(disk.join("var/programs")).unwrap();
        let chown = disk.join("var/programs/chown");
        std::fs::write(&chown, CHOWN).unwrap();
        std::fs::set_permissions(&chown, Permissions::from_mode(0o755)).unwrap();
        host.power_on().unwrap();
    });
    let cluster = &lab.cluster;
    lab.on_host("touch /var/hold");
    let operator = cluster.operator();
    cluster.secret("join", "token", "second").await;
    lab.until("[ -e /var/reached ]");
    operator.kill().await;
    lab.on_host("rm /var/hold");
    let _operator = cluster.operator();
    eventually(&cluster.configurations(), "web", |it| {
        let attempt = it.status.as_ref().unwrap().last_attempt.as_ref();
        attempt.is_some_and(|it| it.outcome == Some(Outcome::Succeeded))
    })
    .await;
    let times = "grep -c 'test second' /var/log/switches";
    assert_eq!(lab.on_host(times), "1");
    assert_eq!(lab.on_host(SHOWN), "second\n1");
}
