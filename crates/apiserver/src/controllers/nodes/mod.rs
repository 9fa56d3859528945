//! The life of Nodes: one whose heartbeat stays away becomes Unknown, and taints say in what state
//! a Node is.
//!
//! Only Nodes with a Lease in `kube-node-lease` are looked after: every kubelet has one. A Node
//! that somebody has just written down has none, and stays as it was written; the real
//! controller-manager makes such Nodes Unknown, too.
//!
//! As there, it is the time of this machine that counts, not what the heartbeats say of theirs: a
//! heartbeat came when it was seen.

mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use crate::api::{self, Api};
use crate::status::Status;
use crate::verbs;

use super::follow::{Event, Follower, Seen};

const NODES: &str = "/nodes/";
const LEASES: &str = "coordination.k8s.io/leases/kube-node-lease/";

/// What is known of the heartbeat of a Node.
#[derive(Debug)]
struct Heart {
    /// There is a Lease.
    leased: bool,
    /// `renewTime` of the Lease.
    renewed: Option<String>,
    /// `lastHeartbeatTime` of the condition Ready.
    posted: Option<String>,
    /// When one of these changed last.
    beat: Instant,
    /// It has been silent for too long.
    silent: bool,
}

/// The hearts of all Nodes.
#[derive(Debug)]
struct Hearts {
    grace: Duration,
    known: BTreeMap<String, Heart>,
    /// When to look for silent ones; not later than the first may become silent.
    look: Option<Instant>,
}

#[derive(Deserialize)]
struct Lease {
    #[serde(default)]
    spec: LeaseSpec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LeaseSpec {
    renew_time: Option<String>,
}

#[derive(Deserialize)]
struct Node {
    #[serde(default)]
    status: NodeStatus,
}

#[derive(Default, Deserialize)]
struct NodeStatus {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    r#type: String,
    last_heartbeat_time: Option<String>,
}

/// Runs until the server ends. A Node becomes Unknown after `grace` without a heartbeat.
pub async fn run(api: Arc<Api>, grace: Duration) {
    let mut follower = Follower::of(api.clone(), &[NODES, LEASES]);
    let mut hearts = Hearts::new(grace);
    let mut touched: BTreeSet<String> = BTreeSet::new();
    loop {
        let seen = tokio::select! {
            seen = follower.next(!touched.is_empty()) => seen,
            () = hearts.wait() => Some(Seen::Changes(Vec::new())),
        };
        let now = Instant::now();
        let events = match seen {
            None => return,
            Some(Seen::Everything(events)) => {
                // While nothing could be read, nothing could be heard either.
                hearts = Hearts::new(grace);
                events
            }
            Some(Seen::Changes(events)) => events,
        };
        touched.extend(events.iter().filter_map(|event| hearts.note(event, now)));
        touched.extend(hearts.fall_silent(now));
        for node in std::mem::take(&mut touched) {
            let Some(heart) = hearts.known.get(&node).filter(|heart| heart.leased) else {
                continue;
            };
            if let Err(error) = settle(&api, &node, heart.silent).await {
                tracing::debug!(%error, %node, "cannot say in what state a Node is");
                touched.insert(node);
            }
        }
    }
}

impl Hearts {
    fn new(grace: Duration) -> Self {
        Self {
            grace,
            known: BTreeMap::new(),
            look: None,
        }
    }

