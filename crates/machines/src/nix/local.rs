//! What Nix does on the operator: evaluate and build.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nico_api::names::{FlakeAttribute, StorePath};
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::error::NixError;
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
    evaluations: Arc<Semaphore>,
    builds: Arc<Semaphore>,
}

/// The sources of a flake on the operator's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree<'a> {
    /// The whole tree, which the flake may use.
    pub root: &'a Path,
    /// Directory of `flake.nix` below it; empty for the root.
    pub directory: &'a str,
    /// A directory that belongs to this tree alone, for a flake that leads to it.
    pub entry: &'a Path,
}

impl Tree<'_> {
    /// The reference under which Nix finds the outputs.
    ///
    /// Nix 2.8 does not take `path:…?dir=…`, but it does take such an input of another flake.
    pub(super) async fn flake_url(&self) -> Result<String, NixError> {
        if self.directory.is_empty() {
            return Ok(path_url(self.root));
        }
        let file = self.entry.join("flake.nix");
        let written = async {
            tokio::fs::create_dir_all(self.entry).await?;
            tokio::fs::write(&file, self.entry_flake()).await
        };
        written.await.map_err(|source| NixError::Storage {
            path: file.display().to_string(),
            source,
        })?;
        Ok(path_url(self.entry))
    }

    fn entry_flake(&self) -> String {
        format!(
            "{{\n  inputs.target = {{ type = \"path\"; path = {}; dir = {}; }};\n  \
             outputs = {{ target, ... }}: {{ inherit (target) nixosConfigurations; }};\n}}\n",
            nix_string(&self.root.to_string_lossy()),
            nix_string(self.directory)
        )
    }
}

impl Nix {
    /// Nix with these limits.
    pub fn new(settings: Settings, metrics: ConfigurationMetrics) -> Self {
        let permits = |number: usize| Arc::new(Semaphore::new(number.max(1)));
        Self {
            copies: permits(settings.copies),
            evaluations: permits(settings.evaluations),
            builds: permits(settings.builds),
            settings: Arc::new(settings),
            metrics,
        }
    }

    /// Evaluates `nixosConfigurations.<attribute>` of a flake to the derivation of its system.
    ///
    /// # Errors
    /// [`NixError::Evaluate`], or [`NixError::UnexpectedAnswer`] when it is no derivation.
    pub async fn evaluate(
        &self,
        tree: &Tree<'_>,
        attribute: &FlakeAttribute,
        redactor: &Redactor,
    ) -> Result<StorePath, NixError> {
        let flake = tree.flake_url().await?;
        let _turn = turn(&self.evaluations).await;
        let started = Instant::now();
        let mut command = self.nix(&["eval", "--raw", "--no-write-lock-file", "--"]);
        command.arg(format!(
            "{flake}#nixosConfigurations.\"{attribute}\".config.system.build.toplevel.drvPath"
        ));
        let answer = program::run(command, self.settings.evaluate_deadline, redactor).await;
        self.metrics
            .built(BuildType::Evaluate, answer.is_ok(), started.elapsed());
        let answer = answer.map_err(|source| NixError::Evaluate {
            output: format!("nixosConfigurations.{attribute}"),
            source,
        })?;
        store_path("eval", &answer)
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
        answer.map_err(|source| NixError::Build {
            derivation: derivation.to_string(),
            source,
        })?;
        let built = tokio::fs::read_link(root)
            .await
            .map_err(|source| NixError::Storage {
                path: root.display().to_string(),
                source,
            })?;
        store_path("build", built.to_string_lossy().as_bytes())
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

fn path_url(path: &Path) -> String {
    format!("path:{}", percent_encode(&path.to_string_lossy()))
}

/// A string literal of the Nix language that stands for exactly `text`.
fn nix_string(text: &str) -> String {
    let escaped = text
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace("${", r"\${");
    format!("\"{escaped}\"")
}

fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn store_path(task: &'static str, answer: &[u8]) -> Result<StorePath, NixError> {
    std::str::from_utf8(answer)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| unexpected(task, answer, "a path in /nix/store"))
}

fn unexpected(task: &'static str, answer: &[u8], expected: &'static str) -> NixError {
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
    fn nothing_in_a_path_changes_the_meaning_of_the_url() {
        let url = path_url(Path::new("/var/lib/nico 1/a&b#c?d=%2e"));
        assert_eq!(url, "path:/var/lib/nico%201/a%26b%23c%3Fd%3D%252e");
    }

    #[test]
    fn nothing_in_a_directory_name_ends_the_string() {
        assert_eq!(nix_string(r#"a"b\c${d}"#), r#""a\"b\\c\${d}""#);
    }

    #[test]
    fn only_a_store_path_counts_as_an_answer() {
        assert!(store_path("eval", b"").is_err());
        assert!(store_path("eval", b"/etc/passwd").is_err());
        let path = b"/nix/store/6la6ykn8z7mkn8sd123pkfp93mvka13h-system.drv\n";
        assert!(store_path("eval", path).is_ok());
    }
}
