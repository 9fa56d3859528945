//! Watches whether the etcd of a cluster has a leader.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use kube::{Client, Config};
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

const PERIOD: Duration = Duration::from_millis(100);

/// A member that takes longer does not answer.
const ANSWER: Duration = Duration::from_secs(1);

/// Looks until it is asked.
pub(crate) struct Watch {
    stop: CancellationToken,
    task: AbortOnDropHandle<Duration>,
}

impl Watch {
    pub(crate) fn start(members: &[Ipv4Addr]) -> Result<Self> {
        let members = members.iter().copied().map(client);
        let members = members.collect::<Result<Vec<Client>>>()?;
        let stop = CancellationToken::new();
        let work = longest_without(members, stop.clone());
        Ok(Self {
            stop,
            task: AbortOnDropHandle::new(tokio::spawn(work)),
        })
    }

    /// The longest time in which no member knew a leader.
    pub(crate) async fn stop(self) -> Result<Duration> {
        self.stop.cancel();
        Ok(self.task.await?)
    }
}

fn client(member: Ipv4Addr) -> Result<Client> {
    let mut config = Config::new(format!("http://{member}:2379").parse()?);
    config.connect_timeout = Some(ANSWER);
    config.read_timeout = Some(ANSWER);
    Ok(Client::try_from(config)?)
}

async fn longest_without(members: Vec<Client>, stop: CancellationToken) -> Duration {
    let (mut longest, mut last) = (Duration::ZERO, Instant::now());
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.is_cancelled() {
        period.tick().await;
        for member in &members {
            if knows_a_leader(member).await {
                longest = longest.max(last.elapsed());
                last = Instant::now();
                break;
            }
        }
    }
    longest.max(last.elapsed())
}

async fn knows_a_leader(member: &Client) -> bool {
    let Ok(request) = http::Request::post("/v3/maintenance/status").body(b"{}".to_vec()) else {
        return false;
    };
    let status: Result<Value, _> = member.request(request).await;
    status.is_ok_and(|status| status["leader"].as_str().is_some_and(|id| id != "0"))
}
