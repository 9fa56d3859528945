//! A sandbox with CRDs, operator and clients.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;
use nico_api::{KubernetesCluster, Machine, NixosConfiguration};
use nico_sandbox::kubectl::Kubectl;
use nico_sandbox::stack::Stack;
use nico_sandbox::{Sandbox, manifests, proof, tools};
use tokio::task::block_in_place;

use crate::eventually;

/// A running sandbox. Removed when it is dropped.
pub struct Lab {
    /// Hosts, API server, operator.
    pub stack: Stack,
    /// `kubectl` for the management cluster.
    pub kubectl: Kubectl,
    /// A client for the management cluster.
    pub client: Client,
}

/// Says why the test is skipped and gives true, when it cannot run here.
///
/// # Panics
/// When `NICO_REQUIRE_ALL=1` forbids to skip.
pub fn skipped() -> bool {
    skipped_without(&[])
}

/// The same where the test needs further programs, given with their packages.
///
/// # Panics
/// When `NICO_REQUIRE_ALL=1` forbids to skip.
pub fn skipped_without(programs: &[(&'static str, &'static str)]) -> bool {
    let needed = [&[("kubectl", "kubernetes-client")], programs].concat();
    let Err(missing) = tools::check(&needed) else {
        return false;
    };
    tools::skip(&missing.to_string());
    true
}

/// Writes a line beside the result of the test.
#[expect(
    clippy::print_stderr,
    reason = "where test runners look for what a test says"
)]
pub fn say(text: &str) {
    eprintln!("{text}");
}

/// The binary under test.
///
/// # Errors
/// When there is none.
pub fn nico_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("NICO_BIN") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    let target = test.ancestors().nth(2).unwrap_or(Path::new("/"));
    let nico = target.join("nico");
    ensure!(
        nico.is_file(),
        "{} is not there: `cargo build --bin nico`, or set NICO_BIN",
        nico.display()
    );
    Ok(nico)
}

impl Lab {
    /// Makes hosts, starts the API server, applies the CRDs, starts the operator.
    ///
    /// # Errors
    /// When one of them does not work.
    pub async fn start(hosts: &[(&str, u8)], environment: &[(&str, &str)]) -> Result<Self> {
        let mut lab = Self::prepare(hosts, environment, &[]).await?;
        lab.restart_operator()?;
        Ok(lab)
    }

    /// Makes hosts, starts the API server with further options, applies the CRDs.
    ///
    /// # Errors
    /// When one of them does not work.
    pub async fn prepare(
        hosts: &[(&str, u8)],
        environment: &[(&str, &str)],
        options: &[&str],
    ) -> Result<Self> {
        let nico = nico_binary()?;
        let stack = block_in_place(|| {
            let mut sandbox = Sandbox::create(&nico)?;
            sandbox.add_hosts(hosts)?;
            anyhow::Ok(Stack::start_with(sandbox, environment, options)?)
        })?;
        let lab = Self {
            kubectl: stack.kubectl(),
            client: stack.client().await?,
            stack,
        };
        for (_, crd) in nico_api::crds::all() {
            lab.apply(&serde_json::to_string(&crd)?).await?;
        }
        lab.kubectl(&["wait", "--for=condition=Established", "crd", "--all"])
            .await?;
        Ok(lab)
    }

    /// Starts the operator, if it does not run.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn restart_operator(&mut self) -> Result<()> {
        Ok(block_in_place(|| self.stack.start_operator())?)
    }

    /// `kubectl apply -f -`.
    ///
    /// # Errors
    /// What `kubectl` says.
    pub async fn apply(&self, manifest: &str) -> Result<String> {
        Ok(self
            .kubectl
            .run_with_input(&["apply", "-f", "-"], manifest)
            .await?)
    }

    /// `kubectl`, for its standard output.
    ///
    /// # Errors
    /// What `kubectl` says.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        Ok(self.kubectl.run(arguments).await?)
    }

    /// Makes the Secret with the key that all hosts accept.
    ///
    /// # Errors
    /// What `kubectl` says.
    pub async fn create_key(&self) -> Result<()> {
        let key = self.stack.sandbox().private_key()?;
        self.create_secret(manifests::KEY_SECRET, "ssh-privatekey", &key)
            .await
    }

    /// Makes or replaces a Secret with one key.
    ///
    /// # Errors
    /// What `kubectl` says.
    pub async fn create_secret(&self, name: &str, key: &str, value: &str) -> Result<()> {
        let secret = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name}, "stringData": {key: value},
        });
        self.apply(&secret.to_string()).await?;
        Ok(())
    }

    /// Applies the key and the five machines of the examples.
    ///
    /// # Errors
    /// What `kubectl` says.
    pub async fn create_machines(&self) -> Result<()> {
        self.create_key().await?;
        self.apply(&manifests::machines(self.stack.sandbox()))
            .await?;
        Ok(())
    }

    /// The cluster of the examples under another name.
    pub fn cluster(&self, name: &str) -> String {
        let wanted = format!("name: {name}");
        manifests::cluster(self.stack.sandbox()).replace("name: home", &wanted)
    }

    /// All Machines.
    pub fn machines(&self) -> Api<Machine> {
        Api::default_namespaced(self.client.clone())
    }

    /// All NixosConfigurations.
    pub fn configurations(&self) -> Api<NixosConfiguration> {
        Api::default_namespaced(self.client.clone())
    }

    /// All KubernetesClusters.
    pub fn clusters(&self) -> Api<KubernetesCluster> {
        Api::default_namespaced(self.client.clone())
    }

    /// All Secrets.
    pub fn secrets(&self) -> Api<Secret> {
        Api::default_namespaced(self.client.clone())
    }

    /// Checks what must be true once all clusters are deleted.
    ///
    /// # Errors
    /// What is left.
    pub async fn assert_nothing_is_left(&self) -> Result<()> {
        // A probe of a machine may be under way at any moment.
        eventually("nothing is left", async || {
            let mut findings = proof::of_the_api(&self.client).await?;
            let hosts = self.stack.sandbox().hosts();
            findings.extend(block_in_place(|| proof::of_the_hosts(hosts))?);
            findings.retain(|finding| !finding.found.is_empty());
            ensure!(findings.is_empty(), "{findings:#?}");
            Ok(Some(()))
        })
        .await
    }

    /// The log of the operator, to be shown when a test fails.
    pub fn operator_log(&self) -> String {
        std::fs::read_to_string(self.stack.operator_log()).unwrap_or_default()
    }

    /// Runs a test and adds to its failure what a person would look at.
    ///
    /// # Errors
    /// Those of the test.
    pub async fn run<T>(&mut self, test: impl AsyncFnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let error = match test(self).await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let described = self.kubectl(&["describe", "nixconf,kcluster"]).await;
        let log = self.operator_log();
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| !line.contains(" DEBUG "))
            .collect();
        Err(error.context(format!(
            "{}\nthe end of the operator's log:\n{}\n",
            described.unwrap_or_else(|error| error.to_string()),
            lines[lines.len().saturating_sub(60)..].join("\n")
        )))
    }
}
