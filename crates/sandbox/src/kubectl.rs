//! The real `kubectl`, as a user would run it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Why `kubectl` gave nothing to go on with.
#[derive(Debug, thiserror::Error)]
pub enum KubectlError {
    /// It could not be started.
    #[error("cannot start {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ended with something else than success.
    #[error("`kubectl {arguments}` ended with {status}: {message}")]
    Failed {
        /// Its arguments.
        arguments: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it wrote to standard error.
        message: String,
    },
}

/// A `kubectl` for one cluster, with a cache of its own.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    directory: PathBuf,
    environment: Vec<(String, OsString)>,
}

impl Kubectl {
    /// The `kubectl` on the path. `directory` is where it runs and keeps what it learned of the
    /// cluster.
    pub fn new(kubeconfig: &Path, directory: &Path) -> Self {
        Self {
            program: "kubectl".into(),
            kubeconfig: kubeconfig.to_owned(),
            directory: directory.to_owned(),
            environment: Vec::new(),
        }
    }

    /// Where it runs: relative names of files start here.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Another binary, for instance of another version.
    #[must_use]
    pub fn with_program(self, program: &Path) -> Self {
        Self {
            program: program.to_owned(),
            ..self
        }
    }

    /// For another cluster.
    #[must_use]
    pub fn with_kubeconfig(self, kubeconfig: &Path) -> Self {
        Self {
            kubeconfig: kubeconfig.to_owned(),
            ..self
        }
    }

    /// With a further variable in its environment.
    #[must_use]
    pub fn with_environment(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Runs it and gives what it wrote to standard output.
    ///
    /// # Errors
    /// When it cannot be started or does not end with 0.
    pub async fn run(&self, arguments: &[&str]) -> Result<String, KubectlError> {
        self.run_with_input(arguments, "").await
    }

    /// Runs it with text for standard input, where `-f -` reads it.
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub async fn run_with_input(
        &self,
        arguments: &[&str],
        input: &str,
    ) -> Result<String, KubectlError> {
        let output = self.output(arguments, input).await?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(KubectlError::Failed {
            arguments: arguments.join(" "),
            status: output.status,
            message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// Runs it, whatever its exit code is. Killed when the future is dropped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn output(&self, arguments: &[&str], input: &str) -> Result<Output, KubectlError> {
        let start = |source| KubectlError::Start {
            program: self.program.clone(),
            source,
        };
        let mut child = Command::new(&self.program)
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.directory)
            .envs(self.environment.iter().cloned())
            .current_dir(&self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(start)?;
        let stdin = child.stdin.take();
        let write = async {
            if let Some(mut pipe) = stdin {
                // A kubectl that does not read to the end has its reasons, and its exit code
                // tells.
                pipe.write_all(input.as_bytes()).await.ok();
            }
        };
        let ((), output) = tokio::join!(write, child.wait_with_output());
        output.map_err(start)
    }
}
