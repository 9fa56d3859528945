//! A `nico apiserver` that surrounds what is measured.

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::spawn::spawn;

/// A running API server, and a folder that goes with it. Ended when dropped.
pub struct ApiServer {
    folder: TempDir,
    client: Client,
    _process: Child,
}

impl ApiServer {
    /// Starts that of a built `nico`, and waits until it serves.
    ///
    /// # Errors
    /// When it does not serve in time.
    pub async fn start(nico: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let kubeconfig = kubeconfig_in(folder.path());
        let mut command = Command::new(nico);
        command
            .args(["apiserver", "--listen", "127.0.0.1:0", "--kubeconfig-out"])
            .arg(&kubeconfig);
        let serves = |line: &str| line.starts_with("serving").then_some(());
        let (process, ()) = spawn(command, serves).await?;
        let kubeconfig = Kubeconfig::read_from(&kubeconfig)?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        Ok(Self {
            folder,
            client: Client::try_from(config)?,
            _process: process,
        })
    }

    /// The file by which it is found.
    pub fn kubeconfig(&self) -> PathBuf {
        kubeconfig_in(self.folder.path())
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A folder for what else belongs to the measurement.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn kubeconfig_in(folder: &Path) -> PathBuf {
    folder.join("kubeconfig")
}
