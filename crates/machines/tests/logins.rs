//! Real SSH servers that are set up in ways that people set them up: what is accepted, how many
//! connections, and a whole apply through each.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::process::Command;

use nico_api::machine::conditions::REACHABLE;
use nico_api::{Machine, condition};
use nico_sandbox::{Sandbox, tools};
use serde_json::json;
use support::{Cluster, eventually};
use tokio::task::block_in_place;

const PASSWORD: &str = "correct horse";

/// SHA-512 crypt of [`PASSWORD`].
const HASH: &str = "$6$nicotest$gknt27zUiauSUJeDPV/XnAo2klzObXXKRoQhyqvLmqNxmCB7LRRONB9bu1wWxi5zBcDDmIBxzte7Mb4hEXXBn/";

/// PAM that asks for the password of the shadow file, and for nothing else.
const PAM: &str = "auth required pam_unix.so\naccount required pam_permit.so\n\
                   session required pam_permit.so\n";

struct Lab {
    cluster: Cluster,
    sandbox: Sandbox,
}

impl Lab {
    /// A host whose `sshd_config` begins with these lines, which win over the usual ones.
    async fn start(options: &str) -> Option<Self> {
        if let Err(missing) = tools::check(&[]) {
            tools::skip(&missing.to_string());
            return None;
        }
        let sandbox = block_in_place(|| {
            let mut sandbox = Sandbox::create(Path::new("/bin/true")).unwrap();
            sandbox.add_hosts(&[("m", 11)]).unwrap();
            let host = sandbox.host_mut("m").unwrap();
            host.power_off();
            let etc = host.disk().join("etc");
            let config = etc.join("ssh/sshd_config");
            let usual = std::fs::read_to_string(&config).unwrap();
            std::fs::write(&config, format!("{options}\n{usual}")).unwrap();
            std::fs::create_dir_all(etc.join("pam.d")).unwrap();
            std::fs::write(etc.join("pam.d/sshd"), PAM).unwrap();
            let shadow = std::fs::read_to_string(etc.join("shadow")).unwrap();
            let shadow = shadow.replace("root:*:", &format!("root:{HASH}:"));
            std::fs::write(etc.join("shadow"), shadow).unwrap();
            host.power_on().unwrap();
            sandbox
        });
        let cluster = Cluster::start().await;
        cluster.secret("password", "password", PASSWORD).await;
        let key = sandbox.private_key().unwrap();
        cluster.secret("machine-key", "ssh-privatekey", &key).await;
        Some(Self { cluster, sandbox })
    }

    async fn machine(&self, name: &str, credentials: serde_json::Value) {
        let mut spec = json!({"ipAddress": self.sandbox.network().address(11).to_string()});
        let spec_fields = spec.as_object_mut().unwrap();
        spec_fields.extend(credentials.as_object().unwrap().clone());
        self.cluster
            .apply(json!({
                "apiVersion": "nio.homystack.com/v1alpha1", "kind": "Machine",
                "metadata": {"name": name}, "spec": spec,
            }))
            .await;
    }

    async fn reachable(&self, name: &str, reason: &str) -> Machine {
        eventually(&self.cluster.machines(), name, |machine| {
            let status = machine.status.as_ref();
            let reachable =
                status.and_then(|status| condition::find(&status.conditions, REACHABLE));
            reachable.is_some_and(|reachable| reachable.reason == reason)
        })
        .await
    }

    /// Applies a configuration and takes it off again.
    async fn applies(&self) {
        let files = json!({"additionalFiles": [
            {"path": "token", "valueType": "Inline", "inline": "x"},
        ]});
        self.cluster.configuration("web", "m", files).await;
        self.cluster.reason("web", "Applied").await;
        self.cluster.delete("web").await;
        support::gone(&self.cluster.configurations(), "web").await;
    }
}

fn password() -> serde_json::Value {
    json!({"sshPasswordSecretRef": {"name": "password"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_a_password_only_is_configured_like_any_other() {
    let options = "PubkeyAuthentication no\nPasswordAuthentication yes\nPermitRootLogin yes\n\
                   MaxSessions 1";
    let Some(lab) = Lab::start(options).await else {
        return;
    };
    let _operator = lab.cluster.operator();
    lab.machine("m", password()).await;
    lab.reachable("m", "Connected").await;
    lab.applies().await;
    // With a key that is not accepted beside it, it is the password that counts.
    let both = json!({
        "sshPasswordSecretRef": {"name": "password"}, "sshKeySecretRef": {"name": "machine-key"},
    });
    lab.machine("m", both).await;
    lab.applies().await;

    lab.machine(
        "wrong",
        json!({"sshPasswordSecretRef": {"name": "machine-key", "key": "ssh-privatekey"}}),
    )
    .await;
    let refused = lab.reachable("wrong", "AuthenticationFailed").await;
    let said = serde_json::to_string(&refused.status).unwrap();
    assert!(said.contains("the password"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_asked_for_interactively_opens_the_machine_too() {
    let options = "PubkeyAuthentication no\nPasswordAuthentication no\n\
                   KbdInteractiveAuthentication yes\nUsePAM yes\nPermitRootLogin yes";
    let Some(lab) = Lab::start(options).await else {
        return;
    };
    let _operator = lab.cluster.operator();
    lab.machine("m", password()).await;
    lab.reachable("m", "Connected").await;
    lab.applies().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_at_a_time_and_one_session_in_each_are_enough() {
    let Some(lab) = Lab::start("MaxStartups 1\nMaxSessions 1").await else {
        return;
    };
    let _operator = lab.cluster.operator();
    lab.machine("m", json!({"sshKeySecretRef": {"name": "machine-key"}}))
        .await;
    lab.reachable("m", "Connected").await;
    lab.applies().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_usual_kind_of_key_is_accepted_and_one_with_a_passphrase_is_explained() {
    let Some(lab) = Lab::start("").await else {
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
        lab.machine(name, json!({"sshKeySecretRef": {"name": secret}}))
            .await;
    }
    for (name, _) in &kinds[..6] {
        lab.reachable(name, "Connected").await;
    }
    let refused = lab.reachable("passphrase", "InvalidCredentials").await;
    let said = serde_json::to_string(&refused.status).unwrap();
    assert!(said.contains("ssh-keygen -p"), "{said}");
    assert!(!said.contains("secret words"), "{said}");
}
