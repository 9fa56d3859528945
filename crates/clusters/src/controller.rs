//! Watches, triggers and error policy: the only file that knows `kube::runtime`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{Action, Config as ControllerConfig, Controller};
use kube::runtime::reflector::{ObjectRef, store};
use kube::runtime::watcher::Config;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, ResourceExt};
use nico_api::{KubernetesCluster, labels};
use nico_runtime::backoff::Backoff;
use nico_runtime::category::{Categorized, Category};
use nico_runtime::causes::chain;
use nico_runtime::context::Context;
use nico_runtime::events::{Event, EventKind, Events};
use nico_ssh::Access;
use tokio::sync::OnceCell;

use crate::kubeconfig::{Hosts, SshHosts};
use crate::metrics::Metrics;
use crate::observe::Observer;
use crate::reconcile::{Error, Reconciler};
use crate::settings::Settings;
use crate::source::Sources;
use crate::triggers::{self, GuardedCluster, GuardedConfiguration, GuardedMachine};
use crate::workload::Workloads;

/// A conflict is over as soon as it is seen: the wait only keeps two clusters out of step.
const CONFLICT: Backoff = Backoff {
    base: Duration::from_millis(100),
    max: Duration::from_secs(2),
};

/// For what goes away by itself, or with somebody's help.
const FAILURE: Backoff = Backoff {
    base: Duration::from_secs(2),
    max: Duration::from_secs(60),
};

/// Why the cluster layer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// Its watches ended, which they only do when they are told to.
    #[error("the cluster controller ended before it was told to")]
    Ended,
}

/// Runs the cluster layer until the context is shut down.
///
/// # Errors
/// [`RunError`]; what goes wrong with one cluster is reported on that cluster instead.
pub async fn run(context: Context, settings: Settings, metrics: Metrics) -> Result<(), RunError> {
    let access = Access::new(
        context.client.clone(),
        &context.namespace,
        settings.allow_cross_namespace_secrets,
    );
    run_with(context, settings, metrics, Arc::new(SshHosts::new(access))).await
}

/// Runs the cluster layer with another way to reach machines than SSH.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    context: Context,
    settings: Settings,
    metrics: Metrics,
    hosts: Arc<dyn Hosts>,
) -> Result<(), RunError> {
    let client = context.client.clone();
    let (machines, machines_writer) = store();
    let machine_events = watcher(
        Api::<GuardedMachine>::all(client.clone()),
        Config::default(),
    )
    .default_backoff()
    .modify(triggers::forget_what_decides_nothing);
    let machine_changes = triggers::changes_that_matter(reflector(machines_writer, machine_events));
    let (configurations, configurations_writer) = store();
    let configuration_events = watcher(
        Api::<GuardedConfiguration>::all(client.clone()),
        Config::default(),
    )
    .default_backoff()
    .modify(triggers::forget_what_it_configures);
    let configuration_changes =
        reflector(configurations_writer, configuration_events).touched_objects();
    let secret_changes = watcher(
        Api::<PartialObjectMeta<Secret>>::all(client.clone()),
        Config::default().labels(labels::CLUSTER),
    )
    .default_backoff()
    .touched_objects();

    let controller = Controller::new(
        Api::<GuardedCluster>::all(client.clone()),
        Config::default(),
    );
    let clusters = controller.store();
    metrics.read_from(clusters.clone());
    let state = Arc::new(State {
        failures: Mutex::default(),
        machines_known: OnceCell::new(),
        reconciler: Reconciler {
            observer: Observer {
                sources: Sources::new(client.clone(), &settings),
                client,
                machines: machines.clone(),
                configurations,
                clusters: clusters.clone(),
                hosts: Some(hosts),
                workloads: Workloads::default(),
                kubeconfig_interval: settings.kubeconfig_interval,
            },
            intervals: settings.intervals,
            metrics,
            context: context.clone(),
        },
    });
    let concurrency = ControllerConfig::default().concurrency(settings.concurrency.max(1));
    controller
        .with_config(concurrency)
        .watches_stream(machine_changes, move |machine| {
            triggers::clusters_that_care(&clusters, &machine)
        })
        .owns_stream(configuration_changes)
        .watches_stream(secret_changes, |secret: PartialObjectMeta<Secret>| {
            triggers::owner_of(&secret)
        })
        .graceful_shutdown_on(context.shutdown.clone().cancelled_owned())
        .run(look, after_failure, state)
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(error = chain(&error), "cluster controller");
            }
        })
        .await;
    if context.shutdown.is_cancelled() {
        Ok(())
    } else {
        Err(RunError::Ended)
    }
}

