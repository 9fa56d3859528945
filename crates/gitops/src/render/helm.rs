//! `helm template`, in a process that is ended when it takes too long.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use wait_timeout::ChildExt;

use super::Chart;

/// A chart of a repository needs far less.
const DEADLINE: Duration = Duration::from_secs(60);

/// More than this is not read: the objects of a release fit into a Secret of 1 MiB, compressed.
const MAX_OUTPUT_BYTES: u64 = 32 * 1024 * 1024;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no `helm` on the path.
    #[error("there is no program `helm` on the path")]
    NotInstalled,
    /// The program cannot be used at all.
    #[error("cannot run helm")]
    Failed(#[from] io::Error),
    /// Helm refuses the chart or its values.
    #[error("{0}")]
    Refused(String),
}

/// What Helm makes of a chart in the repository at `root`, as YAML. Nothing is fetched: dependencies that
/// are not there are refused.
///
/// # Errors
/// If helm is not there, refuses the chart, or takes longer than a minute.
pub fn template(root: &Path, chart: &Chart) -> Result<String, Error> {
    // Values are no secrets: those of Secrets are never among them.
    let folder = tempfile::tempdir()?;
    let mut command = Command::new("helm");
    command.arg("template").arg(&chart.name);
    command.arg(root.join(&chart.folder));
    if !chart.namespace.is_empty() {
        command.args(["--namespace", &chart.namespace]);
    }
    for (number, values) in chart.values.iter().enumerate() {
        let path = folder.path().join(format!("{number}.json"));
        fs::write(&path, values.to_string())?;
        command.arg("--values").arg(path);
    }
    let (output, errors) = (folder.path().join("output"), folder.path().join("errors"));
    command
        .stdin(Stdio::null())
        .stdout(File::create(&output)?)
        .stderr(File::create(&errors)?)
        .env("HELM_NO_PLUGINS", "1");
    let status = run(&mut command)?;
    if !status.is_some_and(|status| status.success()) {
        let told = fs::read_to_string(&errors)?;
        let told = told.trim().trim_start_matches("Error: ");
        return Err(Error::Refused(match (status, told) {
            (None, _) => format!("helm was not done after {} s", DEADLINE.as_secs()),
            (Some(status), "") => format!("helm ended with {status} and said nothing"),
            (Some(_), told) => told.lines().next().unwrap_or_default().to_owned(),
        }));
    }
    if fs::metadata(&output)?.len() > MAX_OUTPUT_BYTES {
        let message = format!("the chart makes more than {MAX_OUTPUT_BYTES} bytes");
        return Err(Error::Refused(message));
    }
    Ok(fs::read_to_string(&output)?)
}

/// Waits for the end. None where it did not come in time.
fn run(command: &mut Command) -> Result<Option<ExitStatus>, Error> {
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::NotInstalled,
        _ => Error::Failed(error),
    })?;
    let status = child.wait_timeout(DEADLINE)?;
    if status.is_none() {
        child.kill()?;
        child.wait()?;
    }
    Ok(status)
}
