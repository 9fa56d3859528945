//! The Nodes of Kubernetes, as far as they matter: name, CIDRs, age.
//!
//! A watch keeps them; a change of anything else in a Node wakes nobody.

mod slim;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use jiff::Timestamp;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::names::{IpNet, NodeName};
use slim::{SlimNode, Spec};

/// How many Nodes a page of the first list has. A page is in memory as text, and a Node has some
/// 10 KB.
const PAGE: u32 = 64;

/// A Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeNode {
    /// Its CIDRs, in the order of the spec, without host bits.
    pub cidrs: Cidrs,
    /// When it was made.
    pub created: Timestamp,
}

/// The CIDRs of a Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cidrs {
    /// As they should be; perhaps none.
    Known(Box<[IpNet]>),
    /// One of them is none.
    Unreadable(Box<str>),
}

/// All Nodes at a moment.
pub type KubeNodes = Arc<BTreeMap<NodeName, KubeNode>>;

impl KubeNode {
    fn of(node: &SlimNode) -> Self {
        let created = node.metadata.creation_timestamp.as_ref();
        Self {
            cidrs: Cidrs::read(&node.spec),
            created: created.map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        }
    }
}

impl Cidrs {
    fn read(spec: &Spec) -> Self {
        let several = spec.cidrs.as_deref().filter(|cidrs| !cidrs.is_empty());
        let texts = several.unwrap_or(spec.cidr.as_slice());
        let mut cidrs = Vec::with_capacity(texts.len());
        for text in texts.iter().filter(|text| !text.is_empty()) {
            match text.parse::<IpNet>() {
                Ok(cidr) => cidrs.push(cidr.trunc()),
                Err(_) => return Self::Unreadable(text.as_str().into()),
            }
        }
        Self::Known(cidrs.into())
    }
}

/// The Nodes as the watch sees them. Clones share them.
#[derive(Clone, Debug)]
pub struct NodeCache(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    nodes: Mutex<KubeNodes>,
    /// How often something changed that matters; 0 before the first list is whole.
    changes: watch::Sender<u64>,
}

impl NodeCache {
    /// Begins to watch; ends at `stop`.
    pub fn start(client: Client, selector: Option<&str>, stop: CancellationToken) -> Self {
        let cache = Self(Arc::new(Shared {
            nodes: Mutex::default(),
            changes: watch::Sender::new(0),
        }));
        let shared = cache.clone();
        let selector = selector.map(ToOwned::to_owned);
        tokio::spawn(async move {
            tokio::select! {
                () = shared.follow(client, selector) => {}
                () = stop.cancelled() => {}
            }
        });
        cache
    }

    /// The Nodes now.
    pub fn snapshot(&self) -> KubeNodes {
        self.lock().clone()
    }

    /// Where changes are told of.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Whether a whole list was seen.
    pub fn is_complete(&self) -> bool {
        *self.0.changes.borrow() > 0
    }

    async fn follow(&self, client: Client, selector: Option<String>) {
        let nodes: Api<SlimNode> = Api::all(client);
        let mut config = Config::default().page_size(PAGE);
        if let Some(selector) = &selector {
            config = config.labels(selector);
        }
        let mut events = std::pin::pin!(watcher(nodes, config).default_backoff());
        let mut listed = BTreeMap::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(node)) => {
                    listed.insert(name(&node), KubeNode::of(&node));
                }
                Ok(Event::InitDone) => self.replace(std::mem::take(&mut listed)),
                Ok(Event::Apply(node)) => self.apply(name(&node), KubeNode::of(&node)),
                Ok(Event::Delete(node)) => self.remove(&name(&node)),
                Err(error) => warn!(%error, "cannot watch the Nodes"),
            }
        }
    }

    fn replace(&self, nodes: BTreeMap<NodeName, KubeNode>) {
        let is_first = !self.is_complete();
        let mut held = self.lock();
        let is_same = **held == nodes;
        *held = Arc::new(nodes);
        drop(held);
        if is_first || !is_same {
            self.note_change();
        }
    }

    fn apply(&self, name: NodeName, node: KubeNode) {
        let mut held = self.lock();
        if held.get(&name) == Some(&node) {
            return;
        }
        Arc::make_mut(&mut held).insert(name, node);
        drop(held);
        self.note_change();
    }

    fn remove(&self, name: &NodeName) {
        let mut held = self.lock();
        let was_there = Arc::make_mut(&mut held).remove(name).is_some();
        drop(held);
        if was_there {
            self.note_change();
        }
    }

    fn note_change(&self) {
        self.0.changes.send_modify(|changes| *changes += 1);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, KubeNodes> {
        self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads all Nodes once.
///
/// # Errors
/// When a page of the list cannot be had.
pub async fn read(client: Client, selector: Option<&str>) -> Result<KubeNodes, kube::Error> {
    let api: Api<SlimNode> = Api::all(client);
    let mut parameters = kube::api::ListParams::default().limit(PAGE);
    if let Some(selector) = selector {
        parameters = parameters.labels(selector);
    }
    let mut nodes = BTreeMap::new();
    loop {
        let page = api.list(&parameters).await?;
        for node in &page.items {
            nodes.insert(name(node), KubeNode::of(node));
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(Arc::new(nodes)),
        }
    }
}

fn name(node: &SlimNode) -> NodeName {
    node.name_any().as_str().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(cidr: Option<&str>, cidrs: &[&str]) -> Cidrs {
        Cidrs::read(&Spec {
            cidr: cidr.map(ToOwned::to_owned),
            cidrs: (!cidrs.is_empty()).then(|| cidrs.iter().map(ToString::to_string).collect()),
        })
    }

    #[test]
    fn the_list_of_cidrs_counts_and_else_the_single_one() {
        let known = |texts: &[&str]| {
            Cidrs::Known(texts.iter().filter_map(|text| text.parse().ok()).collect())
        };
        assert_eq!(read(None, &[]), known(&[]));
        assert_eq!(read(Some(""), &[]), known(&[]));
        assert_eq!(read(Some("10.42.0.0/24"), &[]), known(&["10.42.0.0/24"]));
        assert_eq!(
            read(Some("10.42.0.0/24"), &["10.42.0.0/24", "FD00:42::1/64"]),
            known(&["10.42.0.0/24", "fd00:42::/64"])
        );
        assert_eq!(
            read(Some("10.42.0.0"), &[]),
            Cidrs::Unreadable("10.42.0.0".into())
        );
    }
}
