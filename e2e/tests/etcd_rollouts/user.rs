//! Somebody who writes and reads all the time, and remembers what was said to be done.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Between two writes.
const PERIOD: Duration = Duration::from_millis(200);

/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(15);

/// Writes until it is asked what it saw.
pub(crate) struct User {
    client: Client,
    stop: CancellationToken,
    task: AbortOnDropHandle<Seen>,
}

/// What a user saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Names of the objects that were written, as the API said.
    pub(crate) written: Vec<String>,
    /// Requests that failed: when, since the beginning, and how.
    pub(crate) failed: Vec<(Duration, String)>,
    /// Objects that were written and not to be read afterwards.
    pub(crate) lost: Vec<String>,
    /// The longest time between two writes that were done.
    pub(crate) longest_wait: Duration,
}

impl User {
    pub(crate) fn start(client: Client) -> Self {
        let stop = CancellationToken::new();
        let work = work(client.clone(), stop.clone());
        Self {
            client,
            stop,
            task: AbortOnDropHandle::new(tokio::spawn(work)),
        }
    }

    /// Stops, and looks whether everything is there that was written.
    pub(crate) async fn stop(self) -> Result<Seen> {
        self.stop.cancel();
        let mut seen = self.task.await?;
        let list = maps(&self.client).list(&ListParams::default()).await?;
        let there: Vec<String> = list.iter().map(ResourceExt::name_any).collect();
        let missing = seen.written.iter().filter(|name| !there.contains(name));
        seen.lost.extend(missing.cloned());
        ensure!(!seen.written.is_empty(), "nothing was written: {seen:?}");
        Ok(seen)
    }
}

fn maps(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), "default")
}

async fn work(client: Client, stop: CancellationToken) -> Seen {
    let (maps, mut seen) = (maps(&client), Seen::default());
    let began = Instant::now();
    let mut last = began;
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0.. {
        tokio::select! {
            _ = period.tick() => {}
            () = stop.cancelled() => break,
        }
        let name = format!("write-{number}");
        match write_and_read(&maps, &name).await {
            Ok(true) => {}
            Ok(false) => seen.lost.push(name.clone()),
            Err(error) => {
                seen.failed.push((began.elapsed(), error));
                continue;
            }
        }
        seen.longest_wait = seen.longest_wait.max(last.elapsed());
        last = Instant::now();
        seen.written.push(name);
    }
    seen
}

/// Whether what was written was there afterwards.
async fn write_and_read(maps: &Api<ConfigMap>, name: &str) -> Result<bool, String> {
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    };
    let requests = async {
        maps.create(&PostParams::default(), &map).await?;
        maps.get_opt(name).await
    };
    match timeout(PATIENCE, requests).await {
        Ok(Ok(found)) => Ok(found.is_some()),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}