    /// Notes an event; returns the Node to look at.
    fn note(&mut self, event: &Event, now: Instant) -> Option<String> {
        if let Some(name) = event.key.strip_prefix(NODES) {
            if !event.is_there() {
                // Its Lease may still be there, and it may come back.
                if let Some(heart) = self.known.get_mut(name) {
                    heart.posted = None;
                }
                return None;
            }
            let node: Node = event.after()?;
            let ready = node.status.conditions.into_iter();
            let posted = ready
                .filter(|condition| condition.r#type == "Ready")
                .find_map(|condition| condition.last_heartbeat_time);
            let heart = self.heart(name, now);
            if heart.posted != posted {
                heart.posted = posted;
                self.beat(name, now);
            }
            return Some(name.to_owned());
        }
        let name = event.key.strip_prefix(LEASES)?;
        let lease: Option<Lease> = event.after();
        if lease.is_none() {
            // What its Node says is heard of again when the Node is written again.
            self.known.remove(name);
            return None;
        }
        let heart = self.heart(name, now);
        let (was_leased, was_silent) = (heart.leased, heart.silent);
        heart.leased = lease.is_some();
        let renewed = lease.and_then(|lease| lease.spec.renew_time);
        if heart.renewed != renewed || !was_leased {
            heart.renewed = renewed;
            self.beat(name, now);
        }
        (was_silent || !was_leased).then(|| name.to_owned())
    }

    fn heart(&mut self, name: &str, now: Instant) -> &mut Heart {
        self.known.entry(name.to_owned()).or_insert(Heart {
            leased: false,
            renewed: None,
            posted: None,
            beat: now,
            silent: false,
        })
    }

    fn beat(&mut self, name: &str, now: Instant) {
        let Some(heart) = self.known.get_mut(name) else {
            return;
        };
        heart.beat = now;
        heart.silent = false;
        if heart.leased && self.look.is_none() {
            self.look = Some(now + self.grace);
        }
    }

    /// Waits until one may have become silent; for ever if there is none.
    async fn wait(&self) {
        match self.look {
            Some(look) => tokio::time::sleep_until(look).await,
            None => std::future::pending().await,
        }
    }

    /// Those that have become silent.
    fn fall_silent(&mut self, now: Instant) -> Vec<String> {
        if self.look.is_none_or(|look| look > now) {
            return Vec::new();
        }
        let mut silent = Vec::new();
        self.look = None;
        for (name, heart) in &mut self.known {
            if !heart.leased || heart.silent {
                continue;
            }
            let end = heart.beat + self.grace;
            if end <= now {
                heart.silent = true;
                silent.push(name.clone());
            } else {
                self.look = Some(self.look.map_or(end, |look| look.min(end)));
            }
        }
        silent
    }
}

/// Writes down in what state a Node is.
async fn settle(api: &Api, name: &str, silent: bool) -> Result<(), Status> {
    let Some(kind) = api.registry.find("", "v1", "nodes") else {
        return Ok(());
    };
    let key = kind.key(None, name);
    if silent {
        verbs::modify(api, &kind, &key, Some("status"), None, |node| {
            Ok(state::unknown(node, &api::now()))
        })
        .await?;
    }
    verbs::modify(api, &kind, &key, None, None, |node| {
        Ok(state::tainted(node, &api::now()))
    })
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const GRACE: Duration = Duration::from_secs(50);

    fn lease(name: &str, renewed: &str) -> Event {
        let lease = json!({"spec": {"renewTime": renewed}});
        Event::new(&format!("{LEASES}{name}"), None, Some(&lease))
    }

    fn node(name: &str, posted: Option<&str>) -> Event {
        let conditions: Vec<Value> = posted
            .map(|posted| json!({"type": "Ready", "lastHeartbeatTime": posted}))
            .into_iter()
            .collect();
        let node = json!({"status": {"conditions": conditions}});
        Event::new(&format!("{NODES}{name}"), None, Some(&node))
    }

    #[test]
    fn a_node_without_a_lease_never_falls_silent() {
        let (mut hearts, start) = (Hearts::new(GRACE), Instant::now());
        hearts.note(&node("a", Some("1")), start);
        assert!(hearts.fall_silent(start + GRACE * 2).is_empty());
        assert_eq!(hearts.look, None, "and nobody waits for it");
    }

    #[test]
    fn a_renewed_lease_or_a_posted_status_is_a_heartbeat() {
        let (mut hearts, start) = (Hearts::new(GRACE), Instant::now());
        for name in ["renews", "posts", "silent"] {
            hearts.note(&node(name, Some("1")), start);
            hearts.note(&lease(name, "1"), start);
        }
        let later = start + GRACE / 2;
        hearts.note(&lease("renews", "2"), later);
        hearts.note(&node("posts", Some("2")), later);
        hearts.note(&lease("silent", "1"), later);
        hearts.note(&node("silent", Some("1")), later);
        assert_eq!(hearts.fall_silent(start + GRACE), ["silent"]);
        assert_eq!(hearts.look, Some(later + GRACE));
        assert_eq!(hearts.fall_silent(later + GRACE), ["posts", "renews"]);
        assert_eq!(hearts.look, None);
    }

    #[test]
    fn a_heartbeat_after_silence_is_looked_at() {
        let (mut hearts, start) = (Hearts::new(GRACE), Instant::now());
        assert!(hearts.note(&lease("a", "1"), start).is_some());
        assert!(hearts.note(&lease("a", "2"), start).is_none());
        hearts.fall_silent(start + GRACE);
        let back = start + GRACE * 2;
        assert_eq!(hearts.note(&lease("a", "3"), back).as_deref(), Some("a"));
        assert_eq!(hearts.look, Some(back + GRACE));
    }
}