/// What is remembered between two looks.
struct State {
    reconciler: Reconciler,
    /// How often in a row each cluster failed.
    failures: Mutex<HashMap<ObjectRef<GuardedCluster>, u32>>,
    /// Set once the cache has all machines.
    machines_known: OnceCell<()>,
}

impl State {
    /// Waits until the cache has all machines: those that are missing would seem to be no more.
    ///
    /// Only one look waits for the cache itself, the others for that one, because of several
    /// futures of one task that wait for a cache only the last is woken.
    async fn machines_are_known(&self) -> Result<(), Error> {
        let ready = async || self.reconciler.observer.machines.wait_until_ready().await;
        self.machines_known
            .get_or_try_init(ready)
            .await
            .map(drop)
            .map_err(|_| Error::Stopping)
    }

    fn failed(&self, cluster: ObjectRef<GuardedCluster>) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(cluster).or_default();
        *count = count.saturating_add(1);
        *count
    }

    fn succeeded(&self, cluster: &ObjectRef<GuardedCluster>) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(cluster);
    }
}

async fn look(cluster: Arc<GuardedCluster>, state: Arc<State>) -> Result<Action, Error> {
    if let Err(invalid) = &cluster.0 {
        let note = format!(
            "the object cannot be understood: {}; correct it",
            invalid.error
        );
        let event = Event {
            kind: EventKind::Warning,
            reason: "InvalidSpec",
            action: "Reconcile",
            note,
        };
        let metadata = PartialObjectMeta::<KubernetesCluster> {
            types: None,
            metadata: invalid.metadata.clone(),
            _phantom: std::marker::PhantomData,
        };
        state
            .reconciler
            .context
            .events
            .publish(&metadata, event)
            .await;
        return Ok(Action::await_change());
    }
    state.machines_are_known().await?;
    let namespace = cluster.namespace().unwrap_or_default();
    let again = state
        .reconciler
        .reconcile(&namespace, &cluster.name_any())
        .await?;
    state.succeeded(&ObjectRef::from_obj(cluster.as_ref()));
    Ok(match again {
        Some(wait) => Action::requeue(wait.mul_f64(0.9 + 0.2 * rand::random::<f64>())),
        None => Action::await_change(),
    })
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the signature is that of kube::runtime"
)]
fn after_failure(cluster: Arc<GuardedCluster>, error: &Error, state: Arc<State>) -> Action {
    let namespace = cluster.namespace().unwrap_or_default();
    let name = cluster.name_any();
    let category = error.category();
    let failures = state.failed(ObjectRef::from_obj(cluster.as_ref()));
    state
        .reconciler
        .metrics
        .failed(&namespace, &name, category.as_str());
    let text = chain(error);
    let backoff = match category {
        Category::Conflict => {
            tracing::debug!(namespace, cluster = name, error = text, "trying again");
            CONFLICT
        }
        Category::Transient | Category::Waiting => {
            tracing::warn!(namespace, cluster = name, error = text, "trying again");
            FAILURE
        }
        Category::InvalidInput | Category::Bug => {
            tracing::error!(
                namespace,
                cluster = name,
                error = text,
                "a person is needed"
            );
            tell(state.reconciler.context.events.clone(), cluster, text);
            FAILURE
        }
    };
    Action::requeue(backoff.delay(failures, rand::random()))
}

/// Publishes what a person has to correct, without keeping the controller waiting.
fn tell(events: Events, cluster: Arc<GuardedCluster>, note: String) {
    tokio::spawn(async move {
        if let Ok(cluster) = &cluster.0 {
            let event = Event {
                kind: EventKind::Warning,
                reason: "ReconcileFailed",
                action: "Reconcile",
                note,
            };
            events.publish(cluster, event).await;
        }
    });
}
