//! Two processes `nico mesh run`, of which the leader is killed, or stopped for longer than its
//! Lease lasts: never do two write in one interval, and the other takes over.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::PostParams;
use kube::{Api, Client};
use nico_e2e::{ApiServer, eventually, nico_binary};
use nico_sandbox::netmaker::{NetmakerServer, Seen};
use serde_json::json;

const PASSWORD: &str = "a-good-password";
/// What a Lease lasts, as in Kubernetes' own controllers.
const LEASE: Duration = Duration::from_secs(15);

/// A replica, known to Netmaker by an account of its own.
struct Replica {
    process: Child,
    name: &'static str,
}

impl Replica {
    fn start(name: &'static str, kubeconfig: &Path, netmaker: &NetmakerServer) -> Result<Self> {
        netmaker.add_account(name, PASSWORD);
        let process = Command::new(nico_binary()?)
            .args([
                "mesh",
                "run",
                "--metrics-port",
                "0",
                "--health-check-port",
                "0",
            ])
            .env("KUBECONFIG", kubeconfig)
            .env("NETMAKER_API_URL", netmaker.url())
            .env("NETMAKER_USERNAME", name)
            .env("NETMAKER_PASSWORD", PASSWORD)
            .env("K8S_CLUSTER_NAME", "test")
            .env("LEADER_ELECTION_ENABLED", "true")
            .env("LEADER_ELECTION_NAMESPACE", "default")
            .env("NICO_IDENTITY", name)
            .env("MESH_RESYNC_PERIOD", "1s")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { process, name })
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let process = self.process.id().to_string();
        let sent = Command::new("kill").args([signal, &process]).status()?;
        ensure!(sent.success(), "kill ended with {sent}");
        Ok(())
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

async fn holder(client: &Client) -> Result<String> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), "default");
    let lease = leases.get("kaput-not").await?;
    let holder = lease.spec.and_then(|spec| spec.holder_identity);
    holder.context("nobody holds the Lease")
}

async fn add_node(client: &Client, netmaker: &NetmakerServer, number: usize) -> Result<()> {
    let name = format!("w-{number}");
    netmaker.add_host(&name, &["net"]);
    let cidr = format!("10.42.{number}.0/24");
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"podCIDR": cidr, "podCIDRs": [cidr]},
    }))?;
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.create(&PostParams::default(), &node).await?;
    Ok(())
}

async fn rules(netmaker: &NetmakerServer, count: usize) -> Result<()> {
    eventually(&format!("{count} rules"), async || {
        Ok((netmaker.rules("net").len() == count).then_some(()))
    })
    .await
}

/// Writes of one account, then of the other, and never back.
fn ensure_one_after_the_other(writes: &[Seen], first: &str, second: &str) -> Result<()> {
    let mut has_changed = false;
    for write in writes {
        match &write.user {
            user if user == first && !has_changed => {}
            user if user == second => has_changed = true,
            user => bail!("{user} writes after {second} did"),
        }
    }
    Ok(())
}

fn writes(netmaker: &NetmakerServer) -> Vec<Seen> {
    netmaker.seen().into_iter().filter(Seen::is_write).collect()
}

struct Lab {
    _server: ApiServer,
    client: Client,
    netmaker: NetmakerServer,
    leader: Replica,
    other: Replica,
}

/// Two replicas, of which one leads and has written.
async fn lab() -> Result<Lab> {
    let server = ApiServer::start().await?;
    let client = server.administrator().await?;
    let netmaker = NetmakerServer::start(([127, 0, 0, 1], 0).into()).await?;
    netmaker.add_network("net", "10.100.0.0/16");
    add_node(&client, &netmaker, 1).await?;
    let first = Replica::start("replica-a", server.kubeconfig(), &netmaker)?;
    let second = Replica::start("replica-b", server.kubeconfig(), &netmaker)?;
    rules(&netmaker, 1).await?;
    let (leader, other) = if holder(&client).await? == first.name {
        (first, second)
    } else {
        (second, first)
    };
    Ok(Lab {
        _server: server,
        client,
        netmaker,
        leader,
        other,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_is_succeeded_within_the_lease() -> Result<()> {
    let lab = lab().await?;
    lab.leader.signal("-KILL")?;
    let killed = Instant::now();
    add_node(&lab.client, &lab.netmaker, 2).await?;
    rules(&lab.netmaker, 2).await?;
    // The Lease, two looks at it, and what a busy machine takes.
    ensure!(
        killed.elapsed() < LEASE + Duration::from_secs(45),
        "it took {:?}",
        killed.elapsed()
    );
    ensure_one_after_the_other(&writes(&lab.netmaker), lab.leader.name, lab.other.name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_stopped_writes_no_more_when_it_goes_on() -> Result<()> {
    let lab = lab().await?;
    lab.leader.signal("-STOP")?;
    // It stops with work to do.
    add_node(&lab.client, &lab.netmaker, 2).await?;
    rules(&lab.netmaker, 2).await?;
    ensure!(holder(&lab.client).await? == lab.other.name);
    lab.leader.signal("-CONT")?;
    for number in 3..8 {
        add_node(&lab.client, &lab.netmaker, number).await?;
        rules(&lab.netmaker, number).await?;
    }
    let written = writes(&lab.netmaker);
    ensure_one_after_the_other(&written, lab.leader.name, lab.other.name)?;
    ensure!(
        written.len() == 7,
        "each rule is written once: {written:#?}"
    );
    Ok(())
}
