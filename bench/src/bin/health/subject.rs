//! One look of `nico health` at the cluster, seen from outside.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use nico_bench::process::{highest_memory, processor_time};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::world::World;

/// How often the process is looked at while it runs.
const STEP: Duration = Duration::from_millis(5);

/// What one look took, and what it saw.
pub struct Look {
    /// From the start of the process to its end.
    pub time: Duration,
    /// The processor time of the process, as it was last seen.
    pub processor_time: Duration,
    /// The most memory that the process had, in bytes, as it was last seen.
    pub memory: u64,
    /// Requests that the API server answered.
    pub requests: u64,
    /// The report.
    pub report: Value,
}

/// Looks once.
pub async fn look(nico: &Path, world: &World) -> anyhow::Result<Look> {
    let before = world.requests().await?;
    let began = Instant::now();
    let mut child = Command::new(nico)
        .args(["health", "--format", "json"])
        .env("KUBECONFIG", world.kubeconfig())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", nico.display()))?;
    let pid = child.id().context("it has no number")?;
    let mut output = child.stdout.take().context("it has no output")?;
    let mut text = String::new();
    let mut memory = 0;
    let mut used = Duration::ZERO;
    let mut steps = tokio::time::interval(STEP);
    {
        let read = output.read_to_string(&mut text);
        tokio::pin!(read);
        loop {
            tokio::select! {
                read = &mut read => {
                    read?;
                    break;
                }
                _ = steps.tick() => {
                    // At its very end the process has no memory any more.
                    if let (Ok(seen), Ok(time)) = (highest_memory(pid), processor_time(pid)) {
                        memory = memory.max(seen);
                        used = time;
                    }
                }
            }
        }
    }
    child.wait().await?;
    let time = began.elapsed();
    // The first question for the number of requests is one of them.
    let requests = world.requests().await?.saturating_sub(before + 1);
    Ok(Look {
        time,
        processor_time: used,
        memory,
        requests,
        report: serde_json::from_str(&text).context("it gave no report")?,
    })
}
