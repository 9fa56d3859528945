//! The operator is killed in each step of an apply. Whatever the step, the next operator ends
//! the attempt, the host runs it once, and nothing is left.
//!
//! `NICO_E2E_KILLS` says how often in each step; once when it is not set.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nico_api::nixos_configuration::{Attempt, Step};
use nico_e2e::{OneHost, say, skipped};
use serde_json::json;

const STEPS: [Step; 8] = [
    Step::Source,
    Step::Files,
    Step::Evaluate,
    Step::Build,
    Step::Copy,
    Step::Activate,
    Step::Confirm,
    Step::Record,
];

/// Between two looks at the status: some steps take a few milliseconds.
const PERIOD: Duration = Duration::from_millis(2);

/// What came of the kills in one step.
#[derive(Default)]
struct Tally {
    kills: u32,
    /// Of the kills, those that came before the next step.
    hits: u32,
    rollbacks: usize,
    slowest: Duration,
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_killed_in_any_step_leaves_what_the_next_one_ends() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let kills: u32 = match std::env::var("NICO_E2E_KILLS") {
        Ok(kills) => kills.parse().context("NICO_E2E_KILLS is no number")?,
        Err(_) => 1,
    };
    let mut one = OneHost::start(&[]).await?;
    // A build and an activation that take long enough to be hit in the middle.
    one.write("build.sh", "/usr/bin/sleep 0.2")?;
    let first = one.push("first", "sleep 0.2")?;
    let file = json!({"path": "beside", "valueType": "Inline", "inline": "the sources"});
    one.configure(json!({"additionalFiles": [file]})).await?;
    one.applied(&first).await?;

    let mut tallies: BTreeMap<Step, Tally> = BTreeMap::new();
    for round in 0..kills {
        for step in STEPS {
            let content = format!("{step:?}-{round}");
            let (commit, hit) = kill_in(&mut one, step, &content).await?;
            let killed = Instant::now();
            one.lab.restart_operator()?;
            one.applied(&commit).await?;
            let tally = tallies.entry(step).or_default();
            tally.kills += 1;
            tally.hits += u32::from(hit);
            tally.slowest = tally.slowest.max(killed.elapsed());
            let switches = one.switches()?;
            let wanted = format!("test {content}");
            let activations = switches.iter().filter(|it| **it == wanted).count();
            tally.rollbacks += activations.saturating_sub(1);
            ensure!(
                activations == 1,
                "{content} was activated {activations} times"
            );
            ensure!(one.running()? == content);
            nothing_is_left(&one).await?;
        }
    }
    say("step      kills  in the step  activated again  slowest end");
    for (step, tally) in &tallies {
        say(&format!(
            "{:<9} {:>5}  {:>11}  {:>15}  {:>9.1} s",
            format!("{step:?}"),
            tally.kills,
            tally.hits,
            tally.rollbacks,
            tally.slowest.as_secs_f64()
        ));
    }
    Ok(())
}

/// Pushes a system and kills the operator as soon as the attempt is in the step. Gives the
/// commit, and whether the attempt was still in that step afterwards.
async fn kill_in(one: &mut OneHost, step: Step, content: &str) -> Result<(String, bool)> {
    let commit = one.push(content, "sleep 0.2")?;
    let attempt = async |one: &OneHost| -> Result<Attempt> {
        let web = one.lab.configurations().get("web").await?;
        let attempt = web.status.and_then(|status| status.last_attempt);
        Ok(attempt
            .filter(|it| it.commit.as_deref() == Some(&commit))
            .unwrap_or_default())
    };
    let end = Instant::now() + Duration::from_secs(60);
    while attempt(one).await?.step < Some(step) {
        ensure!(Instant::now() < end, "{content} never came to {step:?}");
        tokio::time::sleep(PERIOD).await;
    }
    one.lab.stack.kill_operator();
    let left = attempt(one).await?;
    Ok((
        commit.clone(),
        left.step == Some(step) && left.outcome.is_none(),
    ))
}

async fn nothing_is_left(one: &OneHost) -> Result<()> {
    one.no_guard_is_left().await?;
    let directory = one.lab.stack.sandbox().directory().join("operator");
    let left = || -> Result<Vec<_>> {
        let mut left = vec![];
        for place in ["state/attempts", "tmp"] {
            for entry in std::fs::read_dir(directory.join(place))? {
                left.push(entry?.path());
            }
        }
        Ok(left)
    };
    // An attempt that has ended is cleaned up a moment after it is recorded.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let left = left()?;
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{left:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
