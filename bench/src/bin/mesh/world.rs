//! What surrounds the mesh: an API server with Nodes, and a Netmaker with their hosts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use nico_bench::api_server::ApiServer;
use nico_bench::nodes::{name, node};
use nico_sandbox::netmaker::NetmakerServer;

pub const USER: &str = "bench";
pub const PASSWORD: &str = "bench-password";
pub const NETWORK: &str = "mesh";

/// Requests under way while objects are created.
const CREATORS: usize = 32;

/// An API server and a Netmaker. Ended when dropped.
pub struct World {
    api_server: ApiServer,
    nodes: Api<Node>,
    pub netmaker: Arc<NetmakerServer>,
}

/// A Netmaker with an account and a network.
pub async fn netmaker() -> anyhow::Result<NetmakerServer> {
    let netmaker = NetmakerServer::start(([127, 0, 0, 1], 0).into()).await?;
    netmaker.add_account(USER, PASSWORD);
    netmaker.add_network(NETWORK, "100.64.0.0/16");
    Ok(netmaker)
}

impl World {
    /// Starts both, with so many Nodes; `more` have hosts, and no Nodes yet.
    pub async fn start(nico: &Path, number: usize, more: usize) -> anyhow::Result<Self> {
        let netmaker = netmaker().await?;
        for number in 0..number + more {
            netmaker.add_host(&name(number), &[NETWORK]);
        }
        let api_server = ApiServer::start(nico).await?;
        let world = Self {
            nodes: Api::all(api_server.client()),
            api_server,
            netmaker: Arc::new(netmaker),
        };
        stream::iter(0..number)
            .map(|number| world.create_node(number))
            .buffer_unordered(CREATORS)
            .try_collect::<()>()
            .await?;
        Ok(world)
    }

    /// The file by which the API server is found.
    pub fn kubeconfig(&self) -> PathBuf {
        self.api_server.kubeconfig()
    }

    /// The file for what the process that is measured says.
    pub fn log(&self) -> PathBuf {
        self.api_server.folder().join("log")
    }

    /// Creates a Node.
    pub async fn create_node(&self, number: usize) -> anyhow::Result<()> {
        let node: Node = serde_json::from_slice(&node(number, 1))?;
        self.nodes.create(&PostParams::default(), &node).await?;
        Ok(())
    }

    /// Removes a Node.
    pub async fn remove_node(&self, number: usize) -> anyhow::Result<()> {
        let parameters = DeleteParams::default();
        self.nodes.delete(&name(number), &parameters).await?;
        Ok(())
    }

    /// When the writes were done that came since the requests were forgotten.
    pub fn writes(&self) -> Vec<Instant> {
        let seen = self.netmaker.seen();
        let writes = seen.iter().filter(|seen| seen.is_write());
        writes.map(|seen| seen.at).collect()
    }
}
