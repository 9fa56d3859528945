//! A Kubernetes control plane for one test.
//!
//! It is the embedded API server, in this process, in milliseconds; or, when the environment
//! variable `KUBEBUILDER_ASSETS` names a folder with `kube-apiserver` and `etcd`, those. With
//! `kube-controller-manager` in the folder, that runs too. Everything ends when the control plane
//! is dropped.
//!
//! Each test has a control plane of its own, so that tests need no namespaces of their own: one of
//! real binaries takes two or three seconds.

mod files;
mod process;
mod real;

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use nico_apiserver::{Server, StartError};

use real::Real;

/// The folder with the binaries to test against, as the ecosystem's other tools have it.
pub const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// A control plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum TestbedError {
    /// The embedded one.
    #[error("the embedded API server does not start")]
    Embedded(#[from] StartError),
    /// The folder lacks a program.
    #[error("{ASSETS} names a folder without {program}: {folder}")]
    Missing {
        /// The program.
        program: &'static str,
        /// The folder.
        folder: PathBuf,
    },
    /// A file or a process.
    #[error("cannot {what}")]
    Io {
        /// What could not be done.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// A key cannot be made.
    #[error("cannot make the key of ServiceAccounts")]
    Key(#[from] rcgen::Error),
    /// A process is not what is expected of it.
    #[error("{program} {what}; the end of its log:\n{log}")]
    NotReady {
        /// The process.
        program: &'static str,
        /// What it does instead.
        what: &'static str,
        /// The end of its log.
        log: String,
    },
    /// The kubeconfig is of no use.
    #[error("cannot use the kubeconfig of the control plane")]
    Kubeconfig(#[from] KubeconfigError),
    /// A client cannot be made.
    #[error("cannot make a client of the control plane")]
    Client(#[from] kube::Error),
}

/// A control plane that runs.
#[derive(Debug)]
pub struct ControlPlane {
    url: String,
    kubeconfig: String,
    running: Running,
}

#[derive(Debug)]
enum Running {
    Embedded(Server),
    Real(Real),
}

impl ControlPlane {
    /// Starts one that listens on the loopback.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start() -> Result<Self, TestbedError> {
        Self::start_on([127, 0, 0, 1]).await
    }

    /// Starts one that listens on all addresses. Its certificate names the loopback only.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start_everywhere() -> Result<Self, TestbedError> {
        Self::start_on([0, 0, 0, 0]).await
    }

    async fn start_on(address: [u8; 4]) -> Result<Self, TestbedError> {
        match std::env::var_os(ASSETS).filter(|folder| !folder.is_empty()) {
            Some(folder) => Self::start_from(Path::new(&folder), address).await,
            None => Self::embed(address).await,
        }
    }

    /// Starts the embedded one, whatever the environment says, for what only it can do.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_embedded() -> Result<Self, TestbedError> {
        Self::embed([127, 0, 0, 1]).await
    }

    async fn embed(address: [u8; 4]) -> Result<Self, TestbedError> {
        let server = Server::builder()
            .listen((address, 0).into())
            .start()
            .await?;
        Ok(Self {
            url: server.url().to_owned(),
            kubeconfig: server.kubeconfig().to_owned(),
            running: Running::Embedded(server),
        })
    }

    /// The embedded API server, if it is that.
    pub fn embedded(&self) -> Option<&Server> {
        match &self.running {
            Running::Embedded(server) => Some(server),
            Running::Real(_) => None,
        }
    }

    /// Starts the binaries of a folder, to listen on an address.
    ///
    /// # Errors
    /// When they are not there, or do not become ready.
    pub async fn start_from(folder: &Path, address: [u8; 4]) -> Result<Self, TestbedError> {
        let real = Real::start(folder, address).await?;
        Ok(Self {
            url: real.url(),
            kubeconfig: real.kubeconfig().to_owned(),
            running: Running::Real(real),
        })
    }

    /// The URL, such as `https://127.0.0.1:6443`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// An administrator's kubeconfig, in YAML.
    pub fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    /// An administrator's client.
    ///
    /// # Errors
    /// When the kubeconfig is of no use.
    pub async fn client(&self) -> Result<Client, TestbedError> {
        client(&self.kubeconfig).await
    }

    /// Ends it; nothing answers any more when this returns.
    pub async fn shutdown(self) {
        match self.running {
            Running::Embedded(server) => server.shutdown().await,
            Running::Real(real) => real.shutdown().await,
        }
    }

    /// Whether objects go with their owners and content with its namespace. A test that needs
    /// that must ask, and say so when it is skipped.
    pub fn has_controllers(&self) -> bool {
        match &self.running {
            Running::Embedded(_) => true,
            Running::Real(real) => real.has_controllers(),
        }
    }
}

async fn client(kubeconfig: &str) -> Result<Client, TestbedError> {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig)?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    Ok(Client::try_from(config)?)
}
