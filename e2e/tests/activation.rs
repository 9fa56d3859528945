//! A change of a host is proven or undone, whatever happens to the operator, to the guard and
//! to the host meanwhile.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nico_api::condition;
use nico_api::nixos_configuration::Outcome;
use nico_e2e::{OneHost, eventually, say, skipped};
use serde_json::json;

const CONFIRM_SECONDS: u64 = 8;

/// What a configuration does that cuts its host off.
const CUT_OFF: &str = "ip link set eth0 down";

/// Starts a host that runs `first`, applied and confirmed.
async fn start(activation: serde_json::Value) -> Result<OneHost> {
    let one = OneHost::start(&[]).await?;
    let first = one.push("first", "")?;
    one.configure(json!({"activation": activation})).await?;
    one.applied(&first).await?;
    one.no_guard_is_left().await?;
    Ok(one)
}

fn guarded() -> serde_json::Value {
    json!({"confirmTimeout": format!("{CONFIRM_SECONDS}s")})
}

fn signal(operator: Option<u32>, name: &str) -> Result<()> {
    let pid = operator.context("the operator does not run")?.to_string();
    let sent = Command::new("kill").args(["-s", name, &pid]).status()?;
    ensure!(sent.success(), "kill -s {name} {pid}");
    Ok(())
}

