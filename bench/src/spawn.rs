//! Processes that are started and say when they are ready.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a process may take to start.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The `nico` that is measured: the one that was given, else that beside this program.
///
/// # Errors
/// When it is not there.
pub fn nico(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let nico = match given {
        Some(nico) => nico.to_owned(),
        None => std::env::current_exe()?.with_file_name("nico"),
    };
    ensure!(
        nico.is_file(),
        "{} is not there: build it, or give --nico",
        nico.display()
    );
    Ok(nico)
}

/// Starts a process and waits for the line of its output that says what is asked for. The rest of
/// its output is read and dropped.
///
/// # Errors
/// When it does not say that in time.
pub async fn spawn<T>(
    mut command: Command,
    answer: impl Fn(&str) -> Option<T>,
) -> anyhow::Result<(Child, T)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {:?}", command.as_std().get_program()))?;
    let output = child.stdout.take().context("it has no output")?;
    let mut lines = BufReader::new(output).lines();
    let answered = async {
        while let Some(line) = lines.next_line().await? {
            if let Some(answer) = answer(&line) {
                return Ok(answer);
            }
        }
        anyhow::bail!("{:?} has ended", command.as_std().get_program())
    };
    let answer = tokio::time::timeout(PATIENCE, answered)
        .await
        .context("a process does not start")??;
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok((child, answer))
}
