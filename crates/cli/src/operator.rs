//! `nico operator`: the controllers of machines and clusters in one process.

mod kinds;
mod settings;

use anyhow::{Context as _, bail};
use kube::Config;
use nico_runtime::context::Context;
use nico_runtime::events::Events;
use nico_runtime::leader::{Candidate, Timing};
use nico_runtime::server::{self, Readiness};
use nico_runtime::shutdown::{self, SecondSignal};
use prometheus_client::registry::Registry;
use tracing::info;

use crate::connection;
pub(crate) use settings::Arguments;

const LEASE: &str = "nico-operator";

/// The metrics of both layers.
pub(crate) struct Metrics {
    machines: nico_machines::Metrics,
    clusters: nico_clusters::Metrics,
}

/// Registers every metric that the operator has.
pub(crate) fn register_metrics(registry: &mut Registry) -> Metrics {
    Metrics {
        machines: nico_machines::Metrics::register(registry),
        clusters: nico_clusters::Metrics::register(registry),
    }
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    arguments.process.start_log()?;
    tokio::runtime::Runtime::new()?.block_on(operate(arguments))
}

async fn operate(arguments: Arguments) -> anyhow::Result<()> {
    let stop = shutdown::on_signal(SecondSignal::EndsAtOnce)?;
    let config = Config::infer()
        .await
        .context("cannot find a Kubernetes API: set KUBECONFIG, or run in a cluster")?;
    let namespace = arguments
        .namespace
        .clone()
        .unwrap_or(config.default_namespace.clone());
    let client = connection::client(config)?;

    let mut registry = Registry::default();
    let metrics = register_metrics(&mut registry);
    let readiness = Readiness::default();
    let metrics_address =
        server::serve_metrics(arguments.process.metrics_port, registry, stop.clone()).await?;
    let probes_address = server::serve_probes(
        arguments.process.health_check_port,
        readiness.clone(),
        stop.clone(),
    )
    .await?;
    info!(%metrics_address, %probes_address, namespace, "started");
    readiness.set(true);

    let identity = arguments.process.identity();
    let candidate = Candidate::new(
        client.clone(),
        &namespace,
        LEASE,
        &identity,
        Timing::default(),
    );
    let Some(leadership) = candidate.lead(&stop).await else {
        return Ok(());
    };
    let lost = leadership.lost();
    let context = Context {
        events: Events::new(client.clone(), "nico-operator"),
        client,
        shutdown: stop.child_token(),
        namespace,
    };
    let controllers = control(context, arguments, metrics);
    tokio::select! {
        // Somebody else leads now: whatever is in hand must end at once.
        () = lost.cancelled() => bail!("the lease {LEASE} was lost"),
        result = controllers => result?,
    }
    leadership.release().await;
    info!("ended");
    Ok(())
}

/// Runs until shutdown, or until a controller cannot go on.
async fn control(context: Context, arguments: Arguments, metrics: Metrics) -> anyhow::Result<()> {
    kinds::wait_until_installed(&context.client, &context.shutdown).await;
    let machines = nico_machines::run(context.clone(), arguments.machines(), metrics.machines);
    let clusters = nico_clusters::run(context, arguments.clusters(), metrics.clusters);
    tokio::try_join!(
        async { machines.await.context("the machine controllers ended") },
        async { clusters.await.context("the cluster controller ended") },
    )?;
    Ok(())
}
