//! Rollouts of a cluster whose three control planes share a real etcd, one member on each, while
//! somebody writes and reads through the kubeconfig all the time.

mod balancer;
mod etcd;
mod user;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use nico_api::kubernetes_cluster::{Phase, conditions};
use nico_apiserver::Server;
use nico_e2e::{Lab, condition, eventually, reason, skipped_without};
use nico_sandbox::FIVE_HOSTS;
use nico_sandbox::host::Host;
use serde_json::json;

use balancer::Balancer;
use user::User;

const CONTROL_PLANES: [&str; 3] = ["cp-01", "cp-02", "cp-03"];

/// Without a leader for longer than this, an etcd has not just elected one. Its election takes a
/// second or two; the rest is for a machine with much to do.
const ELECTION: Duration = Duration::from_secs(10);

/// A cluster that is Ready.
struct World {
    /// What the kubeconfig of its Secret leads to.
    _balancer: Balancer,
    /// A client with that kubeconfig.
    user: Client,
}

/// Starts a lab whose clusters share an etcd; none where there is no etcd.
async fn lab() -> Result<Option<Lab>> {
    if skipped_without(&[("etcd", "etcd-server")]) {
        return Ok(None);
    }
    // There are many pushes, and each is to be seen soon.
    let environment = [("NIO_CONFIG_RECONCILE_INTERVAL", "2s")];
    let lab = Lab::start(FIVE_HOSTS, &environment).await?;
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
        etcd::ensure_one(&planes).await?;
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
            _balancer: balancer,
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
        for machine in applied(lab, commit).await? {
            if !order.contains(&machine) {
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
        let leader = etcd::Watch::start(&control_planes(lab)?)?;
        let user = User::start(world.user.clone());

        let commit = push_version(lab, "1.33.1+k3s1")?;
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
        // One request is under way at a time, and each control plane that goes down may take it
        // along.
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

        lab.kubectl(&["delete", "kcluster", "home", "--timeout=120s"])
            .await?;
        lab.assert_nothing_is_left().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_stops_where_going_on_would_do_harm_and_says_why() -> Result<()> {
    let Some(mut lab) = lab().await? else {
        return Ok(());
    };
    lab.run(async |lab| {
        let world = World::create(lab).await?;
        a_lost_member_holds_up_the_control_planes(lab, &world.user).await?;
        a_bad_commit_stops_at_the_first_node(lab).await?;
        a_budget_that_holds_up_a_drain_is_named(lab, &world.user).await?;
        a_skip_of_two_minor_versions_is_refused(lab).await?;
        a_deletion_in_the_middle_frees_everything(lab).await
    })
    .await
}

/// Two of three members are a quorum, and none of those may go.
async fn a_lost_member_holds_up_the_control_planes(lab: &Lab, user: &Client) -> Result<()> {
    let host = lab.stack.sandbox().host("cp-03").context("no cp-03")?;
    // In k3s, server and etcd are one process.
    for service in ["k3s-server", "etcd"] {
        let end = format!("read -r pid start </run/services/{service}/pid && kill -TERM -$pid");
        on_host(host, &end)?;
    }
    let nodes: Api<Node> = Api::all(user.clone());
    eventually(
        "the Node of cp-03 says that its member is lost",
        async || {
            let status = nodes.get("cp-03").await?.status.unwrap_or_default();
            let mut conditions = status.conditions.into_iter().flatten();
            let is_lost = conditions
                .any(|condition| condition.type_ == "EtcdIsVoter" && condition.status == "False");
            Ok(is_lost.then_some(()))
        },
    )
    .await?;
    let commit = push_version(lab, "1.33.1+k3s1")?;
    let rolling = rolling(lab, "ClusterNotHealthy").await?;
    ensure!(
        rolling.contains("the etcd member of cp-03 is not healthy"),
        "{rolling}"
    );
    ensure!(
        applied(lab, &commit).await?.is_empty(),
        "a node was changed"
    );

    on_host(
        host,
        "/run/current-system/bin/switch-to-configuration switch",
    )?;
    follow(lab, &commit).await.map(drop)
}

/// What does not start is taken back, and nobody else gets it.
async fn a_bad_commit_stops_at_the_first_node(lab: &Lab) -> Result<()> {
    let begun = |host: &Host| -> Result<usize> {
        let journal = on_host(host, "cat /var/log/activations")?;
        Ok(journal
            .lines()
            .filter(|line| line.starts_with("begin"))
            .count())
    };
    let hosts = lab.stack.sandbox().hosts();
    let before = hosts.iter().map(begun).collect::<Result<Vec<usize>>>()?;
    let repository = lab.stack.sandbox().repository();
    repository.write(
        "k3s.sh",
        "#!/bin/sh\necho 'no such flag: --server' >&2\nexit 1\n",
    )?;
    let commit = repository.commit("Change how k3s is started")?;
    let failed = rolling(lab, "NodeFailed").await?;
    ensure!(
        applied(lab, &commit).await?.is_empty(),
        "the bad commit runs somewhere"
    );
    let mut tried = Vec::new();
    for (host, before) in hosts.iter().zip(before) {
        if begun(host)? > before {
            tried.push(host.name());
        }
        on_host(host, "/run/services/k3s-agent/unit/ready")?;
    }
    ensure!(
        tried.len() == 1 && failed.contains(tried[0]),
        "{tried:?}: {failed}"
    );

    repository.restore("k3s.sh")?;
    let commit = repository.commit("Start k3s as before")?;
    follow(lab, &commit).await.map(drop)
}

async fn a_budget_that_holds_up_a_drain_is_named(lab: &Lab, user: &Client) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(user.clone(), "default");
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(user.clone(), "default");
    for worker in ["w-01", "w-02"] {
        let name = format!("on-{worker}");
        let pod = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"app": "precious"}},
            "spec": {"nodeName": worker, "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "main", "image": "registry.example/precious"}]},
        }))?;
        pods.create(&PostParams::default(), &pod).await?;
        let running = json!({"status": {"phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}]}});
        pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(running))
            .await?;
    }
    let budget = serde_json::from_value(json!({
        "metadata": {"name": "precious"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "precious"}}},
    }))?;
    budgets.create(&PostParams::default(), &budget).await?;

    let commit = push_version(lab, "1.33.2+k3s1")?;
    let blocked = rolling(lab, "DrainBlocked").await?;
    ensure!(blocked.contains("precious"), "{blocked}");

    budgets.delete("precious", &DeleteParams::default()).await?;
    follow(lab, &commit).await.map(drop)
}

