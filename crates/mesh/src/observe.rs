//! Reads Netmaker: four kinds of list, whatever the number of Nodes.
//!
//! Hosts, nodes and networks change seldom, and their lists are long, so that they are kept for a
//! while. Rules are read anew for each pass, for what is written hangs on them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use crate::names::NetworkName;
use crate::netmaker::types::{Host, Member, Rule};
use crate::netmaker::{ClientError, Netmaker};
use crate::nodes::KubeNodes;
use crate::plan::Observed;
use crate::settings::Settings;

/// How long lists of hosts, nodes and networks count as fresh.
pub const FRESH: Duration = Duration::from_secs(30);

/// How many lists of rules are read at once.
const CONCURRENCY: usize = 4;

/// How old the lists of hosts, nodes and networks may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Read now.
    New,
    /// At most [`FRESH`].
    Fresh,
    /// Any that were read before.
    Any,
}

/// Reads Netmaker, and remembers what changes seldom.
pub struct Reader {
    netmaker: Netmaker,
    settings: Settings,
    lookups: Option<Lookups>,
    /// Networks that were there once: the rules of one that is deleted stay, and it is listed no
    /// more.
    known: BTreeSet<NetworkName>,
}

struct Lookups {
    read: Instant,
    hosts: Arc<Vec<Host>>,
    members: Arc<Vec<Member>>,
}

impl Reader {
    /// A reader that has read nothing yet.
    pub fn new(netmaker: Netmaker, settings: Settings) -> Self {
        let known = settings.networks.clone().unwrap_or_default();
        Self {
            netmaker,
            settings,
            lookups: None,
            known,
        }
    }

    /// Whether the hosts were read lately.
    pub fn is_fresh(&self) -> bool {
        let lookups = self.lookups.as_ref();
        lookups.is_some_and(|lookups| lookups.read.elapsed() < FRESH)
    }

    /// Reads all that is needed for a plan.
    ///
    /// # Errors
    /// When one of the lists cannot be had whole.
    pub async fn read(&mut self, nodes: KubeNodes, age: Age) -> Result<Observed, ClientError> {
        let is_needed = match age {
            Age::New => true,
            Age::Fresh => !self.is_fresh(),
            Age::Any => self.lookups.is_none(),
        };
        if is_needed {
            self.lookups = Some(self.look_up().await?);
        }
        let rules = self.rules().await?;
        let (hosts, members) = self
            .lookups
            .as_ref()
            .map_or_else(Default::default, |lookups| {
                (Arc::clone(&lookups.hosts), Arc::clone(&lookups.members))
            });
        Ok(Observed {
            nodes,
            hosts,
            members,
            networks: self.known.iter().cloned().collect(),
            rules,
        })
    }

    /// Only the rules, for cleaning up.
    ///
    /// # Errors
    /// When a list cannot be had whole.
    pub async fn read_rules(&mut self) -> Result<Vec<Rule>, ClientError> {
        let networks = self.netmaker.networks().await?;
        self.learn(networks.into_iter());
        self.rules().await
    }

    async fn look_up(&mut self) -> Result<Lookups, ClientError> {
        let netmaker = self.netmaker.clone();
        let (hosts, members, networks) =
            tokio::try_join!(netmaker.hosts(), netmaker.members(), netmaker.networks())?;
        let of_members = members.iter().map(|member| member.network.clone());
        self.learn(of_members.chain(networks));
        Ok(Lookups {
            read: Instant::now(),
            hosts: Arc::new(hosts),
            members: Arc::new(members),
        })
    }

    fn learn(&mut self, networks: impl Iterator<Item = NetworkName>) {
        let allowed = self.settings.networks.as_ref();
        for network in networks {
            if allowed.is_none_or(|allowed| allowed.contains(&network))
                && !self.known.contains(&network)
            {
                self.known.insert(network);
            }
        }
    }

    async fn rules(&self) -> Result<Vec<Rule>, ClientError> {
        let cluster = &self.settings.cluster;
        let networks = self.known.iter();
        let lists: Vec<_> = networks
            .map(|network| self.netmaker.rules(network, cluster))
            .collect();
        let mut lists = stream::iter(lists).buffered(CONCURRENCY);
        let mut all = Vec::new();
        while let Some(rules) = lists.try_next().await? {
            all.extend(rules);
        }
        Ok(all)
    }
}
