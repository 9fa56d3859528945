//! The API server alone, without hosts: what clients need that were written elsewhere.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use nico_sandbox::kubectl::Kubectl;
use nico_sandbox::tools;
use serde_json::Value;
use tempfile::TempDir;

use crate::{eventually, nico_binary, old_kubectl, say};

/// `nico apiserver`, with a namespace for each client. Ends when it is dropped.
pub struct ApiServer {
    process: Child,
    directory: TempDir,
    kubeconfig: PathBuf,
}

/// A `kubectl` of a known version.
pub struct Client {
    /// The program.
    pub kubectl: Kubectl,
    /// Of `1.MINOR`.
    pub minor: u32,
}

impl ApiServer {
    /// Starts a server on a free port.
    ///
    /// # Errors
    /// When it does not serve.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts a server on a free port, with further options.
    ///
    /// # Errors
    /// When it does not serve.
    pub async fn start_with(options: &[&str]) -> Result<Self> {
        let directory = TempDir::new()?;
        let kubeconfig = directory.path().join("kubeconfig");
        let process = Command::new(nico_binary()?)
            .args(["apiserver", "--listen", "127.0.0.1:0", "--kubeconfig-out"])
            .arg(&kubeconfig)
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Self {
            process,
            directory,
            kubeconfig,
        };
        eventually("the kubeconfig", async || {
            Ok(server.kubeconfig.exists().then_some(()))
        })
        .await?;
        Ok(server)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client for the administrator, which does not try again by itself.
    ///
    /// # Errors
    /// When the kubeconfig is of no use.
    pub async fn administrator(&self) -> Result<kube::Client> {
        let text = std::fs::read_to_string(&self.kubeconfig)?;
        let kubeconfig = kube::config::Kubeconfig::from_yaml(&text)?;
        let options = kube::config::KubeConfigOptions::default();
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        config.default_retry = false;
        Ok(kube::Client::try_from(config)?)
    }

    /// The process, to send it signals.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// A folder that goes with the server.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The `kubectl` on the path and, where it can be had, Debian's of 1.20, each with a
    /// directory and a namespace of its own.
    ///
    /// # Errors
    /// When one does not work.
    ///
    /// # Panics
    /// When `NICO_REQUIRE_ALL=1` and that of 1.20 cannot be had.
    pub async fn clients(&self) -> Result<Vec<Client>> {
        let mut clients = vec![self.client(None).await?];
        match old_kubectl()? {
            Some(_) if clients[0].minor == 20 => {}
            Some(program) => clients.push(self.client(Some(&program)).await?),
            None => tools::skip("kubectl 1.20: apt-get cannot download kubernetes-client"),
        }
        Ok(clients)
    }

    async fn client(&self, program: Option<&Path>) -> Result<Client> {
        let name = if program.is_some() {
            "old"
        } else {
            "installed"
        };
        let directory = self.directory().join(name);
        std::fs::create_dir(&directory)?;
        let kubeconfig = directory.join("kubeconfig");
        std::fs::copy(&self.kubeconfig, &kubeconfig)?;
        let mut kubectl = Kubectl::new(&kubeconfig, &directory);
        if let Some(program) = program {
            kubectl = kubectl.with_program(program);
        }
        let version = kubectl.run(&["version", "--client", "-o", "json"]).await?;
        let version: Value = serde_json::from_str(&version)?;
        let minor = version["clientVersion"]["minor"]
            .as_str()
            .unwrap_or_default();
        let minor = minor.trim_end_matches('+').parse().context("the version")?;
        kubectl.run(&["create", "namespace", name]).await?;
        let context = ["config", "set-context", "--current", "--namespace", name];
        kubectl.run(&context).await?;
        say(&format!("with kubectl 1.{minor}"));
        Ok(Client { kubectl, minor })
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Client {
    /// Whether this version has what came with `1.MINOR`; says so where it has not.
    pub fn has(&self, minor: u32, what: &str) -> bool {
        let has = self.minor >= minor;
        if !has {
            let own = self.minor;
            say(&format!(
                "kubectl 1.{own} does not have what came with 1.{minor}: {what}"
            ));
        }
        has
    }

    /// Runs it and gives its standard output.
    ///
    /// # Errors
    /// What it says.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        Ok(self.kubectl.run(arguments).await?)
    }

    /// `kubectl VERB ... -f -` with a manifest.
    ///
    /// # Errors
    /// What it says.
    pub async fn send(&self, arguments: &[&str], manifest: &str) -> Result<String> {
        let arguments = [arguments, &["-f", "-"]].concat();
        Ok(self.kubectl.run_with_input(&arguments, manifest).await?)
    }

    /// Runs it and checks that the output has all these words.
    ///
    /// # Errors
    /// What it says, or what is missing.
    pub async fn says(&self, arguments: &[&str], words: &[&str]) -> Result<String> {
        let output = self.run(arguments).await?;
        for word in words {
            ensure!(
                output.contains(word),
                "`kubectl {}` does not say {word:?}:\n{output}",
                arguments.join(" ")
            );
        }
        Ok(output)
    }

    /// Runs it with input, checks that it fails, and gives its standard error.
    ///
    /// # Errors
    /// When it succeeds.
    pub async fn refuses(&self, arguments: &[&str], input: &str) -> Result<String> {
        let output = self.kubectl.output(arguments, input).await?;
        ensure!(
            !output.status.success(),
            "`kubectl {}` succeeded",
            arguments.join(" ")
        );
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// One field of an object, by a JSON path such as `{.spec.replicas}`.
    ///
    /// # Errors
    /// What `kubectl` says.
    pub async fn field(&self, object: &str, path: &str) -> Result<String> {
        self.run(&["get", object, &format!("-o=jsonpath={path}")])
            .await
    }
}

/// A server with further options, and each `kubectl` after the other, with an empty namespace.
///
/// # Errors
/// What the test says, with the version of `kubectl`.
///
/// # Panics
/// When there is no `kubectl` and `NICO_REQUIRE_ALL=1` forbids to skip.
pub async fn with_each_kubectl(
    options: &[&str],
    test: impl AsyncFn(&ApiServer, &Client) -> Result<()>,
) -> Result<()> {
    if skipped_without_kubectl() {
        return Ok(());
    }
    let server = ApiServer::start_with(options).await?;
    for client in server.clients().await? {
        test(&server, &client)
            .await
            .with_context(|| format!("kubectl 1.{}", client.minor))?;
    }
    Ok(())
}

/// Says why a test of the API server alone is skipped and gives true, when it cannot run here:
/// such a test needs `kubectl`, and neither root nor hosts.
///
/// # Panics
/// When `NICO_REQUIRE_ALL=1` forbids to skip.
fn skipped_without_kubectl() -> bool {
    let found = Command::new("kubectl")
        .args(["version", "--client"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        tools::skip("kubectl is not installed; on Debian: apt-get install kubernetes-client");
    }
    !found
}
