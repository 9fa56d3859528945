//! Faults on purpose, from a file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nico_apiserver::faults::{self, Faults, Rule};
use tokio::signal::unix::{SignalKind, signal};

/// The rules of a file, which is read anew at each SIGHUP. Rules that cannot be used then leave
/// the others in force.
pub(crate) fn follow(file: PathBuf) -> anyhow::Result<Faults> {
    let faults = Faults::default();
    faults.replace(read(&file)?);
    let mut hangup = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
    let followed = faults.clone();
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match read(&file) {
                Ok(rules) => {
                    tracing::info!(rules = rules.len(), "the rules for faults were read anew");
                    followed.replace(rules);
                }
                Err(error) => {
                    tracing::error!("the rules for faults stay as they are: {error:#}");
                }
            }
        }
    });
    Ok(faults)
}

fn read(file: &Path) -> anyhow::Result<Vec<Rule>> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read the rules for faults in {}", file.display()))?;
    faults::read(&text).with_context(|| format!("cannot use {}", file.display()))
}
