//! What starts a pass: a Node that changed, its turn, a failure, a Node that waits for its host.

use std::time::Duration;

use jiff::Timestamp;
use nico_runtime::backoff::Backoff;
use nico_runtime::context::Context;
use nico_runtime::leader::Fence;
use nico_runtime::server::Readiness;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::causes::chain;
use crate::execute::{Outcome, WriteError, Writer};
use crate::metrics::Metrics;
use crate::netmaker::{ClientError, Netmaker};
use crate::nodes::NodeCache;
use crate::observe::{Age, FRESH, Reader};
use crate::plan::{self, Action, NodeState, Plan};
use crate::report::Reporter;
use crate::settings::Settings;

/// Changes that come within this time make one pass.
const DEBOUNCE: Duration = Duration::from_millis(25);
/// After failures: soon at first, and never so late that an outage is felt long after its end.
const RETRY: Backoff = Backoff {
    base: Duration::from_secs(1),
    max: Duration::from_secs(60),
};

/// The controller ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The watch of Nodes ended, though nobody asked for it.
    #[error("the watch of Nodes ended by itself")]
    WatchEnded,
}

/// What the controller is made of.
pub struct Parts {
    /// The server.
    pub netmaker: Netmaker,
    /// How the mesh is kept.
    pub settings: Settings,
    /// Whether this process may write.
    pub fence: Fence,
    /// Where numbers go.
    pub metrics: Metrics,
    /// Where it is said that the Nodes were read.
    pub readiness: Readiness,
}

/// Keeps the rules until shutdown. Writes that are on their way then are finished.
///
/// # Errors
/// When the watch of Nodes ends.
pub async fn run(context: Context, parts: Parts) -> Result<(), Error> {
    let selector = parts.settings.selector.as_deref();
    let nodes = NodeCache::start(context.client.clone(), selector, context.shutdown.clone());
    let mut changes = nodes.changes();
    let mut controller = Controller {
        reader: Reader::new(parts.netmaker.clone(), parts.settings.clone()),
        reporter: Reporter::start(context.events.clone()),
        nodes,
        failures: 0,
        follow_up: false,
        had_inconsistent: false,
        context,
        parts,
    };
    let shutdown = controller.context.shutdown.clone();
    // Nothing is known before the first list of Nodes is whole.
    tokio::select! {
        complete = changes.wait_for(|changes| *changes > 0) => {
            complete.map_err(|_| Error::WatchEnded)?;
        }
        () = shutdown.cancelled() => return Ok(()),
    }
    controller.parts.readiness.set(true);
    let mut age = Age::New;
    let mut next_full = Instant::now();
    while !shutdown.is_cancelled() {
        changes.mark_unchanged();
        if Instant::now() >= next_full {
            age = Age::New;
        }
        let was_full = age == Age::New;
        let wait = controller.pass(age).await;
        let due = Instant::now() + wait.unwrap_or(controller.parts.settings.resync);
        next_full = if was_full { due } else { due.min(next_full) };
        age = Age::Any;
        tokio::select! {
            changed = changes.changed() => {
                changed.map_err(|_| Error::WatchEnded)?;
                // What belongs together comes together.
                tokio::select! {
                    () = tokio::time::sleep(DEBOUNCE) => {}
                    () = shutdown.cancelled() => {}
                }
            }
            () = tokio::time::sleep_until(next_full) => {}
            () = shutdown.cancelled() => {}
        }
    }
    Ok(())
}

struct Controller {
    reader: Reader,
    reporter: Reporter,
    nodes: NodeCache,
    /// Passes that failed in a row.
    failures: u32,
    /// A write may still arrive that was given up.
    follow_up: bool,
    /// Netmaker's lists did not agree about a host the last time.
    had_inconsistent: bool,
    context: Context,
    parts: Parts,
}

