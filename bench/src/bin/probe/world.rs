//! What surrounds the operator: the API server and the machines, each a process of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use nico_api::references::SecretReference;
use nico_api::{Machine, MachineSpec};
use nico_bench::spawn::{PATIENCE, spawn};
use nico_ssh::test_server::{key, pem};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::hosts::{self, USER_KEY};

/// Requests under way while objects are created.
const CREATORS: usize = 32;

const SECRET: &str = "key";

/// A running API server with CRDs and a Secret, and running hosts. Ended when dropped.
pub struct World {
    folder: TempDir,
    client: Client,
    port: u16,
    _processes: [Child; 2],
}

impl World {
    /// Starts everything; `answering` hosts and `silent` ones.
    pub async fn start(nico: &Path, answering: usize, silent: usize) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["hosts", &answering.to_string(), &silent.to_string()]);
        let (hosts, port) = spawn(command, |line| line.parse().ok()).await?;

        let folder = tempfile::tempdir()?;
        let kubeconfig = folder.path().join("kubeconfig");
        let mut command = Command::new(nico);
        command
            .args(["apiserver", "--listen", "127.0.0.1:0", "--kubeconfig-out"])
            .arg(&kubeconfig);
        let serves = |line: &str| line.starts_with("serving").then_some(());
        let (api, ()) = spawn(command, serves).await?;
        let kubeconfig = Kubeconfig::read_from(&kubeconfig)?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        let client = Client::try_from(config)?;
        let world = Self {
            folder,
            client,
            port,
            _processes: [hosts, api],
        };
        world.prepare().await?;
        Ok(world)
    }

    /// The file by which the API server is found.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// A folder for the operator.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join("operator")
    }

    async fn prepare(&self) -> anyhow::Result<()> {
        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for (_, crd) in nico_api::crds::all() {
            crds.create(&PostParams::default(), &crd).await?;
        }
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": SECRET},
            "stringData": {"ssh-privatekey": pem(&key(USER_KEY))},
        }))?;
        Api::default_namespaced(self.client.clone())
            .create(&PostParams::default(), &secret)
            .await?;
        // The CRDs are served as soon as they are established.
        let machines: Api<Machine> = Api::default_namespaced(self.client.clone());
        let served = async {
            while machines
                .list(&kube::api::ListParams::default())
                .await
                .is_err()
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, served)
            .await
            .context("Machines are not served")
    }

    /// Creates this many Machines.
    pub async fn create_machines(&self, number: usize) -> anyhow::Result<()> {
        let api: Api<Machine> = Api::default_namespaced(self.client.clone());
        stream::iter(0..number)
            .map(|number| {
                let api = api.clone();
                let machine = Machine::new(&format!("machine-{number:05}"), self.spec(number));
                async move {
                    api.create(&PostParams::default(), &machine)
                        .await
                        .map(|_| ())
                }
            })
            .buffer_unordered(CREATORS)
            .try_collect::<()>()
            .await
            .context("cannot create the Machines")
    }

    fn spec(&self, number: usize) -> MachineSpec {
        MachineSpec {
            ip_address: Some(hosts::address(number).to_string()),
            ssh_user: "root".to_owned(),
            ssh_port: self.port.into(),
            ssh_key_secret_ref: Some(SecretReference {
                name: SECRET.to_owned(),
                namespace: None,
            }),
            ..MachineSpec::default()
        }
    }
}
