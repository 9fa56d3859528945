//! Debian's kubectl 1.20: what `apt-get install kubernetes-client` gives on Debian 12.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::nico_binary;

/// Debian's `kubectl`, unpacked beside the binaries of the build; `None` where it cannot be had.
///
/// # Errors
/// When the package cannot be unpacked.
pub fn old_kubectl() -> Result<Option<PathBuf>> {
    let binary = nico_binary()?;
    let directory = binary
        .parent()
        .unwrap_or(Path::new("."))
        .join("kubectl-1.20");
    let kubectl = directory.join("usr/bin/kubectl");
    if kubectl.is_file() {
        return Ok(Some(kubectl));
    }
    // Several tests may want it at once: each unpacks for itself, and the first to end wins.
    let beside = directory.parent().unwrap_or(Path::new("."));
    let unpacking = tempfile::tempdir_in(beside)?;
    let downloaded = Command::new("apt-get")
        .args(["download", "kubernetes-client"])
        .current_dir(unpacking.path())
        .output();
    if !downloaded.is_ok_and(|output| output.status.success()) {
        return Ok(None);
    }
    let package = fs::read_dir(unpacking.path())?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get downloaded nothing")?;
    let unpacked = Command::new("dpkg")
        .arg("-x")
        .arg(&package)
        .arg(unpacking.path())
        .status()?;
    ensure!(unpacked.success(), "dpkg ended with {unpacked}");
    if let Err(error) = fs::rename(unpacking.path(), &directory) {
        ensure!(
            kubectl.is_file(),
            "cannot make {}: {error}",
            directory.display()
        );
    }
    Ok(Some(kubectl))
}
