//! Hosts that something is wrong with, rather than with what is put on them. Each says what a
//! person has to do, and heals by itself once that was done.

use anyhow::{Result, ensure};
use nico_api::condition;
use nico_e2e::{OneHost, eventually, skipped};
use nico_sandbox::tools;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, HashAlg, PrivateKey};
use serde_json::json;

/// Waits for the reason, whose message has these words, and checks that it is not given up.
async fn trouble(one: &OneHost, reason: &str, words: &[&str]) -> Result<()> {
    let message = one.reason(reason).await?;
    for word in words {
        ensure!(message.contains(word), "{word:?} is not in: {message}");
    }
    let web = one.lab.configurations().get("web").await?;
    let status = web.status.unwrap_or_default();
    ensure!(
        !condition::is_true(&status.conditions, "Stalled"),
        "it gave up"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_named_and_waited_for() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let one = OneHost::start(&[]).await?;
    // The store of the host is on a disk of its own, which is full.
    one.on_host(
        "mount -t tmpfs -o size=16m tmpfs /nix && mkdir -p /nix/store /nix/var/nix/profiles && \
         dd if=/dev/zero of=/nix/filler bs=4k 2>/dev/null || true",
    )?;
    let first = one.push("first", "")?;
    one.configure(json!({})).await?;
    trouble(&one, "HostDiskFull", &["nix-collect-garbage"]).await?;
    one.on_host("rm /nix/filler")?;
    one.applied(&first).await?;

    // The disk with the record of the guard: without it nothing is changed.
    one.on_host(
        "mkdir -p /var/lib/nio && mount -t tmpfs -o size=4k tmpfs /var/lib/nio && \
         dd if=/dev/zero of=/var/lib/nio/filler bs=4k 2>/dev/null || true",
    )?;
    let second = one.push("second", "")?;
    trouble(&one, "HostDiskFull", &["nothing was changed", "df -h"]).await?;
    ensure!(one.running()? == "first");
    ensure!(!one.switches()?.contains(&"test second".to_owned()));
    one.on_host("umount /var/lib/nio")?;
    one.applied(&second).await?;
    one.no_guard_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_read_only_is_named_and_waited_for() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let one = OneHost::start(&[]).await?;
    let first = one.push("first", "")?;
    one.configure(json!({})).await?;
    one.applied(&first).await?;
    one.on_host("mount -o remount,bind,ro /nix")?;
    let second = one.push("second", "")?;
    trouble(&one, "HostReadOnly", &["findmnt"]).await?;
    ensure!(one.running()? == "first");
    one.on_host("mount -o remount,bind,rw /nix")?;
    one.applied(&second).await?;
    one.no_guard_is_left().await
}

const DATE: &str = r#"#!/bin/sh
if [ -e /var/turn ]; then rm /var/turn; when='last year'; else touch /var/turn; when='next year'; fi
exec /usr/bin/date -d "$when" "$@"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_by_a_year_holds_up_nothing() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let mut one = OneHost::start(&[]).await?;
    one.with_programs()?;
    // Whoever asks for the time gets that of a year ago, or of the next, by turns.
    one.program("date", DATE)?;
    let first = one.push("first", "date >/var/seen")?;
    one.configure(json!({"activation": {"confirmTimeout": "5s"}}))
        .await?;
    one.applied(&first).await?;
    let seen = one.on_host("cat /var/seen")?;
    let year = one.on_host("/usr/bin/date +%Y")?;
    ensure!(!seen.contains(&year), "the stand-in is not used: {seen}");
    // Going back takes as long as it should, too.
    one.push("bad", "ip link set eth0 down")?;
    one.until("grep -q 'test bad' /var/log/switches").await?;
    let started = std::time::Instant::now();
    eventually("the host is back on the first system", async || {
        Ok((one.running()? == "first").then_some(()))
    })
    .await?;
    let took = started.elapsed();
    ensure!(took.as_secs() >= 3 && took.as_secs() < 15, "{took:?}");
    let message = one.reason("RolledBack").await?;
    ensure!(message.contains("nobody confirmed it"), "{message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_another_key_is_told_nothing_until_somebody_names_that_key() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let mut one = OneHost::start(&[]).await?;
    let first = one.push("first", "")?;
    one.configure(json!({})).await?;
    one.applied(&first).await?;
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519)?;
    let file = one.host()?.disk().join("etc/ssh/ssh_host_ed25519_key");
    std::fs::write(&file, key.to_openssh(LineEnding::LF)?.as_str())?;
    one.power_cycle()?;
    let shown = key.public_key().fingerprint(HashAlg::Sha256).to_string();

    let second = one.push("second", "")?;
    let machines = one.lab.machines();
    let changed = nico_e2e::reason(&machines, "m", "Reachable", "HostKeyChanged").await?;
    ensure!(changed.message.contains(&shown), "{changed:?}");
    ensure!(changed.message.contains("reset-host-key"), "{changed:?}");
    trouble(&one, "MachineNotReachable", &[&shown, "is trusted"]).await?;
    ensure!(one.running()? == "first");
    ensure!(!one.switches()?.contains(&"test second".to_owned()));

    let reset = format!("nio.homystack.com/reset-host-key={shown}");
    one.lab
        .kubectl(&["annotate", "machine", "m", &reset])
        .await?;
    one.applied(&second).await?;
    let status = machines.get("m").await?.status.unwrap_or_default();
    ensure!(status.ssh_host_key_fingerprints == [shown], "{status:?}");
    Ok(())
}

/// Nothing is asked of the user `nico`.
const PAM: &str = "auth required pam_permit.so\naccount required pam_permit.so\n\
                   session required pam_permit.so\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_root_needs_sudo_and_is_enough_with_it() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    if let Err(missing) = tools::check(&[("sudo", "sudo")]) {
        tools::skip(&missing.to_string());
        return Ok(());
    }
    let one = OneHost::start(&[]).await?;
    one.on_host(
        "echo 'nico:x:1000:1000::/home/nico:/bin/sh' >>/etc/passwd && \
         echo 'nico:x:1000:' >>/etc/group && echo 'nico:*:19000:0:99999:7:::' >>/etc/shadow && \
         mkdir /home/nico && chown 1000:1000 /home/nico && \
         chmod 644 /etc/ssh/authorized_keys && chmod 755 /etc/ssh /var",
    )?;
    one.machine(json!({"sshUser": "nico"})).await?;
    let first = one.push("first", "id -u >/var/user")?;
    one.configure(json!({})).await?;
    trouble(&one, "RootRequired", &["sudo", "spec.sshUser"]).await?;
    ensure!(one.switches()?.is_empty());

    // A user who may use sudo with a password is not enough: nobody is there to type it.
    let etc = one.host()?.disk().join("etc");
    std::fs::create_dir_all(etc.join("pam.d"))?;
    std::fs::write(etc.join("pam.d/sudo"), PAM.replace("permit", "deny"))?;
    one.on_host("echo 'nico ALL=(ALL) ALL' >/etc/sudoers && chmod 440 /etc/sudoers")?;
    let refused = one.reason("RootRequired").await?;
    ensure!(refused.contains("sudo:"), "{refused}");
    ensure!(one.switches()?.is_empty());

    std::fs::write(etc.join("pam.d/sudo"), PAM)?;
    one.on_host("echo 'nico ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers")?;
    one.applied(&first).await?;
    ensure!(one.on_host("cat /var/user")? == "0");
    one.no_guard_is_left().await
}
