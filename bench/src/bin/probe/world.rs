//! What surrounds the operator: the API server and the machines, each a process of its own.

use std::path::{Path, PathBuf};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt};
use nico_api::references::SecretReference;
use nico_api::{Machine, MachineSpec};
use nico_bench::api_server::ApiServer;
use nico_bench::spawn::{PATIENCE, spawn};
use nico_ssh::test_server::{key, pem};
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::hosts::{self, USER_KEY};

/// Requests under way while objects are created.
const CREATORS: usize = 32;

const SECRET: &str = "key";

/// A running API server with CRDs and a Secret, and running hosts. Ended when dropped.
pub struct World {
    api_server: ApiServer,
    port: u16,
    _hosts: Child,
}

impl World {
    /// Starts everything; `answering` hosts and `silent` ones.
    pub async fn start(nico: &Path, answering: usize, silent: usize) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["hosts", &answering.to_string(), &silent.to_string()]);
        let (hosts, port) = spawn(command, |line| line.parse().ok()).await?;

        let world = Self {
            api_server: ApiServer::start(nico).await?,
            port,
            _hosts: hosts,
        };
        world.prepare().await?;
        Ok(world)
    }

    /// The file by which the API server is found.
    pub fn kubeconfig(&self) -> PathBuf {
        self.api_server.kubeconfig()
    }

    /// A folder for the operator.
    pub fn folder(&self) -> PathBuf {
        self.api_server.folder().join("operator")
    }

    async fn prepare(&self) -> anyhow::Result<()> {
        let crds: Api<CustomResourceDefinition> = Api::all(self.api_server.client());
        for (_, crd) in nico_api::crds::all() {
            crds.create(&PostParams::default(), &crd).await?;
        }
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": SECRET},
            "stringData": {"ssh-privatekey": pem(&key(USER_KEY))},
        }))?;
        Api::default_namespaced(self.api_server.client())
            .create(&PostParams::default(), &secret)
            .await?;
        for (_, crd) in nico_api::crds::all() {
            let name = crd.name_any();
            let served = await_condition(crds.clone(), &name, is_crd_established());
            let served = timeout(PATIENCE, served).await;
            served.with_context(|| format!("{name} is not served"))??;
        }
        Ok(())
    }

    /// Creates this many Machines.
    pub async fn create_machines(&self, number: usize) -> anyhow::Result<()> {
        let api: Api<Machine> = Api::default_namespaced(self.api_server.client());
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
