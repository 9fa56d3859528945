//! Looks once, for a person: what would change, what is there, and how to be rid of it.

use jiff::Timestamp;
use kube::Client;
use nico_runtime::leader::Fence;
use tokio_util::sync::CancellationToken;

use crate::causes::chain;
use crate::execute::{Outcome, Writer};
use crate::metrics::Metrics;
use crate::names::{NetworkName, Uuid};
use crate::netmaker::{ClientError, Netmaker};
use crate::nodes;
use crate::observe::{Age, Reader};
use crate::plan::{self, Action, Deletion, Plan, Surplus};
use crate::report;
use crate::settings::Settings;

/// A look failed.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// Netmaker.
    #[error("cannot read Netmaker")]
    Netmaker(#[from] ClientError),
    /// Kubernetes.
    #[error("cannot list the Nodes")]
    Nodes(#[from] kube::Error),
}

/// A mesh to look at once.
pub struct Mesh {
    netmaker: Netmaker,
    settings: Settings,
}

/// What came of cleaning up.
#[derive(Debug, Default)]
pub struct Removed {
    /// How many rules are gone now.
    pub gone: usize,
    /// Those that are not, and why.
    pub failed: Vec<(Uuid, NetworkName, String)>,
}

impl Mesh {
    /// A mesh that was not looked at yet.
    pub fn new(netmaker: Netmaker, settings: Settings) -> Self {
        Self { netmaker, settings }
    }

    /// What a pass would do now.
    ///
    /// # Errors
    /// When a list cannot be had whole.
    pub async fn plan(&self, client: Client) -> Result<Plan, MeshError> {
        let nodes = nodes::read(client, self.settings.selector.as_deref()).await?;
        let mut reader = Reader::new(self.netmaker.clone(), self.settings.clone());
        let observed = reader.read(nodes, Age::New).await?;
        Ok(plan::plan(
            &observed,
            &self.settings.policy(),
            Timestamp::now(),
        ))
    }

    /// The rules of this cluster that are there.
    ///
    /// # Errors
    /// When a list cannot be had whole.
    pub async fn rules(&self) -> Result<Vec<Deletion>, MeshError> {
        let mut reader = Reader::new(self.netmaker.clone(), self.settings.clone());
        let rules = reader.read_rules().await?;
        Ok(plan::ours(&rules)
            .map(|rule| Deletion {
                rule: rule.id,
                network: rule.network.clone(),
                name: rule.name.clone(),
                node: crate::ownership::node_of(&rule.name).map(Into::into),
                range: rule.range,
                why: Surplus::NodeGone,
            })
            .collect())
    }

    /// Removes these rules.
    pub async fn remove(&self, rules: Vec<Deletion>) -> Removed {
        let writer = Writer {
            netmaker: &self.netmaker,
            cluster: &self.settings.cluster,
            fence: &Fence::open(),
            stop: &CancellationToken::new(),
            metrics: &Metrics::default(),
        };
        let actions = rules.into_iter().map(Action::Delete).collect();
        let mut removed = Removed::default();
        for Outcome { action, result } in writer.execute(actions).await {
            match (action, result) {
                (_, Ok(_)) => removed.gone += 1,
                (Action::Delete(deletion), Err(error)) => {
                    let failure = (deletion.rule, deletion.network, chain(&error));
                    removed.failed.push(failure);
                }
                (Action::Create(_) | Action::Update { .. }, Err(_)) => {}
            }
        }
        removed
    }
}

/// An action in words, for a person.
pub fn describe(action: &Action) -> String {
    report::describe(action)
}
