//! Does what was planned: a bounded number of writes at once, one outcome for each rule.
//!
//! A failure that concerns more than its own request stops what has not begun: nothing more is made
//! before it was looked again. No write begins once the leadership may have ended, and none goes on
//! when it has.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use nico_runtime::leader::Fence;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::netmaker::{ClientError, Netmaker, RuleBody};
use crate::ownership::{self, Cluster};
use crate::plan::{Action, METRIC, Wanted};

/// How many writes are on their way at once.
pub const CONCURRENCY: usize = 16;

/// What came of an action.
#[derive(Debug)]
pub struct Outcome {
    /// The action.
    pub action: Action,
    /// What came of it.
    pub result: Result<Done, WriteError>,
}

/// An action that has its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was written.
    Written,
    /// A rule to be deleted was gone already.
    AlreadyGone,
}

/// An action that has not, or may not have, its effect.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Netmaker, or the way there.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It was not begun.
    #[error("not begun, after another write failed")]
    Skipped,
    /// This process may lead no longer.
    #[error("not begun, for another process may lead by now")]
    NotLeading,
}

/// What writing needs.
pub struct Writer<'a> {
    /// The server.
    pub netmaker: &'a Netmaker,
    /// Whose rules are written.
    pub cluster: &'a Cluster,
    /// Whether this process may write.
    pub fence: &'a Fence,
    /// Cancelled when no further write is to begin.
    pub stop: &'a CancellationToken,
    /// Where writes are counted.
    pub metrics: &'a Metrics,
}

impl Writer<'_> {
    /// Does the actions: first what is needed, then what is removed.
    pub async fn execute(&self, actions: Vec<Action>) -> Vec<Outcome> {
        let is_deletion = |action: &Action| matches!(action, Action::Delete(_));
        let (last, first): (Vec<_>, Vec<_>) = actions.into_iter().partition(is_deletion);
        let failed = AtomicBool::new(false);
        let mut outcomes = self.all(first, &failed).await;
        outcomes.extend(self.all(last, &failed).await);
        outcomes
    }

    async fn all(&self, actions: Vec<Action>, failed: &AtomicBool) -> Vec<Outcome> {
        let mut waiting = actions.into_iter();
        let mut running = FuturesUnordered::new();
        let mut outcomes = Vec::with_capacity(waiting.len());
        loop {
            let room = CONCURRENCY - running.len();
            for action in waiting.by_ref().take(room) {
                running.push(self.outcome(action, failed));
            }
            match running.next().await {
                Some(outcome) => outcomes.push(outcome),
                None => return outcomes,
            }
        }
    }

    async fn outcome(&self, action: Action, failed: &AtomicBool) -> Outcome {
        let result = self.one(&action, failed).await;
        self.metrics.write(verb(&action), word(&result));
        Outcome { action, result }
    }

    async fn one(&self, action: &Action, failed: &AtomicBool) -> Result<Done, WriteError> {
        if failed.load(Ordering::Relaxed) || self.stop.is_cancelled() {
            return Err(WriteError::Skipped);
        }
        let Some(deadline) = self.fence.write_deadline() else {
            return Err(WriteError::NotLeading);
        };
        let netmaker = self.netmaker;
        let result = match action {
            Action::Create(wanted) => netmaker.create(&self.body(wanted), deadline).await,
            Action::Update { rule, wanted, .. } => {
                netmaker.update(*rule, &self.body(wanted), deadline).await
            }
            Action::Delete(deletion) => match netmaker.delete(deletion.rule, deadline).await {
                Err(ClientError::NoSuchRecord { .. }) => return Ok(Done::AlreadyGone),
                other => other,
            },
        };
        if let Err(error) = &result
            && !error.is_of_one_request()
        {
            failed.store(true, Ordering::Relaxed);
        }
        result?;
        Ok(Done::Written)
    }

    fn body(&self, wanted: &Wanted) -> RuleBody {
        RuleBody {
            name: ownership::rule_name(&wanted.node, wanted.index, wanted.count),
            network: wanted.network.clone(),
            description: self.cluster.description(wanted.index),
            range: wanted.cidr.to_string(),
            nodes: BTreeMap::from([(wanted.member.to_string(), METRIC)]),
            tags: BTreeMap::new(),
            domain: "",
            nat: false,
            mode: "",
            status: true,
            is_internet_gateway: false,
        }
    }
}

const fn verb(action: &Action) -> &'static str {
    match action {
        Action::Create(_) => "create",
        Action::Update { .. } => "update",
        Action::Delete(_) => "delete",
    }
}

fn word(result: &Result<Done, WriteError>) -> &'static str {
    match result {
        Ok(Done::Written) => "ok",
        Ok(Done::AlreadyGone) => "gone",
        Err(WriteError::Skipped) => "skipped",
        Err(WriteError::NotLeading) => "not_leading",
        Err(WriteError::Client(error)) if error.is_ambiguous() => "unknown",
        Err(WriteError::Client(_)) => "refused",
    }
}
