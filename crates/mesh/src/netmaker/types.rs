//! What is kept of Netmaker's answers: the fields that decide something, in little memory.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::names::{IpNet, NetworkName, Uuid};
use crate::ownership::Cluster;

/// A machine that registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its id.
    pub id: Uuid,
    /// Its name, which need not be unique.
    pub name: Box<str>,
    /// Its nodes, one for each network that it is in.
    pub nodes: Box<[Uuid]>,
}

/// A host in a network, which Netmaker calls a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: Uuid,
    /// The host.
    pub host: Uuid,
    /// The network.
    pub network: NetworkName,
    /// It is leaving the network.
    pub is_leaving: bool,
    /// It checked in lately.
    pub is_live: bool,
}

/// An egress rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its id.
    pub id: Uuid,
    /// Its network.
    pub network: NetworkName,
    /// Its name.
    pub name: Box<str>,
    /// Whose it is.
    pub owner: Owner,
    /// Its range; none if it has none, or something else in its place.
    pub range: Option<IpNet>,
    /// Its routing nodes and their metrics.
    pub nodes: Box<[(Uuid, i64)]>,
    /// Whether it has tags or a domain, which rules of ours never have.
    pub has_more: bool,
    /// Whether addresses are translated.
    pub nat: bool,
    /// Whether it is on.
    pub is_on: bool,
    /// When it was made.
    pub created: Timestamp,
}

/// Whose a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Ours, for a Node's CIDR of this number.
    Us {
        /// The number, from 0 on, as it is written.
        index: i64,
        /// Whether the description is just as we write it.
        is_exact: bool,
    },
    /// Somebody else's.
    Others,
}

impl Owner {
    /// Whose a rule of this description is.
    pub fn of(description: &str, cluster: &Cluster) -> Self {
        let Some(index) = cluster.index_of(description) else {
            return Self::Others;
        };
        let exact = usize::try_from(index).map(|index| cluster.description(index));
        Self::Us {
            index,
            is_exact: exact.as_deref() == Ok(description),
        }
    }
}

/// How long after its last check-in a node counts as live, where the server does not say.
const LIVE_FOR_SECONDS: i64 = 600;

#[derive(Deserialize)]
pub(super) struct WireHost {
    id: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    nodes: Option<Vec<String>>,
}

impl WireHost {
    /// None for an entry that stands for no machine.
    pub(super) fn into_host(self) -> Option<Host> {
        let nodes = self.nodes.unwrap_or_default();
        Some(Host {
            id: id(&self.id)?,
            name: self.name.unwrap_or_default().into(),
            nodes: nodes.iter().filter_map(|node| id(node)).collect(),
        })
    }
}

#[derive(Deserialize)]
pub(super) struct WireMember {
    id: String,
    #[serde(default)]
    hostid: Option<String>,
    #[serde(default)]
    network: Option<String>,
    #[serde(default)]
    pendingdelete: Option<bool>,
    #[serde(default)]
    is_static: Option<bool>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    lastcheckin: Option<i64>,
}

impl WireMember {
    /// None for an external client, which has no host and takes no rule.
    pub(super) fn into_member(self, now: Timestamp) -> Option<Member> {
        if self.is_static == Some(true) {
            return None;
        }
        let checked_in = self.lastcheckin.unwrap_or(0);
        let is_live = match self.status.as_deref() {
            Some("offline" | "disconnected" | "unknown") => false,
            None | Some("") => now.as_second() - checked_in < LIVE_FOR_SECONDS,
            Some(_) => true,
        };
        Some(Member {
            id: id(&self.id)?,
            host: id(self.hostid.as_deref()?)?,
            network: self.network.as_deref()?.into(),
            is_leaving: self.pendingdelete == Some(true),
            is_live,
        })
    }
}

#[derive(Deserialize)]
pub(super) struct WireNetwork {
    pub(super) netid: String,
}

#[derive(Deserialize)]
pub(super) struct WireRule {
    id: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    range: Option<String>,
    #[serde(default)]
    nodes: Option<serde_json::Map<String, Value>>,
    #[serde(default)]
    tags: Option<serde_json::Map<String, Value>>,
    #[serde(default)]
    domain: Option<String>,
    #[serde(default)]
    nat: Option<bool>,
    #[serde(default)]
    status: Option<bool>,
    #[serde(default)]
    created_at: Option<String>,
}

impl WireRule {
    /// None for a rule without a proper id, which nobody can write.
    pub(super) fn into_rule(self, network: &NetworkName, cluster: &Cluster) -> Option<Rule> {
        let nodes = self.nodes.unwrap_or_default();
        let range = self.range.unwrap_or_default();
        let created = self.created_at.and_then(|time| time.parse().ok());
        Some(Rule {
            id: id(&self.id)?,
            network: network.clone(),
            name: self.name.unwrap_or_default().into(),
            owner: Owner::of(&self.description.unwrap_or_default(), cluster),
            range: range.parse().ok().map(|range: IpNet| range.trunc()),
            // What is no id, or no whole number, differs from all that we write.
            nodes: nodes
                .iter()
                .map(|(node, metric)| {
                    let node = node.parse().unwrap_or(Uuid::nil());
                    (node, metric.as_i64().unwrap_or(i64::MIN))
                })
                .collect(),
            has_more: self.tags.is_some_and(|tags| !tags.is_empty())
                || self.domain.is_some_and(|domain| !domain.is_empty()),
            nat: self.nat == Some(true),
            is_on: self.status == Some(true),
            created: created.unwrap_or(Timestamp::UNIX_EPOCH),
        })
    }
}

/// An id that is one: external clients have zeros.
fn id(text: &str) -> Option<Uuid> {
    let id: Uuid = text.parse().ok()?;
    (!id.is_nil()).then_some(id)
}