/// Waits until `web` was rolled back, and gives the message.
async fn rolled_back(one: &OneHost, commit: &str) -> Result<String> {
    let web = one
        .web("the commit was rolled back", |web| {
            let status = web.status.clone().unwrap_or_default();
            let attempt = status.last_attempt.unwrap_or_default();
            attempt.outcome == Some(Outcome::RolledBack)
                && attempt.commit.as_deref() == Some(commit)
        })
        .await?;
    let status = web.status.context("a status")?;
    for kind in ["Activated", "Ready"] {
        let found = condition::find(&status.conditions, kind).context("the condition")?;
        ensure!(
            found.status == "False" && found.reason == "RolledBack",
            "{found:?}"
        );
    }
    let attempt = status.last_attempt.context("an attempt")?;
    attempt.message.context("a message")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_cut_off_heals_by_itself_while_the_operator_is_stopped_or_dead() -> Result<()>
{
    if skipped() {
        return Ok(());
    }
    let mut one = start(guarded()).await?;
    for (content, how) in [("stopped", "STOP"), ("dead", "KILL")] {
        let bad = one.push(content, CUT_OFF)?;
        one.until(&format!("grep -q 'test {content}' /var/log/switches"))
            .await?;
        let cut_off = Instant::now();
        signal(one.lab.stack.operator_pid(), how)?;
        ensure!(one.running()? == content);
        eventually("the host is back on the first system", async || {
            Ok((one.running()? == "first").then_some(()))
        })
        .await?;
        let took = cut_off.elapsed();
        say(&format!("operator {how}: back after {took:?}"));
        ensure!(took < Duration::from_secs(CONFIRM_SECONDS + 10), "{took:?}");
        one.until("ip link show eth0 | grep -q LOWER_UP").await?;
        // The boot entry was never that of the bad system.
        ensure!(!one.switches()?.contains(&format!("boot {content}")));

        one.lab.stack.kill_operator();
        one.lab.restart_operator()?;
        let message = rolled_back(&one, &bad).await?;
        ensure!(message.contains("nobody confirmed it"), "{message}");
        one.no_guard_is_left().await?;
        let good = one.push("first", "")?;
        one.applied(&good).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_cuts_itself_off_is_reported_by_an_operator_that_watched() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let one = start(guarded()).await?;
    let bad = one.push("bad", CUT_OFF)?;
    let message = rolled_back(&one, &bad).await?;
    ensure!(message.contains("nobody confirmed it"), "{message}");
    ensure!(one.running()? == "first");
    one.no_guard_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_fails_is_undone_and_not_tried_for_ever() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let one = start(guarded()).await?;
    let bad = one.push("bad", "echo 'the unit nginx.service failed'; exit 4")?;
    let message = rolled_back(&one, &bad).await?;
    ensure!(message.contains("ended with status 4"), "{message}");
    ensure!(message.contains("nginx.service failed"), "{message}");
    ensure!(one.running()? == "first");
    one.web("nothing more is tried", |web| {
        let status = web.status.clone().unwrap_or_default();
        condition::is_true(&status.conditions, "Stalled")
    })
    .await?;
    let tries = |switches: Vec<String>| switches.iter().filter(|it| *it == "test bad").count();
    ensure!(tries(one.switches()?) == 3, "{:?}", one.switches()?);
    one.no_guard_is_left().await?;
    let good = one.push("good", "")?;
    one.applied(&good).await?;

    // Who does not want it undone keeps what failed.
    one.configure(json!({"activation": {"rollback": false}}))
        .await?;
    one.push("worse", "echo 'no such user'; exit 4")?;
    let message = one.reason("ActivationFailed").await?;
    ensure!(message.contains("no such user"), "{message}");
    ensure!(one.running()? == "worse");
    ensure!(one.switches()?.contains(&"switch worse".to_owned()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_rebooted_before_it_confirmed_comes_up_as_it_was_and_says_so() -> Result<()>
{
    if skipped() {
        return Ok(());
    }
    let mut one = start(json!({})).await?;
    one.on_host("touch /var/block")?;
    let hang = "while [ -e /var/block ]; do touch /var/reached; sleep 0.05; done";
    let bad = one.push("bad", hang)?;
    one.until("[ -e /var/reached ]").await?;
    one.lab.stack.kill_operator();
    one.power_cycle()?;
    ensure!(one.running()? == "first");
    one.on_host("rm /var/block")?;
    one.lab.restart_operator()?;
    let message = rolled_back(&one, &bad).await?;
    ensure!(message.contains("was rebooted before"), "{message}");
    // It is tried again, and then goes well.
    one.applied(&bad).await?;
    one.no_guard_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_was_killed_is_noticed_and_its_work_undone() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let mut one = start(json!({})).await?;
    let bad = one.push("bad", "")?;
    one.until("grep -q 'test bad' /var/log/switches").await?;
    one.lab.stack.kill_operator();
    one.on_host("read -r pid start </run/nio/activation/holder; kill -9 $pid")?;
    ensure!(one.running()? == "bad");
    one.lab.restart_operator()?;
    let message = rolled_back(&one, &bad).await?;
    ensure!(
        message.contains("guard on the host was killed"),
        "{message}"
    );
    // It is tried again, and then goes well.
    one.applied(&bad).await?;
    one.no_guard_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_entry_that_cannot_be_made_undoes_what_was_confirmed() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let one = start(guarded()).await?;
    let before = one.on_host("readlink /nix/var/nix/profiles/system")?;
    let script = std::fs::read_to_string(one.repository().join("switch"))?;
    let failing = script.replace(
        "[ \"$1\" != boot ] || exit 0",
        "[ \"$1\" != boot ] || { echo '/boot is full' >&2; exit 1; }",
    );
    ensure!(failing != script);
    one.write("switch", &failing)?;
    let bad = one.push("bad", "")?;
    let message = rolled_back(&one, &bad).await?;
    ensure!(message.contains("/boot is full"), "{message}");
    ensure!(one.running()? == "first");
    ensure!(one.on_host("readlink /nix/var/nix/profiles/system")? == before);
    let generations = one.on_host("ls /nix/var/nix/profiles | grep -c system-")?;
    ensure!(generations == "1", "{generations} generations");
    one.no_guard_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_kernel_is_booted_where_that_is_allowed_and_reported_where_it_is_not() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let mut one = start(json!({})).await?;
    // The host's reboot is a stand-in that asks this test for it.
    one.with_programs()?;
    one.program("reboot", "#!/bin/sh\ntouch /var/reboot\n")?;

    one.write("kernel", "second")?;
    let second = one.push("second", "")?;
    let web = one.applied(&second).await?;
    let status = web.status.context("a status")?;
    ensure!(status.reboot_required == Some(true), "{status:?}");
    ensure!(one.on_host("ls /var/reboot").is_err());

    one.configure(json!({"activation": {"reboot": "IfNeeded"}}))
        .await?;
    one.until("[ -e /var/reboot ]").await?;
    let web = one.reason("InProgress").await?;
    ensure!(web.contains("rebooted into the new kernel"), "{web}");
    one.on_host("rm /var/reboot")?;
    one.power_cycle()?;
    let web = one
        .web("the new kernel runs", |web| {
            let status = web.status.clone().unwrap_or_default();
            status.reboot_required == Some(false) && condition::is_true(&status.conditions, "Ready")
        })
        .await?;
    ensure!(web.status.and_then(|it| it.applied_commit) == Some(second));
    ensure!(one.on_host("ls /var/reboot").is_err(), "rebooted once more");
    // The activation was not made once more for the reboot.
    let switches = one.switches()?;
    let activations = switches.iter().filter(|it| *it == "test second").count();
    ensure!(
        activations == 2,
        "one of the attempt, one of the boot: {switches:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_changed_by_hand_has_drifted_and_is_put_back() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let one = start(json!({})).await?;
    let first = one.on_host("readlink -f /run/current-system")?;
    let second = one.push("second", "")?;
    one.applied(&second).await?;
    // The probe has to have seen the second, or nothing seems to change.
    eventually("the facts name the second system", async || {
        let machine = one.lab.machines().get("m").await?;
        let current = machine.fact("nixos.currentSystem").cloned();
        Ok(current.filter(|it| *it != json!(first)).map(|_| ()))
    })
    .await?;
    one.on_host(&format!("{first}/bin/switch-to-configuration test"))?;
    eventually("an event tells of the drift", async || {
        let events = one
            .lab
            .kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"])
            .await?;
        Ok(events.contains("Drifted").then_some(()))
    })
    .await?;
    one.applied(&second).await?;
    eventually("the host is put back", async || {
        Ok((one.running()? == "second").then_some(()))
    })
    .await
}

/// The script of the machine layer, run on the host without an operator.
const GUARD: &str = include_str!("../../crates/machines/src/nix/guard.sh");

#[tokio::test(flavor = "multi_thread")]
async fn of_several_activations_at_once_one_runs_and_each_attempt_runs_once() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let one = start(json!({})).await?;
    one.push("unused", "")?;
    let system = one.on_host("readlink -f /run/current-system")?;
    let script = one.host()?.disk().join("root/guard");
    std::fs::write(&script, "guard=$(cat /root/guard-text)\neval \"$guard\"\n")?;
    std::fs::write(script.with_file_name("guard-text"), GUARD)?;
    let begin = |attempt: &str, seconds: u64| -> Result<std::process::Child> {
        let init = one.host()?.init()?.to_string();
        let command =
            format!("sh /root/guard start {attempt} {system} test yes {seconds} 60 '' 2>&1");
        Ok(Command::new("nsenter")
            .args([
                "--target", &init, "--mount", "--uts", "--ipc", "--net", "--pid",
            ])
            .args(["--root", "--wd", "sh", "-c", &command])
            .stdout(Stdio::piped())
            .spawn()?)
    };
    let before = one.switches()?.len();
    // The same attempt, five times: one activation, and everybody is told of it.
    let same: Vec<_> = (0..5).map(|_| begin("same", 20)).collect::<Result<_>>()?;
    for child in same {
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(text.contains("record.state=waiting"), "{text}");
    }
    ensure!(one.switches()?.len() == before + 1, "{:?}", one.switches()?);
    // Other attempts meanwhile are sent away, and change nothing.
    let others: Vec<_> = (0..3)
        .map(|number| begin(&format!("other-{number}"), 1))
        .collect::<Result<_>>()?;
    for child in others {
        let status = child.wait_with_output()?.status;
        ensure!(status.code() == Some(75), "{status}");
    }
    ensure!(one.switches()?.len() == before + 1, "{:?}", one.switches()?);
    // A lock whose holder is dead keeps nobody out, and of several that come then one gets it.
    one.on_host("read -r pid start </run/nio/activation/holder; kill -9 $pid")?;
    let heirs: Vec<_> = (0..4)
        .map(|number| begin(&format!("heir-{number}"), 15))
        .collect::<Result<_>>()?;
    let mut answers = vec![];
    for child in heirs {
        let output = child.wait_with_output()?;
        answers.push(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    // The one that gets it may still be undoing what the dead one left, and tell of that.
    let has_it = |answer: &&String| answer.contains("record.state=waiting");
    ensure!(answers.iter().filter(has_it).count() <= 1, "{answers:#?}");
    one.until(
        "cd /var/lib/nio/activation && grep '^attempt=heir-' record && \
         [ \"$(stat -c '%a %U' .)\" = '700 root' ]",
    )
    .await?;
    one.until("! ls /run/nio 2>/dev/null").await
}