/// An API server goes up one minor version at a time. The next commit, which does, goes on.
async fn a_skip_of_two_minor_versions_is_refused(lab: &Lab) -> Result<()> {
    let commit = push_version(lab, "1.35.0+k3s1")?;
    let refused = rolling(lab, "VersionChangeRefused").await?;
    ensure!(
        refused.contains("from Kubernetes 1.33.2 to 1.35.0, more than one minor version"),
        "{refused}"
    );
    ensure!(
        applied(lab, &commit).await?.is_empty(),
        "a node was changed"
    );
    Ok(())
}

async fn a_deletion_in_the_middle_frees_everything(lab: &Lab) -> Result<()> {
    let commit = push_version(lab, "1.33.3+k3s1")?;
    eventually("the first node runs the new commit", async || {
        Ok((!applied(lab, &commit).await?.is_empty()).then_some(()))
    })
    .await?;
    lab.kubectl(&["delete", "kcluster", "home", "--timeout=120s"])
        .await?;
    lab.assert_nothing_is_left().await
}

fn push_version(lab: &Lab, version: &str) -> Result<String> {
    let repository = lab.stack.sandbox().repository();
    repository.write("kubernetes-version.nix", &format!("\"{version}\"\n"))?;
    Ok(repository.commit(&format!("Run Kubernetes {version}"))?)
}

/// Waits until the rollout is where `why` says; gives the message.
async fn rolling(lab: &Lab, why: &str) -> Result<String> {
    let found = reason(&lab.clusters(), "home", conditions::ROLLING_OUT, why).await?;
    Ok(found.message)
}

/// The machines that run `commit`.
async fn applied(lab: &Lab, commit: &str) -> Result<Vec<String>> {
    let configurations = lab.configurations().list(&ListParams::default()).await?;
    Ok(configurations
        .into_iter()
        .filter(|configuration| {
            let status = configuration.status.as_ref();
            status.and_then(|status| status.applied_commit.as_deref()) == Some(commit)
        })
        .map(|configuration| configuration.spec.machine_ref.name)
        .collect())
}

fn on_host(host: &Host, command: &str) -> Result<String> {
    let output = tokio::task::block_in_place(|| host.run(command))?;
    ensure!(
        output.status.success(),
        "{}: {command}: {}",
        host.name(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