impl Controller {
    /// One pass. Returns how long to wait for the next full one, if not for the usual time.
    async fn pass(&mut self, age: Age) -> Option<Duration> {
        let start = Instant::now();
        let result = self.look_and_write(age).await;
        self.parts.metrics.pass(start.elapsed());
        match result {
            Ok(wait) => wait,
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                let wait = RETRY.delay(self.failures, rand::random());
                let again = wait.as_secs_f32();
                warn!(
                    error = chain(&error),
                    "the pass failed; again in {again:.1} s"
                );
                Some(wait)
            }
        }
    }

    async fn look_and_write(&mut self, age: Age) -> Result<Option<Duration>, ClientError> {
        let mut plan = self.look(age).await?;
        if age != Age::New && !self.reader.is_fresh() && plan.hangs_on_hosts() {
            plan = self.look(Age::New).await?;
        }
        self.parts.metrics.show(&plan);
        self.reporter.plan(&plan);
        let planned = plan.actions.len();
        let outcomes = self.write(std::mem::take(&mut plan.actions)).await;
        let is_all_tried = outcomes.len() == planned && plan.withheld.is_none();
        Ok(self.conclude(&plan, &outcomes, is_all_tried))
    }

    async fn look(&mut self, age: Age) -> Result<Plan, ClientError> {
        let nodes = self.nodes.snapshot();
        let observed = self.reader.read(nodes, age).await?;
        let policy = self.parts.settings.policy();
        Ok(plan::plan(&observed, &policy, Timestamp::now()))
    }

    async fn write(&self, actions: Vec<Action>) -> Vec<Outcome> {
        if self.parts.settings.dry_run {
            self.reporter.would_do(&actions);
            return Vec::new();
        }
        let writer = Writer {
            netmaker: &self.parts.netmaker,
            cluster: &self.parts.settings.cluster,
            fence: &self.parts.fence,
            stop: &self.context.shutdown,
            metrics: &self.parts.metrics,
        };
        let outcomes = writer.execute(actions).await;
        self.reporter.outcomes(&outcomes);
        outcomes
    }

    /// When to look again.
    fn conclude(
        &mut self,
        plan: &Plan,
        outcomes: &[Outcome],
        is_all_tried: bool,
    ) -> Option<Duration> {
        let failed = outcomes
            .iter()
            .filter(|outcome| outcome.result.is_err())
            .count();
        let is_unknown = outcomes.iter().any(|outcome| {
            matches!(&outcome.result, Err(WriteError::Client(error)) if error.is_ambiguous())
        });
        if failed > 0 {
            self.failures = self.failures.saturating_add(1);
            self.follow_up |= is_unknown;
            let wait = RETRY.delay(self.failures, rand::random());
            warn!(failed, all = outcomes.len(), "some writes failed");
            return Some(wait);
        }
        self.failures = 0;
        if is_all_tried {
            self.parts.metrics.succeeded(Timestamp::now());
        }
        if !outcomes.is_empty() {
            info!(
                writes = outcomes.len(),
                nodes = plan.nodes.len(),
                "all rules are written"
            );
        } else {
            debug!(nodes = plan.nodes.len(), "nothing to write");
        }
        // Lists that were read while a host joined agree the next time; what does not then is no
        // matter of moments.
        let has_inconsistent = plan.is_waiting(NodeState::Inconsistent);
        let is_new = has_inconsistent && !self.had_inconsistent;
        self.had_inconsistent = has_inconsistent;
        if std::mem::take(&mut self.follow_up) || is_new {
            return Some(FRESH);
        }
        self.has_young_that_wait(plan).then_some(FRESH)
    }

    /// A Node that was just made gets its host soon.
    fn has_young_that_wait(&self, plan: &Plan) -> bool {
        let now = Timestamp::now().as_second();
        let nodes = self.nodes.snapshot();
        plan.nodes.iter().any(|(name, state)| {
            matches!(state, NodeState::HostMissing | NodeState::Inconsistent)
                && nodes
                    .get(name)
                    .is_some_and(|node| now - node.created.as_second() < plan::YOUNG_SECONDS)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D19: after a long outage a Node waited for a quarter of an hour.
    #[test]
    fn d19_no_failure_is_followed_by_a_long_wait() {
        let waits = (1..1000).map(|failures| RETRY.delay(failures, 1.0));
        assert_eq!(waits.max(), Some(Duration::from_secs(60)));
    }
}
