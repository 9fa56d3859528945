//! Machines that cannot be reached, each for a reason of its own.

use anyhow::{Result, ensure};
use nico_api::machine::conditions;
use nico_e2e::{Lab, condition, skipped};
use serde_json::json;

/// More machines than the five of the demo would show nothing more.
const HOSTS: &[(&str, u8)] = &[("good", 11), ("stranger", 12), ("slow", 13), ("off", 14)];

#[tokio::test(flavor = "multi_thread")]
async fn every_unreachable_machine_is_reported_for_what_it_is_and_slows_no_other() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let mut lab = Lab::start(HOSTS, &[("NIO_MACHINE_DISCOVERY_INTERVAL", "5")]).await?;
    lab.run(async |lab| {
        lab.create_key().await?;
        let other_key = other_key()?;
        lab.create_secret("other-key", "ssh-privatekey", &other_key)
            .await?;
        lab.create_secret("empty-key", "something-else", "x")
            .await?;
        let sandbox = lab.stack.sandbox_mut();
        let network = sandbox.network().clone();
        if let Some(slow) = sandbox.host("slow") {
            slow.pause_ssh()?;
        }
        if let Some(off) = sandbox.host_mut("off") {
            off.power_off();
        }
        // The bad ones come first: the good one must not wait for any of them.
        let machines = [
            ("slow", network.address(13).to_string(), "machine-key"),
            ("nowhere", network.address(99).to_string(), "machine-key"),
            ("stranger", network.address(12).to_string(), "other-key"),
            ("off", network.address(14).to_string(), "machine-key"),
            ("keyless", network.address(11).to_string(), "empty-key"),
            ("nameless", "no-such-host.invalid".to_owned(), "machine-key"),
            ("good", network.address(11).to_string(), "machine-key"),
        ];
        for (name, address, secret) in &machines {
            lab.apply(&machine(name, address, secret)).await?;
        }

        let good = condition(&lab.machines(), "good", conditions::REACHABLE, "True").await?;
        for (name, reasons) in [
            ("stranger", &["AuthenticationFailed"][..]),
            ("off", &["ConnectionRefused"]),
            ("keyless", &["MissingCredentials"]),
            ("nameless", &["DnsFailure"]),
            ("nowhere", &["Unreachable", "TimedOut"]),
            ("slow", &["TimedOut"]),
        ] {
            let reachable =
                condition(&lab.machines(), name, conditions::REACHABLE, "False").await?;
            ensure!(
                reasons.contains(&reachable.reason.as_str()),
                "{name}: {reachable:?}"
            );
            ensure!(!reachable.message.is_empty(), "{name}");
            let described = lab.kubectl(&["describe", "machine", name]).await?;
            ensure!(described.contains(&reachable.reason), "{described}");
            if name == "slow" {
                ensure!(
                    good.last_transition_time.0 <= reachable.last_transition_time.0,
                    "the good machine was found only after the slow one was given up"
                );
            }
        }

        // Each heals by itself once its cause is gone.
        let sandbox = lab.stack.sandbox_mut();
        if let Some(slow) = sandbox.host("slow") {
            slow.resume_ssh()?;
        }
        tokio::task::block_in_place(|| {
            sandbox
                .host_mut("off")
                .map(nico_sandbox::host::Host::power_on)
        })
        .transpose()?;
        let key = lab.stack.sandbox().private_key()?;
        lab.create_secret("empty-key", "ssh-privatekey", &key)
            .await?;
        lab.create_secret("other-key", "ssh-privatekey", &key)
            .await?;
        for name in ["slow", "off", "keyless", "stranger"] {
            condition(&lab.machines(), name, conditions::REACHABLE, "True").await?;
        }
        Ok(())
    })
    .await
}

fn machine(name: &str, address: &str, secret: &str) -> String {
    let field = if address.ends_with(".invalid") {
        "hostname"
    } else {
        "ipAddress"
    };
    json!({
        "apiVersion": "nio.homystack.com/v1alpha1", "kind": "Machine",
        "metadata": {"name": name},
        "spec": {field: address, "sshKeySecretRef": {"name": secret}},
    })
    .to_string()
}

/// A key that no host knows.
fn other_key() -> Result<String> {
    let directory = std::env::temp_dir().join(format!("nico-e2e-key-{}", std::process::id()));
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&directory)
        .status()?;
    ensure!(made.success(), "ssh-keygen ended with {made}");
    let key = std::fs::read_to_string(&directory)?;
    std::fs::remove_file(&directory)?;
    std::fs::remove_file(directory.with_extension("pub"))?;
    Ok(key)
}
