//! Real SSH servers that are set up in ways that people set them up: what is accepted, how many
//! connections, and a whole apply through each.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::process::Command;

use serde_json::json;
use support::lab::Lab;
use support::{Cluster, gone};

const PASSWORD: &str = "correct horse";

/// SHA-512 crypt of [`PASSWORD`].
const HASH: &str = "$6$nicotest$gknt27zUiauSUJeDPV/XnAo2klzObXXKRoQhyqvLmqNxmCB7LRRONB9bu1wWxi5zBcDDmIBxzte7Mb4hEXXBn/";

/// PAM that asks for the password of the shadow file, and for nothing else.
const PAM: &str = "auth required pam_unix.so\naccount required pam_permit.so\n\
                   session required pam_permit.so\n";

/// A host whose `sshd_config` begins with these lines, which win over the usual ones.
async fn start(options: &str) -> Option<Lab> {
    let lab = Lab::start_with(|disk| {
        let etc = disk.join("etc");
        let config = etc.join("ssh/sshd_config");
        let usual = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, format!("{options}\n{usual}")).unwrap();
        std::fs::create_dir_all(etc.join("pam.d")).unwrap();
        std::fs::write(etc.join("pam.d/sshd"), PAM).unwrap();
        let shadow = std::fs::read_to_string(etc.join("shadow")).unwrap();
        let shadow = shadow.replace("root:*:", &format!("root:{HASH}:"));
        std::fs::write(etc.join("shadow"), shadow).unwrap();
    });
    let lab = lab.await?;
    lab.cluster.secret("password", "password", PASSWORD).await;
    Some(lab)
}

/// A Machine at the address of the host.
async fn machine(lab: &Lab, name: &str, credentials: serde_json::Value) {
    let mut spec = json!({"ipAddress": lab.sandbox.network().address(11).to_string()});
    let spec_fields = spec.as_object_mut().unwrap();
    spec_fields.extend(credentials.as_object().unwrap().clone());
    lab.cluster
        .apply(json!({
            "apiVersion": "nio.homystack.com/v1alpha1", "kind": "Machine",
            "metadata": {"name": name}, "spec": spec,
        }))
        .await;
}

/// Applies a configuration and takes it off again.
async fn applies(cluster: &Cluster) {
    let files = json!({"additionalFiles": [
        {"path": "token", "valueType": "Inline", "inline": "x"},
    ]});
    cluster.configuration("web", "m", files).await;
    cluster.reason("web", "Applied").await;
    cluster.delete("web").await;
    gone(&cluster.configurations(), "web").await;
}

fn password() -> serde_json::Value {
    json!({"sshPasswordSecretRef": {"name": "password"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_a_password_only_is_configured_like_any_other() {
    let options = "PubkeyAuthentication no\nPasswordAuthentication yes\nPermitRootLogin yes\n\
                   MaxSessions 1";
    let Some(lab) = start(options).await else {
        return;
    };
    let _operator = lab.cluster.operator();
    machine(&lab, "m", password()).await;
    lab.cluster.reachable("m", "Connected").await;
    applies(&lab.cluster).await;
    // With a key that is not accepted beside it, it is the password that counts.
    let both = json!({
        "sshPasswordSecretRef": {"name": "password"}, "sshKeySecretRef": {"name": "machine-key"},
    });
    machine(&lab, "m", both).await;
    applies(&lab.cluster).await;

    machine(
        &lab,
        "wrong",
        json!({"sshPasswordSecretRef": {"name": "machine-key", "key": "ssh-privatekey"}}),
    )
    .await;
    let refused = lab.cluster.reachable("wrong", "AuthenticationFailed").await;
    let said = refused.message;
    assert!(said.contains("the password"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_asked_for_interactively_opens_the_machine_too() {
    let options = "PubkeyAuthentication no\nPasswordAuthentication no\n\
                   KbdInteractiveAuthentication yes\nUsePAM yes\nPermitRootLogin yes";
    let Some(lab) = start(options).await else {
        return;
    };
    let _operator = lab.cluster.operator();
    machine(&lab, "m", password()).await;
    lab.cluster.reachable("m", "Connected").await;
    applies(&lab.cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_at_a_time_and_one_session_in_each_are_enough() {
    let Some(lab) = start("MaxStartups 1\nMaxSessions 1").await else {
        return;
    };
    let _operator = lab.cluster.operator();
    machine(
        &lab,
        "m",
        json!({"sshKeySecretRef": {"name": "machine-key"}}),
    )
    .await;
    lab.cluster.reachable("m", "Connected").await;
    applies(&lab.cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_usual_kind_of_key_is_accepted_and_one_with_a_passphrase_is_explained() {
    let Some(lab) = start("").await else {
        return;
    };
    let _operator = lab.cluster.operator();
    let directory = tempfile::TempDir::new().unwrap();
    let authorized = lab.sandbox.hosts()[0]
        .disk()
        .join("etc/ssh/authorized_keys");
    let kinds: [(&str, &[&str]); 7] = [
        ("ed25519", &["-t", "ed25519"]),
        ("ecdsa", &["-t", "ecdsa"]),
        ("ecdsa-384-pem", &["-t", "ecdsa", "-b", "384", "-m", "PEM"]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
        ("rsa-pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
        ("rsa-pkcs8", &["-t", "rsa", "-b", "2048", "-m", "PKCS8"]),
        ("passphrase", &["-t", "ed25519", "-N", "secret words"]),
    ];
    for (name, arguments) in kinds {
        let file = directory.path().join(name);
        let mut generate = Command::new("ssh-keygen");
        generate.arg("-q").arg("-f").arg(&file).args(arguments);
        if !arguments.contains(&"-N") {
            generate.args(["-N", ""]);
        }
        assert!(generate.status().unwrap().success(), "{name}");
        let public = std::fs::read_to_string(file.with_extension("pub")).unwrap();
        let known = std::fs::read_to_string(&authorized).unwrap();
        std::fs::write(&authorized, format!("{known}{public}")).unwrap();
        let key = std::fs::read_to_string(&file).unwrap();
        let secret = format!("key-{name}");
        lab.cluster.secret(&secret, "ssh-privatekey", &key).await;
        machine(&lab, name, json!({"sshKeySecretRef": {"name": secret}})).await;
    }
    for (name, _) in &kinds[..6] {
        lab.cluster.reachable(name, "Connected").await;
    }
    let refused = lab
        .cluster
        .reachable("passphrase", "InvalidCredentials")
        .await;
    let said = refused.message;
    assert!(said.contains("ssh-keygen -p"), "{said}");
    assert!(!said.contains("secret words"), "{said}");
}
