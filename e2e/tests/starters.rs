//! The guard of a host, started in each of the ways that hosts allow: it survives the session
//! that started it.

use anyhow::{Result, ensure};
use nico_e2e::{OneHost, eventually, skipped, skipped_without};
use serde_json::json;

/// What a configuration does that cuts its host off.
const CUT_OFF: &str = "ip link set eth0 down";

/// What a host with systemd needs.
const SYSTEMD: &[(&str, &str)] = &[("systemctl", "systemd")];

/// A `systemd-run` that cannot reach its service manager.
const BROKEN_SYSTEMD_RUN: &str = r#"#!/bin/sh
echo "systemd-run" >>/var/starters
echo "Failed to connect to bus" >&2
exit 1
"#;

const NOHUP: &str = r#"#!/bin/sh
echo nohup >>/var/starters
exec /usr/bin/nohup "$@"
"#;

/// Applies a system, lets another one cut the host off while nobody is there to confirm it, and
/// looks at that.
async fn heals_by_itself(one: &mut OneHost) -> Result<()> {
    let first = one.push("first", "")?;
    one.configure(json!({"activation": {"confirmTimeout": "5s"}}))
        .await?;
    one.applied(&first).await?;
    one.no_guard_is_left().await?;
    one.push("bad", CUT_OFF)?;
    one.until("grep -q 'test bad' /var/log/switches").await?;
    one.lab.stack.kill_operator();
    eventually("the host is back on the first system", async || {
        Ok((one.running()? == "first").then_some(()))
    })
    .await?;
    one.until("ip link show eth0 | grep -q LOWER_UP").await?;
    one.lab.restart_operator()?;
    let message = one.reason("RolledBack").await?;
    ensure!(message.contains("nobody confirmed it"), "{message}");
    let good = one.push("good", "")?;
    one.applied(&good).await?;
    one.no_guard_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn under_systemd_the_guard_is_a_unit_of_its_own() -> Result<()> {
    if skipped_without(SYSTEMD) {
        return Ok(());
    }
    let mut one = OneHost::start(&[]).await?;
    one.with_systemd()?;
    heals_by_itself(&mut one).await?;
    let journal = one.on_host("journalctl --unit=nio-activation --output=cat")?;
    let started = journal
        .lines()
        .filter(|line| line.starts_with("Started ") && line.contains("Activation of a NixOS"));
    ensure!(started.count() >= 3, "{journal}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_that_ends_all_sessions_is_confirmed_in_a_new_one() -> Result<()> {
    if skipped_without(SYSTEMD) {
        return Ok(());
    }
    let mut one = OneHost::start(&[]).await?;
    one.with_systemd()?;
    // The unit has no KillMode: with the SSH server ends all that was started in a session.
    let server = "systemctl show --property=MainPID --value sshd";
    let before = one.on_host(server)?;
    let first = one.push("first", "systemctl restart sshd")?;
    one.configure(json!({})).await?;
    one.applied(&first).await?;
    one.no_guard_is_left().await?;
    ensure!(
        one.on_host(server)? != before,
        "the server was not restarted"
    );
    ensure!(one.switches()? == ["test first", "boot first"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_reboots_into_a_new_kernel() -> Result<()> {
    if skipped_without(SYSTEMD) {
        return Ok(());
    }
    let mut one = OneHost::start(&[]).await?;
    one.with_systemd()?;
    let first = one.push("first", "")?;
    one.configure(json!({"activation": {"reboot": "IfNeeded"}}))
        .await?;
    one.applied(&first).await?;
    one.power_cycle()?;
    one.write("kernel", "second")?;
    let second = one.push("second", "")?;
    one.rebooted().await?;
    let web = one.applied(&second).await?;
    ensure!(web.status.and_then(|it| it.reboot_required) == Some(false));
    let booted = one.on_host("cat /run/booted-system/content")?;
    ensure!(booted == "second", "{booted}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_systemd_that_starts_nothing_is_done_without() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let mut one = OneHost::start(&[]).await?;
    one.with_programs()?;
    one.program("systemd-run", BROKEN_SYSTEMD_RUN)?;
    one.on_host("mkdir -p /run/systemd/system")?;
    heals_by_itself(&mut one).await?;
    let starters = one.on_host("cat /var/starters")?;
    ensure!(starters.contains("systemd-run"), "{starters}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_systemd_and_setsid_keeps_the_guard_by_nohup() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let mut one = OneHost::start(&[]).await?;
    one.with_programs()?;
    one.program("nohup", NOHUP)?;
    // What is no regular file is no program.
    one.on_host("mount --bind /dev/null /usr/bin/setsid && ! command -v setsid")?;
    heals_by_itself(&mut one).await?;
    let starters = one.on_host("cat /var/starters")?;
    ensure!(starters.lines().all(|line| line == "nohup"), "{starters}");
    ensure!(starters.lines().count() >= 3, "{starters}");
    Ok(())
}
