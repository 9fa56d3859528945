//! kubeconform over the same tree, where it is installed.
//!
//! It validates objects against schemas and knows nothing of kustomizations. It takes its schemas from
//! the network, or from the folder that `KUBECONFORM_SCHEMAS` names, in its own naming.

use std::env;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How long kubeconform takes; none where it is not installed, or cannot get its schemas.
#[expect(clippy::print_stderr, reason = "a program for people")]
pub(crate) fn kubeconform(tree: &Path) -> Result<Option<Duration>> {
    let mut command = Command::new("kubeconform");
    command.args(["-summary", "-ignore-missing-schemas", "-n", "8"]);
    if let Some(schemas) = env::var_os("KUBECONFORM_SCHEMAS") {
        command.arg("-schema-location").arg(schemas);
    }
    let started = Instant::now();
    let output = match command.arg(tree).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("kubeconform is not installed: nothing is compared");
            return Ok(None);
        }
        output => output.context("cannot run kubeconform")?,
    };
    let time = started.elapsed();
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("failed downloading schema") || !text.contains("Summary:") {
        eprintln!("kubeconform has no schemas here: nothing is compared");
        return Ok(None);
    }
    Ok(Some(time))
}
