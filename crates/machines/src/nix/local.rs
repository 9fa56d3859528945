//! Nix on the operator: how its programs are called, and building.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nico_api::names::StorePath;
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::error::NixError;
use super::evaluate::Evaluations;
use super::kubernetes;
use crate::configuration::metrics::{BuildType, ConfigurationMetrics};
use crate::program::{self, Redactor};

/// How Nix is used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Home directory of the programs, for their caches.
    pub home: PathBuf,
    /// How many evaluations may run at once.
    pub evaluations: usize,
    /// How many builds may run at once. Each uses as many cores as `nix.conf` says.
    pub builds: usize,
    /// How many closures may be copied at once.
    pub copies: usize,
    /// How much memory an evaluation may have, in bytes.
    pub evaluate_memory: u64,
    /// How long an evaluation may take, waiting for its turn not counted.
    pub evaluate_deadline: Duration,
    /// How long a build may take.
    pub build_deadline: Duration,
    /// How long a copy may take.
    pub copy_deadline: Duration,
    /// The program that installs from scratch; looked for in `PATH` unless it is a path.
    pub installer: PathBuf,
    /// How long an installation from scratch may take.
    pub install_deadline: Duration,
    /// Whether a host should fetch what it can from its own substituters.
    pub substitute_on_destination: bool,
}

/// Nix on the operator. Cheap to clone; all clones share the limits.
#[derive(Clone)]
pub struct Nix {
    pub(super) settings: Arc<Settings>,
    pub(super) metrics: ConfigurationMetrics,
    pub(super) copies: Arc<Semaphore>,
    pub(super) evaluations: Arc<Evaluations>,
    pub(super) evaluating: Arc<Semaphore>,
    builds: Arc<Semaphore>,
}

impl Nix {
    /// Nix with these limits.
    pub fn new(settings: Settings, metrics: ConfigurationMetrics) -> Self {
        let permits = |number: usize| Arc::new(Semaphore::new(number.max(1)));
        Self {
            copies: permits(settings.copies),
            evaluations: Arc::default(),
            evaluating: permits(settings.evaluations),
            builds: permits(settings.builds),
            settings: Arc::new(settings),
            metrics,
        }
    }

    /// Builds a derivation and protects the result from the garbage collector for as long as
    /// the link `root` exists.
    ///
    /// `nix-store --realise` rather than `nix build`, because how the latter is told to build a
    /// derivation by its path changed between releases.
    ///
    /// # Errors
    /// [`NixError::Build`].
    pub async fn build(
        &self,
        derivation: &StorePath,
        root: &Path,
        redactor: &Redactor,
    ) -> Result<StorePath, NixError> {
        let _turn = turn(&self.builds).await;
        let started = Instant::now();
        let mut command = self.program("nix-store");
        command
            .args(["--realise", derivation.as_str(), "--indirect", "--add-root"])
            .arg(root);
        let answer = program::run(command, self.settings.build_deadline, redactor).await;
        self.metrics
            .built(BuildType::Build, answer.is_ok(), started.elapsed());
        answer.map_err(|source| {
            self.evaluations.forget(derivation);
            NixError::Build {
                derivation: derivation.to_string(),
                source,
            }
        })?;
        let built = tokio::fs::read_link(root)
            .await
            .map_err(|source| NixError::Storage {
                path: root.display().to_string(),
                source,
            })?;
        store_path("build", built.to_string_lossy().as_bytes())
    }

    /// The version of Kubernetes in a system of the operator's store; `None` when it holds none,
    /// or is not there because it was built on its host.
    pub async fn kubernetes_version(
        &self,
        system: &StorePath,
        redactor: &Redactor,
    ) -> Option<String> {
        let mut command = self.program("nix-store");
        command.args(["--query", "--requisites", system.as_str()]);
        let answer = program::run(command, self.settings.evaluate_deadline, redactor).await;
        kubernetes::version_in(&String::from_utf8_lossy(&answer.ok()?))
    }

    pub(super) fn nix(&self, arguments: &[&str]) -> Command {
        let mut command = self.program("nix");
        command
            .args(["--extra-experimental-features", "nix-command flakes"])
            .args(arguments);
        command
    }

    fn program(&self, name: &str) -> Command {
        let mut command = program::command(name, &self.settings.home);
        self.pass_environment(&mut command);
        command
    }

    /// Adds how this Nix is set up: its store, its daemon, its substituters.
    pub(super) fn pass_environment(&self, command: &mut Command) {
        for (name, value) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("NIX_") {
                command.env(name, value);
            }
        }
    }
}

/// A turn in a bounded number of tasks. The semaphores are never closed.
pub(super) async fn turn(semaphore: &Semaphore) -> Option<tokio::sync::SemaphorePermit<'_>> {
    semaphore.acquire().await.ok()
}

pub(super) fn store_path(task: &'static str, answer: &[u8]) -> Result<StorePath, NixError> {
    std::str::from_utf8(answer)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| unexpected(task, answer, "a path in /nix/store"))
}

pub(super) fn unexpected(task: &'static str, answer: &[u8], expected: &'static str) -> NixError {
    NixError::UnexpectedAnswer {
        task,
        answer: String::from_utf8_lossy(answer).chars().take(200).collect(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_store_path_counts_as_an_answer() {
        assert!(store_path("eval", b"").is_err());
        assert!(store_path("eval", b"/etc/passwd").is_err());
        let path = b"/nix/store/6la6ykn8z7mkn8sd123pkfp93mvka13h-system.drv\n";
        assert!(store_path("eval", path).is_ok());
    }
}
