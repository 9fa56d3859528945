//! The guard of a host, started in each of the ways that hosts allow: it survives the session
//! that started it.

use anyhow::{Result, ensure};
use nico_e2e::{OneHost, eventually, skipped};
use serde_json::json;

/// What a configuration does that cuts its host off.
const CUT_OFF: &str = "ip link set eth0 down";

/// A stand-in for a `systemd-run` that starts a transient unit: the service manager has it, and
/// no session.
const SYSTEMD_RUN: &str = r#"#!/bin/sh
echo "systemd-run $*" >>/var/starters
while :; do
  case $1 in
  --*) shift ;;
  *) break ;;
  esac
done
setsid "$@" </dev/null >/dev/null 2>&1 &
"#;

/// One that cannot reach its service manager.
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
/// gives how guards were started.
async fn heals_by_itself(one: &mut OneHost) -> Result<String> {
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
    one.no_guard_is_left().await?;
    one.on_host("cat /var/starters")
}

#[tokio::test(flavor = "multi_thread")]
async fn under_systemd_the_guard_is_a_unit_of_its_own() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let mut one = OneHost::start(&[]).await?;
    one.with_programs()?;
    one.program("systemd-run", SYSTEMD_RUN)?;
    one.on_host("mkdir -p /run/systemd/system")?;
    let starters = heals_by_itself(&mut one).await?;
    ensure!(starters.lines().count() >= 3, "{starters}");
    for line in starters.lines() {
        ensure!(line.contains("--unit=nio-activation"), "{line}");
    }
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
    let starters = heals_by_itself(&mut one).await?;
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
    let starters = heals_by_itself(&mut one).await?;
    ensure!(starters.lines().all(|line| line == "nohup"), "{starters}");
    ensure!(starters.lines().count() >= 3, "{starters}");
    Ok(())
}
