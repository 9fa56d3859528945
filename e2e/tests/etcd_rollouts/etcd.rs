//! The etcd of a cluster: whether it is one, and whether it has a leader.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, ensure};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

const PERIOD: Duration = Duration::from_millis(100);

/// A member that takes longer does not answer.
const ANSWER: Duration = Duration::from_secs(1);

/// Makes sure that these are the members of one etcd, all with a vote.
///
/// # Errors
/// When one of them does not answer, or is a member of something else.
pub(crate) async fn ensure_one(members: &[Ipv4Addr]) -> Result<()> {
    let mut clusters = Vec::new();
    for member in members {
        let list = ask(&client(*member)?, "/v3/cluster/member/list").await?;
        let voters = list["members"].as_array().into_iter().flatten();
        let voters = voters.filter(|member| member["isLearner"] != json!(true));
        ensure!(voters.count() == members.len(), "{member}: {list}");
        clusters.push(list["header"]["cluster_id"].clone());
    }
    clusters.dedup();
    ensure!(clusters.len() == 1, "several clusters: {clusters:?}");
    Ok(())
}

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
    let status = ask(member, "/v3/maintenance/status").await;
    status.is_ok_and(|status| status["leader"].as_str().is_some_and(|id| id != "0"))
}

async fn ask(member: &Client, path: &str) -> Result<Value> {
    let request = http::Request::post(path).body(b"{}".to_vec())?;
    Ok(member.request(request).await?)
}
