//! `nico mesh`: pod CIDRs as egress rules of Netmaker.

mod settings;
mod table;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, Client, Config};
use nico_mesh::netmaker::Netmaker;
use nico_mesh::plan::Plan;
use nico_mesh::{Mesh, Metrics, Parts};
use nico_runtime::context::Context;
use nico_runtime::events::Events;
use nico_runtime::leader::{Candidate, Fence, Timing};
use nico_runtime::server::{self, Readiness};
use nico_runtime::shutdown::{self, SecondSignal};
use prometheus_client::registry::Registry;
use tracing::info;

use crate::ask::is_meant;
use crate::connection;
use crate::screen::Screen;
use settings::{Common, DryRun, Run};

/// The program's name in Events.
const REPORTER: &str = "kaput-not";

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Keep the egress rules of this cluster.
    Run(Box<Run>),
    /// Show what would change, and change nothing.
    Plan(Box<Common>),
    /// Show every egress rule of this cluster.
    List(Box<Common>),
    /// Remove every egress rule of this cluster. Stop `nico mesh run` before, which would make
    /// them again.
    Cleanup(Box<Cleanup>),
}

#[derive(Args)]
struct Cleanup {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    dry_run: DryRun,
    /// Ask nothing.
    #[arg(long)]
    yes: bool,
}

/// Registers every metric of the mesh.
pub(crate) fn register_metrics(registry: &mut Registry) -> Metrics {
    Metrics::register(registry)
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(8)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match arguments.command {
            Command::Run(arguments) => keep(*arguments).await,
            Command::Plan(common) => plan(&common).await,
            Command::List(common) => list(&common).await,
            Command::Cleanup(arguments) => cleanup(&arguments).await,
        }
    })
}

async fn keep(arguments: Run) -> anyhow::Result<()> {
    arguments.process.start_log()?;
    let stop = shutdown::on_signal(SecondSignal::EndsAtOnce)?;
    let settings = arguments.settings()?;
    let election = arguments.election()?;
    let mut registry = Registry::default();
    let metrics = register_metrics(&mut registry);
    let netmaker = netmaker(&arguments.common, metrics.clone())?;
    let client = kubernetes().await?;
    check_selector(&client, settings.selector.as_deref()).await?;

    let readiness = Readiness::default();
    let metrics_address =
        server::serve_metrics(arguments.process.metrics_port, registry, stop.clone()).await?;
    let probes_address = server::serve_probes(
        arguments.process.health_check_port,
        readiness.clone(),
        stop.clone(),
    )
    .await?;
    info!(%metrics_address, %probes_address, cluster = settings.cluster.name(), "started");

    let context = Context {
        events: Events::new(client.clone(), REPORTER),
        client: client.clone(),
        shutdown: stop.child_token(),
        namespace: election.namespace.clone(),
    };
    let mut parts = Parts {
        netmaker,
        settings,
        fence: Fence::open(),
        metrics: metrics.clone(),
        readiness: readiness.clone(),
    };
    if !election.is_enabled {
        metrics.leads(true);
        return Ok(nico_mesh::run(context, parts).await?);
    }
    // A stand-by that waits is as ready as it gets.
    readiness.set(true);
    let identity = arguments.process.identity();
    let timing = Timing::default();
    let candidate = Candidate::new(client, &election.namespace, &election.id, &identity, timing);
    let Some(leadership) = candidate.lead(&stop).await else {
        return Ok(());
    };
    metrics.leads(true);
    readiness.set(false);
    parts.fence = leadership.fence();
    let lost = leadership.lost();
    tokio::select! {
        // Somebody else leads now: whatever is in hand must end at once.
        () = lost.cancelled() => bail!("the lease {} was lost", election.id),
        result = nico_mesh::run(context, parts) => result?,
    }
    leadership.release().await;
    metrics.leads(false);
    info!("ended");
    Ok(())
}

async fn plan(common: &Common) -> anyhow::Result<()> {
    let plan = look(common).await?;
    table::print_plan(&Screen::new(), &plan)?;
    Ok(())
}

async fn list(common: &Common) -> anyhow::Result<()> {
    let plan = look(common).await?;
    table::print_rules(&Screen::new(), &plan)?;
    Ok(())
}

async fn look(common: &Common) -> anyhow::Result<Plan> {
    let settings = common.settings()?;
    let netmaker = netmaker(common, Metrics::default())?;
    let client = kubernetes().await?;
    check_selector(&client, settings.selector.as_deref()).await?;
    Ok(Mesh::new(netmaker, settings).plan(client).await?)
}

async fn cleanup(arguments: &Cleanup) -> anyhow::Result<()> {
    let settings = arguments.common.settings()?;
    let mesh = Mesh::new(netmaker(&arguments.common, Metrics::default())?, settings);
    let screen = Screen::new();
    let rules = mesh.rules().await?;
    table::print_deletions(&screen, &rules)?;
    if rules.is_empty() {
        return Ok(());
    }
    if arguments.dry_run.is_wanted {
        screen.say("dry run: nothing is removed")?;
        return Ok(());
    }
    if !arguments.yes && !is_meant("Remove them?")? {
        bail!("nothing was removed");
    }
    let removed = mesh.remove(rules).await;
    table::print_removed(&screen, &removed)?;
    if !removed.failed.is_empty() {
        bail!("{} rules could not be removed", removed.failed.len());
    }
    Ok(())
}

fn netmaker(common: &Common, metrics: Metrics) -> anyhow::Result<Netmaker> {
    Netmaker::new(&common.client()?, metrics).context("cannot make a client of Netmaker")
}

/// Asks the API server whether it understands the selector: who waits for Nodes that no list gives
/// would wait for ever. A server that does not answer is waited for elsewhere.
async fn check_selector(client: &Client, selector: Option<&str>) -> anyhow::Result<()> {
    let Some(selector) = selector else {
        return Ok(());
    };
    let nodes: Api<Node> = Api::all(client.clone());
    let one = ListParams::default().labels(selector).limit(1);
    match nodes.list_metadata(&one).await {
        Err(kube::Error::Api(status)) if status.code == 400 => {
            bail!("MESH_NODE_SELECTOR cannot be used: {}", status.message)
        }
        _ => Ok(()),
    }
}

/// `KUBECONFIG` if it is set, else the cluster that this runs in, else the usual kubeconfig.
async fn kubernetes() -> anyhow::Result<Client> {
    let is_set = std::env::var_os("KUBECONFIG").is_some_and(|files| !files.is_empty());
    let config = match Config::incluster() {
        Ok(config) if !is_set => config,
        _ => Config::from_kubeconfig(&kube::config::KubeConfigOptions::default())
            .await
            .context("cannot find a Kubernetes API: set KUBECONFIG, or run in a cluster")?,
    };
    connection::client(config)
}
