//! Files that are delivered to a real host, and are in no Nix store.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::process::Command;

use nico_api::nixos_configuration::conditions::READY;
use serde_json::{Value, json};
use support::lab::Lab;
use support::{eventually, gone, message};

const TOKEN: &str = "host-token-0123456789";

/// Notes what is under `/var/lib/nio/files/deep` when the system is activated.
const SWITCH: &str = r#"#!/bin/sh
system=$(readlink -f "$0")
system=${system%/bin/switch-to-configuration}
echo "$1 $(cat /var/lib/nio/files/deep/token 2>&1)" >>/var/log/switches
ln -sfn "$system" /run/current-system
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
    // Root creates the user; the next attempt is content with it.
    lab.on_host("echo nosuchuser:x:4711:4711::/:/bin/false >>/etc/passwd");
    cluster.reason("web", "Applied").await;
    assert_eq!(
        lab.on_host("stat -Lc '%u %a' /var/lib/nio/files/token"),
        "4711 400"
    );
}
