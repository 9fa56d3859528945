//! `nico status`: clusters, their machines and configurations, as a tree.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use futures::{FutureExt, StreamExt};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use nico_clusters::report::snapshot::{Scope, Snapshot};
use nico_clusters::report::status::{self, StatusReport};
use nico_clusters::report::{changes, text};
use nico_runtime::shutdown::{self, SecondSignal};

use crate::NOT_THERE_YET;
use crate::connection::{Connection, Management, Output, cluster_name};
use crate::live::{Live, Wish};
use crate::screen::Screen;
use crate::watch;

/// How often ages are drawn anew.
const TICK: Duration = Duration::from_secs(1);

/// Show clusters with their machines and configurations, and what they wait for.
///
/// Ends with 0 when every cluster that is shown is Ready, with 3 when one is not, with 1 when
/// the clusters cannot be read or the named one does not exist, and with 2 when an argument is
/// wrong. With --watch: with 0 on q or Ctrl-C. What may not be read is named and left out.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Name of a cluster; all clusters of the namespace without it.
    #[arg(value_name = "CLUSTER", value_parser = cluster_name)]
    cluster: Option<String>,
    /// Show the clusters of all namespaces.
    #[arg(long, short = 'A', conflicts_with_all = ["cluster", "namespace"])]
    all_namespaces: bool,
    /// Go on until q or Ctrl-C: drawn again in place on a terminal, else a line for each change, with
    /// `--output json` a report on one line after each change.
    #[arg(long, short)]
    watch: bool,
    /// How the answer is written.
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let management = arguments.connection.open().await?;
        let scope = Scope {
            namespace: (!arguments.all_namespaces).then_some(management.namespace.clone()),
            cluster: arguments.cluster.clone(),
        };
        match arguments.watch {
            true => follow(&management.client, &scope, arguments.output).await,
            false => once(&management, &scope, arguments.output).await,
        }
    })
}

async fn once(management: &Management, scope: &Scope, output: Output) -> anyhow::Result<ExitCode> {
    let snapshot = Snapshot::read(&management.client, scope).await;
    if let Some(why) = snapshot.clusters.problem() {
        bail!("cannot read the clusters at {}: {why}", management.url);
    }
    let report = status::report(&snapshot, Timestamp::now());
    if let (Some(name), true) = (&scope.cluster, report.clusters.is_empty())
        && snapshot.clusters.iter().next().is_none()
        && report.unread.iter().all(|what| !what.contains(name))
    {
        let namespace = scope.namespace.as_deref().unwrap_or_default();
        bail!("there is no KubernetesCluster {namespace}/{name}");
    }
    let screen = Screen::new();
    match output {
        Output::Json => screen.say(&serde_json::to_string_pretty(&report)?)?,
        Output::Text if report.clusters.is_empty() && report.unread.is_empty() => {
            screen.say("There are no clusters.")?;
        }
        Output::Text => screen.print(&text::of_status(&report, screen.width()))?,
    }
    let is_ready = |report: &StatusReport| report.clusters.iter().all(|cluster| cluster.ready);
    Ok(match is_ready(&report) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(NOT_THERE_YET),
    })
}

async fn follow(client: &Client, scope: &Scope, output: Output) -> anyhow::Result<ExitCode> {
    let stop = shutdown::on_signal(SecondSignal::EndsAtOnce)?;
    let mut snapshots = Snapshot::follow(client, scope).boxed();
    let screen = Screen::new();
    let mut live = match output == Output::Text && screen.is_live() {
        true => Some(Live::open(screen.has_colors())?),
        false => None,
    };
    let mut ticks = tokio::time::interval(TICK);
    let mut latest: Option<Snapshot> = None;
    let mut told: Option<StatusReport> = None;
    loop {
        let is_news = tokio::select! {
            () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
            snapshot = snapshots.next() => {
                let Some(snapshot) = snapshot else {
                    bail!("the watches ended");
                };
                latest = Some(snapshot);
                // Of many changes at once only the last is worth to be seen.
                while let Some(Some(newer)) = snapshots.next().now_or_never() {
                    latest = Some(newer);
                }
                true
            }
            _ = ticks.tick() => false,
            wish = watch::wish(&mut live) => match wish? {
                Wish::Quit => return Ok(ExitCode::SUCCESS),
                Wish::Resized => false,
            },
        };
        let Some(snapshot) = &latest else {
            continue;
        };
        let report = status::report(snapshot, Timestamp::now());
        if let Some(live) = &mut live {
            let lines = text::of_status(&report, live.width());
            live.show(lines)?;
            continue;
        }
        match output {
            Output::Text if is_news => {
                let now = watch::clock(report.observed_at.0);
                for change in changes::between(told.as_ref(), &report) {
                    screen.say(&format!("{now} {change}"))?;
                }
            }
            Output::Json if is_news && is_changed(told.as_ref(), &report) => {
                screen.say(&serde_json::to_string(&report)?)?;
            }
            Output::Text | Output::Json => {}
        }
        if is_news {
            told = Some(report);
        }
    }
}

/// Whether anything but the time is different.
fn is_changed(before: Option<&StatusReport>, after: &StatusReport) -> bool {
    before
        .is_none_or(|before| (&before.clusters, &before.unread) != (&after.clusters, &after.unread))
}
