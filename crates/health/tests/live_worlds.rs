//! Every world in an API server of its own: read through the API it has the same issues, in the
//! same order, as when it is read from its file; and whoever reads it writes nothing.

mod cluster;
mod fixture;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, all_reads, everything};
use fixture::{Case, cases, lines};
use futures::stream::{self, StreamExt, TryStreamExt};
use nico_health::collect::collect;
use nico_health::issue::Severity;

/// Servers that run at the same time.
const AT_ONCE: usize = 4;

/// Worlds that need something that the embedded API server is not, and why.
const NOT_LIVE: &[(&str, &str)] = &[
    ("api-server-not-ready", "it is ready as long as it answers"),
    ("api-service-unavailable", "it has no aggregation layer"),
    (
        "tunnel-without-connection",
        "it has no kubelets, which have the logs",
    ),
    (
        "volume-filling",
        "it has no kubelets, which know their volumes",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_world_is_seen_through_the_api_as_it_is_and_nothing_is_written() -> Result<()> {
    let cases = cases();
    for (name, _) in NOT_LIVE {
        ensure!(
            cases.iter().any(|case| case.name == *name),
            "no world {name}"
        );
    }
    let is_live = |case: &Case| NOT_LIVE.iter().all(|(name, _)| *name != case.name);
    let (live, others): (Vec<Case>, Vec<Case>) = cases.into_iter().partition(is_live);
    assert_eq!(others.len(), NOT_LIVE.len());
    stream::iter(live)
        .map(|case| async move {
            let seen = see(&case).await;
            seen.with_context(|| case.name)
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await
}

async fn see(case: &Case) -> Result<()> {
    let cluster = Cluster::restored(&case.objects, all_reads()).await?;
    let world = collect(&cluster.user, &everything(None)).await.world;
    let report = case.judge(&world, &[]);
    let (found, expected) = (lines(&report), &case.expected.issues);
    ensure!(found == *expected, "found {found:#?} for {expected:#?}");
    ensure!(
        report.summary.unknown == 0,
        "not all was read: {:#?}",
        report.layers
    );
    let worst = report.issues.iter().map(|issue| issue.severity).max();
    let code = report.exit_code(Severity::Warning);
    ensure!(code == worst.map_or(0, |severity| severity as u8 + 1));
    cluster.has_only_been_read()?;
    cluster.server.shutdown().await;
    Ok(())
}
