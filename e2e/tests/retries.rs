//! What is tried again by itself, and what waits until somebody changes something.

use anyhow::{Context, Result, ensure};
use nico_api::condition;
use nico_e2e::{OneHost, eventually, skipped};
use serde_json::json;
use tempfile::TempDir;

/// Waits until nothing more is tried with `web`, and what has to change is said.
async fn stalled(one: &OneHost) -> Result<()> {
    let web = one
        .web("nothing more is tried", |web| {
            let status = web.status.clone().unwrap_or_default();
            condition::is_true(&status.conditions, "Stalled")
        })
        .await?;
    let conditions = web.status.context("a status")?.conditions;
    let stalled = condition::find(&conditions, "Stalled").context("Stalled")?;
    ensure!(stalled.reason == "WaitingForChange", "{stalled:?}");
    for word in ["spec", "commit", "Secrets", "reconcile-at"] {
        ensure!(stalled.message.contains(word), "{stalled:?}");
    }
    Ok(())
}

/// Waits until the operator has looked at `web` some times more.
async fn looked_at_again(one: &OneHost) -> Result<()> {
    let looks = || {
        let log = one.lab.operator_log();
        let planned = log.lines().filter(|line| line.contains("planned"));
        planned.filter(|line| line.contains("\"web\"")).count()
    };
    let before = looks();
    eventually("web is looked at again", async || {
        Ok((looks() >= before + 4).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_waits_for_a_change_and_each_kind_of_change_is_one() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let one = OneHost::start(&[("RUST_LOG", "info,nico_machines=debug")]).await?;
    let directory = TempDir::new()?;
    let tries = directory.path().join("tries");
    let builds = || {
        let text = std::fs::read_to_string(&tries).unwrap_or_default();
        text.lines().count()
    };
    let built = async |times: usize| {
        let what = format!("it is built for the {times}. time");
        eventually(&what, async || Ok((builds() == times).then_some(()))).await?;
        one.reason("BuildFailed").await?;
        stalled(&one).await
    };
    one.write(
        "build.sh",
        &format!(
            "echo try >>{}; echo 'no such header' >&2; exit 1",
            tries.display()
        ),
    )?;
    one.push("first", "")?;
    one.configure(json!({})).await?;
    built(1).await?;
    let message = one.reason("BuildFailed").await?;
    ensure!(message.contains("no such header"), "{message}");
    looked_at_again(&one).await?;
    ensure!(builds() == 1, "it was built {} times", builds());

    let wish = "nio.homystack.com/reconcile-at=once";
    one.lab
        .kubectl(&["annotate", "nixconf", "web", wish])
        .await?;
    built(2).await?;
    let longer = json!({"activation": {"confirmTimeout": "90s"}});
    one.configure(longer.clone()).await?;
    built(3).await?;
    // A commit that changes the sources, and not what fails.
    one.push("second", "")?;
    built(4).await?;
    looked_at_again(&one).await?;
    ensure!(builds() == 4, "it was built {} times", builds());

    one.write("build.sh", "")?;
    let good = one.push("good", "")?;
    one.applied(&good).await?;
    // What is only about the next change activates nothing.
    let switches = one.switches()?;
    one.configure(json!({})).await?;
    looked_at_again(&one).await?;
    ensure!(one.switches()? == switches, "{:?}", one.switches()?);
    Ok(())
}

/// Strings that nobody can shorten, many of them at once.
const HUNGRY: &str = r#"{
  outputs = { self }: {
    nixosConfigurations.web.config.system.build.toplevel.drvPath = builtins.concatStringsSep ""
      (builtins.genList (number: "${toString number} of many") 30000000);
  };
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_flake_that_eats_memory_is_stopped_at_the_ceiling_and_says_so() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let one = OneHost::start(&[("NIO_EVAL_MEMORY", "400Mi")]).await?;
    let first = one.push("first", "")?;
    one.configure(json!({})).await?;
    one.applied(&first).await?;

    let flake = std::fs::read_to_string(one.repository().join("flake.nix"))?;
    one.write("flake.nix", HUNGRY)?;
    one.push("hungry", "")?;
    let message = one.reason("EvaluationFailed").await?;
    for words in ["400 MiB", "NIO_EVAL_MEMORY", "nixosConfigurations.web"] {
        ensure!(message.contains(words), "{words:?} is not in: {message}");
    }
    stalled(&one).await?;
    ensure!(one.running()? == "first");

    // The operator has not suffered.
    one.write("flake.nix", &flake)?;
    let second = one.push("second", "")?;
    one.applied(&second).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_off_is_tried_for_as_long_as_it_takes() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let mut one = OneHost::start(&[]).await?;
    let first = one.push("first", "")?;
    one.configure(json!({})).await?;
    one.applied(&first).await?;
    one.lab
        .stack
        .sandbox_mut()
        .host_mut("m")
        .context("m")?
        .power_off();
    let second = one.push("second", "")?;
    let web = one
        .web("it was tried five times", |web| {
            let status = web.status.clone().unwrap_or_default();
            let attempt = status.last_attempt.unwrap_or_default();
            attempt.commit.as_ref() == Some(&second) && attempt.failures >= Some(5)
        })
        .await?;
    let conditions = web.status.context("a status")?.conditions;
    ensure!(!condition::is_true(&conditions, "Stalled"), "it gave up");
    one.power_cycle()?;
    ensure!(one.running()? == "first");
    one.applied(&second).await?;
    one.no_guard_is_left().await
}
