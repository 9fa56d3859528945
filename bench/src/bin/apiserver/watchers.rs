//! Clients that watch. They look at no more than they must, so that the cores are left to the
//! server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http_body_util::BodyExt;
use nico_bench::client::Endpoint;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// How long the last event may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Watchers that count events.
pub struct Watchers {
    tasks: JoinSet<anyhow::Result<()>>,
    /// How many events each watcher has seen.
    seen: Vec<Arc<AtomicUsize>>,
}

impl Watchers {
    /// Opens watches of a collection, from now on.
    pub async fn open(
        endpoint: &Endpoint,
        collection: &str,
        number: usize,
    ) -> anyhow::Result<Self> {
        let mut tasks = JoinSet::new();
        let mut seen = Vec::new();
        let version = resource_version(endpoint, collection).await?;
        for _ in 0..number {
            let mut client = endpoint.connect().await?;
            let path = watch_path(collection, &version);
            let mut body = client.stream(&path).await?;
            let events = Arc::new(AtomicUsize::new(0));
            seen.push(events.clone());
            tasks.spawn(async move {
                loop {
                    let frame = body.frame().await.context("a watch has ended")??;
                    let data = frame.into_data().unwrap_or_default();
                    ensure!(!is_error(&data), "a watch has failed: {data:?}");
                    events.fetch_add(lines(&data), Ordering::Relaxed);
                }
            });
        }
        Ok(Self { tasks, seen })
    }

    /// Waits until every watcher has seen this many events.
    pub async fn finish(mut self, events: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.seen.iter().map(|seen| seen.load(Ordering::Relaxed));
            let finished = seen.filter(|seen| *seen >= events).count();
            if finished == self.seen.len() {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the watchers do not see all events: {finished} of {} did",
                self.seen.len()
            );
            let step = Instant::now() + Duration::from_millis(1);
            match timeout_at(step, self.tasks.join_next()).await {
                Ok(Some(ended)) => ended.context("a watcher has failed")??,
                Ok(None) => bail!("there are no watchers"),
                Err(_) => {}
            }
        }
    }
}

/// The version at which a watch of a collection has to begin to see what comes next.
pub async fn resource_version(endpoint: &Endpoint, collection: &str) -> anyhow::Result<String> {
    let mut client = endpoint.connect().await?;
    let path = format!("{collection}?limit=1");
    let list = client.request(http::Method::GET, &path, "").await?;
    let list: serde_json::Value = serde_json::from_slice(&list)?;
    let version = list["metadata"]["resourceVersion"].as_str();
    Ok(version.context("a list has no version")?.to_owned())
}

/// The path of a watch from a version on.
pub fn watch_path(collection: &str, version: &str) -> String {
    format!("{collection}?watch=1&resourceVersion={version}")
}

fn lines(data: &Bytes) -> usize {
    memchr::memchr_iter(b'\n', data).count()
}

fn is_error(data: &Bytes) -> bool {
    data.starts_with(br#"{"type":"ERROR""#)
}
