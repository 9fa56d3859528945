//! Rollouts of a cluster whose three control planes share a real etcd, one member on each, while
//! somebody writes and reads through the kubeconfig all the time.

mod balancer;
mod leader;
mod user;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use nico_api::kubernetes_cluster::Phase;
use nico_apiserver::Server;
use nico_e2e::{Lab, condition, eventually, skipped};
use nico_sandbox::{FIVE_HOSTS, tools};

use balancer::Balancer;
use user::User;

const CONTROL_PLANES: [&str; 3] = ["cp-01", "cp-02", "cp-03"];

/// Without a leader for longer than this, an etcd has not just elected one. Its election takes a
/// second or two; the rest is for a machine with much to do.
const ELECTION: Duration = Duration::from_secs(10);

/// The hosts, a cluster that is Ready, and a client with the kubeconfig of its Secret.
struct World {
    balancer: Balancer,
    user: Client,
}

/// Starts a lab whose clusters share an etcd; none where there is no etcd.
async fn lab() -> Result<Option<Lab>> {
    if skipped() {
        return Ok(None);
    }
    if std::process::Command::new("etcd")
        .arg("--version")
        .output()
        .is_err()
    {
        tools::skip("etcd is not installed; on Debian: apt-get install etcd-server");
        return Ok(None);
    }
    let lab = Lab::start(FIVE_HOSTS, &[]).await?;
    let authority = tempfile::tempdir()?;
    Server::builder()
        .certificates(authority.path())
        .start()
        .await?;
    let repository = lab.stack.sandbox().repository();
    repository.share_etcd(authority.path())?;
    repository.commit("Keep all objects in one etcd")?;
    Ok(Some(lab))
}

impl World {
    async fn create(lab: &Lab) -> Result<Self> {
        let planes = control_planes(lab)?;
        let sockets = planes.iter().map(|plane| SocketAddr::from((*plane, 6443)));
        let gateway = lab.stack.sandbox().network().gateway();
        let balancer = Balancer::start(gateway, sockets.collect()).await?;
        lab.create_machines().await?;
        let endpoint = format!(
            "spec:\n  controlPlaneEndpoint:\n    host: {}\n    port: {}\n",
            balancer.address().ip(),
            balancer.address().port()
        );
        lab.apply(&lab.cluster("home").replace("spec:\n", &endpoint))
            .await?;
        condition(&lab.clusters(), "home", "Ready", "True").await?;
        let secret = lab.secrets().get("home-kubeconfig").await?;
        let kubeconfig = secret.data.unwrap_or_default().remove("kubeconfig");
        let kubeconfig = String::from_utf8(kubeconfig.context("no kubeconfig")?.0)?;
        let kubeconfig = Kubeconfig::from_yaml(&kubeconfig)?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        ensure!(
            config.cluster_url.port_u16() == Some(balancer.address().port()),
            "{}",
            config.cluster_url
        );
        Ok(Self {
            balancer,
            user: Client::try_from(config)?,
        })
    }
}

fn control_planes(lab: &Lab) -> Result<Vec<Ipv4Addr>> {
    let sandbox = lab.stack.sandbox();
    CONTROL_PLANES
        .iter()
        .map(|name| Ok(sandbox.host(name).context("no such host")?.address()))
        .collect()
}

/// Follows a rollout to `commit`; gives the machines in the order in which they got there.
async fn follow(lab: &Lab, commit: &str) -> Result<Vec<String>> {
    let mut order: Vec<String> = Vec::new();
    eventually("the cluster runs the new commit", async || {
        let configurations = lab.configurations().list(&ListParams::default()).await?;
        for configuration in configurations {
            let machine = configuration.spec.machine_ref.name.clone();
            let applied = configuration
                .status
                .and_then(|status| status.applied_commit);
            if applied.as_deref() == Some(commit) && !order.contains(&machine) {
                order.push(machine);
            }
        }
        let status = lab.clusters().get("home").await?.status.unwrap_or_default();
        let runs = status
            .revision
            .is_some_and(|revision| revision.commit == commit);
        Ok((runs && status.phase == Some(Phase::Ready)).then_some(()))
    })
    .await?;
    Ok(order)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_rolls_five_nodes_and_no_write_is_lost() -> Result<()> {
    let Some(mut lab) = lab().await? else {
        return Ok(());
    };
    lab.run(async |lab| {
        let world = World::create(lab).await?;
        let leader = leader::Watch::start(&control_planes(lab)?)?;
        let user = User::start(world.user.clone());

        let repository = lab.stack.sandbox().repository();
        repository.write("kubernetes-version.nix", "\"1.33.1+k3s1\"\n")?;
        let commit = repository.commit("Raise the version of Kubernetes")?;
        let order = follow(lab, &commit).await?;

        let seen = user.stop().await?;
        let without_leader = leader.stop().await?;
        nico_e2e::say(&format!(
            "{} writes, longest wait {:?}, without a leader for {without_leader:?}, failed: {:#?}",
            seen.written.len(),
            seen.longest_wait,
            seen.failed,
        ));
        ensure!(seen.lost.is_empty(), "lost: {:?}", seen.lost);
        // One request is under way at a time, and each control plane goes down once.
        ensure!(
            seen.failed.len() <= CONTROL_PLANES.len(),
            "{:#?}",
            seen.failed
        );
        ensure!(
            without_leader < ELECTION,
            "no leader for {without_leader:?}"
        );
        // The version of Kubernetes is raised: control planes come first, one after the other.
        ensure!(order.len() == 5, "{order:?}");
        ensure!(
            order[..3].iter().all(|name| name.starts_with("cp-")),
            "{order:?}"
        );
        drop(world.balancer);

        lab.kubectl(&["delete", "kcluster", "home", "--timeout=120s"])
            .await?;
        lab.assert_nothing_is_left().await
    })
    .await
}
