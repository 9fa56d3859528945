//! One look at one cluster: observe, plan, execute, and say what is true.

use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use nico_api::condition;
use nico_api::kubernetes_cluster::{KubernetesClusterStatus, conditions as kind};
use nico_api::labels;
use nico_runtime::category::{Categorized, Category};
use nico_runtime::context::Context;
use nico_runtime::status;

use crate::action::Action;
use crate::execute::{ExecuteError, Executor};
use crate::metrics::Metrics;
use crate::observe::{ObserveError, Observer};
use crate::observed::{KubeconfigState, Observed, Workload};
use crate::plan::{self, Intervals, Plan};
use crate::role::Role;
use crate::transitions;

/// Looks at clusters.
pub struct Reconciler {
    /// The world as the operator may touch it.
    pub context: Context,
    /// Where everything is read from.
    pub observer: Observer,
    /// How often to look.
    pub intervals: Intervals,
    /// Where everything is counted.
    pub metrics: Metrics,
}

/// Why a look at a cluster failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The world could not be read.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// Something could not be done.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    /// The status could not be written.
    #[error("cannot write the status")]
    Status(#[source] kube::Error),
    /// The controller is ending.
    #[error("the controller is ending")]
    Stopping,
}

impl Categorized for Error {
    fn category(&self) -> Category {
        match self {
            Self::Observe(error) => error.category(),
            Self::Execute(error) => error.category(),
            Self::Status(error) => error.category(),
            Self::Stopping => Category::Transient,
        }
    }
}

impl Reconciler {
    /// Looks at a cluster once. Gives when to look again; `None` when it is no more.
    pub async fn reconcile(&self, namespace: &str, name: &str) -> Result<Option<Duration>, Error> {
        let started = Instant::now();
        let now = Timestamp::now();
        let Some(observed) = self.observer.observe(namespace, name, now).await? else {
            self.metrics.forget(namespace, name);
            return Ok(None);
        };
        let plan = plan::plan(&observed, &self.intervals, now);
        let executed = self.execute(&observed, &plan).await;
        if executed.is_ok() && plan.actions.contains(&Action::RemoveFinalizer) {
            self.observer.workloads.forget(observed.uid());
            self.metrics.forget(namespace, name);
            return Ok(None);
        }
        // What was observed is true whether or not the actions succeeded.
        self.write_status(&observed, &plan.status, now).await?;
        executed?;
        self.count(&observed, &plan, now);
        self.metrics.succeeded(namespace, name, started.elapsed());
        Ok(Some(plan.look_again))
    }

    async fn execute(&self, observed: &Observed, plan: &Plan) -> Result<(), ExecuteError> {
        let namespace = observed.cluster.namespace().unwrap_or_default();
        let name = observed.name();
        let new_cluster = match observed.workload {
            Workload::Answers(_) => self.observer.workloads.client(observed.uid()).await,
            Workload::NotAsked | Workload::Unreachable { .. } => None,
        };
        let executor = Executor::new(&self.context.client, &observed.cluster, new_cluster);
        for action in &plan.actions {
            tracing::debug!(namespace, cluster = name, ?action, "doing");
            executor.perform(action).await?;
            self.metrics.done(&namespace, &name, action);
            if let Some(event) = transitions::of_action(action) {
                self.context.events.publish(&observed.cluster, event).await;
            }
        }
        Ok(())
    }

    async fn write_status(
        &self,
        observed: &Observed,
        wanted: &KubernetesClusterStatus,
        now: Timestamp,
    ) -> Result<(), Error> {
        let before = observed.cluster.status.clone().unwrap_or_default();
        if before == *wanted {
            return Ok(());
        }
        let written = status::apply(
            &self.context.client,
            labels::CLUSTER_CONTROLLER,
            &observed.cluster,
            wanted,
        )
        .await;
        match written {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) => return Err(Error::Status(error)),
        }
        for event in transitions::between(&before, wanted) {
            self.context.events.publish(&observed.cluster, event).await;
        }
        if let Some(end) = transitions::rollout_end(&before, wanted, now) {
            let namespace = observed.cluster.namespace().unwrap_or_default();
            let name = observed.name();
            self.metrics.rollout_ended(&namespace, &name, &end);
        }
        Ok(())
    }

    fn count(&self, observed: &Observed, plan: &Plan, now: Timestamp) {
        let namespace = observed.cluster.namespace().unwrap_or_default();
        let name = observed.name();
        for role in [Role::ControlPlane, Role::Worker] {
            self.metrics
                .selected(&namespace, &name, role, observed.held(role).count());
        }
        self.metrics.searched(&namespace, &name, &plan.status, now);
        let (has_failed, contents) = match &observed.kubeconfig {
            KubeconfigState::Missing(problem) => (problem.is_some(), None),
            KubeconfigState::Proven(kubeconfig) => (false, Some(kubeconfig.contents())),
            KubeconfigState::Published(published) => (
                published.problem.is_some(),
                published.contents.as_ref().ok(),
            ),
        };
        if has_failed {
            self.metrics.kubeconfig_failed(&namespace, &name);
        }
        let end = contents.and_then(|contents| Some(contents.validity()?.until));
        self.metrics.kubeconfig_ends(&namespace, &name, end);
        let is_ready =
            |status: &KubernetesClusterStatus| condition::is_true(&status.conditions, kind::READY);
        // The first revision that every node runs is recorded when the cluster is first Ready.
        let is_first = observed
            .cluster
            .status
            .as_ref()
            .is_none_or(|status| status.revision.is_none());
        if let Some(created) = &observed.cluster.metadata.creation_timestamp
            && is_first
            && is_ready(&plan.status)
        {
            let seconds = now.duration_since(created.0).as_secs_f64();
            self.metrics.became_ready(seconds);
        }
    }
}
