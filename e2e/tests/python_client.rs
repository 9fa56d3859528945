//! The official Python client against the API server.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use nico_apiserver::Server;
use nico_apiserver::storage::Memory;
use nico_e2e::say;
use nico_sandbox::tools;
use tempfile::TempDir;
use tokio::task::block_in_place;

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/python");

/// How many changes the server remembers: few, so that old versions are soon forgotten.
const HISTORY: usize = 64;

fn output(program: &Path, arguments: &[&str]) -> Result<Output> {
    Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot start {}", program.display()))
}

/// Makes a virtual environment with the client; the reason why not, where it cannot be had.
fn install(environment: &Path) -> Result<(), String> {
    let requirements = format!("{SCENARIOS}/requirements.txt");
    let folder = environment.display().to_string();
    let made = output(Path::new("python3"), &["-m", "venv", &folder]);
    let python = environment.join("bin/python");
    let installed = made.and_then(|made| {
        ensure!(
            made.status.success(),
            "python3 -m venv: {}",
            String::from_utf8_lossy(&made.stdout)
        );
        output(
            &python,
            &["-m", "pip", "install", "-q", "-r", &requirements],
        )
    });
    match installed {
        Ok(installed) if installed.status.success() => Ok(()),
        Ok(failed) => Err(format!(
            "pip cannot install the client: {}",
            String::from_utf8_lossy(&failed.stderr)
        )),
        Err(error) => Err(format!(
            "{error:#}; on Debian: apt-get install python3-venv"
        )),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_python_client_finds_what_it_expects() -> Result<()> {
    let directory = TempDir::new()?;
    let environment = directory.path().join("venv");
    if let Err(missing) = block_in_place(|| install(&environment)) {
        tools::skip(&missing);
        return Ok(());
    }
    let server = Server::builder()
        .storage(Arc::new(Memory::with_history(HISTORY)))
        .start()
        .await?;
    let kubeconfig = directory.path().join("kubeconfig");
    std::fs::write(&kubeconfig, server.kubeconfig())?;
    let script = format!("{SCENARIOS}/scenarios.py");
    let kubeconfig = kubeconfig.display().to_string();
    let arguments = [script.as_str(), &kubeconfig, &HISTORY.to_string()];
    let python = environment.join("bin/python");
    let ended = block_in_place(|| output(&python, &arguments))?;
    let said = String::from_utf8_lossy(&ended.stdout);
    say(&said);
    ensure!(
        ended.status.success() && said.contains(" passed, 0 failed"),
        "the scenarios ended with {}:\n{said}\n{}",
        ended.status,
        String::from_utf8_lossy(&ended.stderr)
    );
    server.shutdown().await;
    Ok(())
}
