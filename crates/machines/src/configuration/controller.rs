//! What starts a reconcile: a configuration, its machine or a Secret of it that changed, its
//! turn, or a failure that waited long enough.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, watcher};
use kube::{Api, Resource, ResourceExt};
use nico_api::{Machine, NixosConfiguration};
use nico_runtime::backoff::Backoff;
use nico_runtime::category::{Categorized, Category};
use nico_runtime::context::Context;
use nico_runtime::events::{Event, EventKind};
use nico_ssh::Access;
use sha2::{Digest, Sha256};
use tokio_util::task::AbortOnDropHandle;

use super::Guarded;
use super::apply::ApplyError;
use super::execute::{ExecuteError, execute};
use super::metrics::ConfigurationMetrics;
use super::observe::Observer;
use super::plan::{Rhythm, plan};
use super::settings::Settings;
use super::workspace::Workspaces;
use crate::git::{MirrorError, Mirrors};
use crate::metrics::ReconcileMetrics;
use crate::nix::Nix;

/// The kind, as metrics name it.
const KIND: &str = "NixosConfiguration";

/// Unused mirrors are looked for at least this often.
const HOUR: Duration = Duration::from_secs(3600);

/// A write that lost against another one is made again from what is true then.
const CONFLICT: Backoff = Backoff {
    base: Duration::from_millis(200),
    max: Duration::from_millis(200),
};

/// Why the controller did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory for mirrors cannot be used.
    #[error("cannot use NIO_BASE_CONFIG_PATH: {0}")]
    Mirrors(#[from] MirrorError),
    /// The directory for attempts cannot be used.
    #[error("cannot use NIO_BASE_CONFIG_PATH: cannot write {path}: {source}")]
    Storage {
        /// The directory.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The watch ended, though nobody asked for it.
    #[error("the NixosConfiguration controller ended by itself")]
    Ended,
}

impl Categorized for Error {
    fn category(&self) -> Category {
        match self {
            Self::Mirrors(_) | Self::Storage { .. } => Category::InvalidInput,
            Self::Ended => Category::Bug,
        }
    }
}

/// What every reconcile works with.
pub(super) struct World {
    pub(super) context: Context,
    pub(super) access: Access,
    pub(super) observer: Observer,
    pub(super) nix: Nix,
    pub(super) workspaces: Workspaces,
    pub(super) settings: Settings,
    pub(super) metrics: ConfigurationMetrics,
    reconciles: ReconcileMetrics,
    /// The configurations in the watch cache.
    pub(super) store: Store<Guarded>,
}

impl World {
    /// Lets go of what is remembered of an object that is gone.
    fn forget(&self, object: &Guarded) {
        self.observer.forget(&object.uid().unwrap_or_default());
        let namespace = object.namespace().unwrap_or_default();
        if let Ok(configuration) = &object.0 {
            let machine = &configuration.spec.machine_ref.name;
            self.metrics.forget(&namespace, machine);
        }
        let in_namespace = |other: &Arc<Guarded>| {
            other.namespace() == object.namespace() && other.uid() != object.uid()
        };
        if !self.store.state().iter().any(in_namespace) {
            self.metrics.forget_namespace(&namespace);
            self.reconciles.forget(KIND, &namespace);
        }
    }
}

/// A reconcile that was not finished.
#[derive(Debug, thiserror::Error)]
enum ReconcileError {
    #[error("cannot read the configuration and what belongs to it: {0}")]
    Observe(#[source] kube::Error),
    #[error(transparent)]
    Execute(#[from] ExecuteError),
}

impl Categorized for ReconcileError {
    fn category(&self) -> Category {
        match self {
            Self::Observe(error) => error.category(),
            Self::Execute(error) => error.category(),
        }
    }
}

/// Runs the controller until the shutdown of `context`. What is in hand then is finished, if
/// the host is just being changed, or left as it is, to be taken up by the next process.
///
/// # Errors
/// [`Error`] when it cannot start, or ends by itself.
pub(crate) async fn run(
    context: Context,
    access: Access,
    settings: Settings,
    metrics: ConfigurationMetrics,
    reconciles: ReconcileMetrics,
) -> Result<(), Error> {
    let (attempts, home) = (settings.attempts(), settings.home());
    let workspaces = Workspaces::open(attempts.clone()).map_err(storage(&attempts))?;
    std::fs::create_dir_all(&home).map_err(storage(&home))?;
    let mirrors = Mirrors::open(settings.git(), metrics.clone())?;
    let client = context.client.clone();
    let configurations: Api<Guarded> = Api::all(client.clone());
    let controller = Controller::new(configurations, watcher::Config::default());
    let store = controller.store();
    metrics.watch(store.clone());
    let world = Arc::new(World {
        nix: Nix::new(settings.nix(), metrics.clone()),
        observer: Observer::new(client.clone(), mirrors),
        workspaces,
        access,
        settings,
        metrics,
        reconciles,
        store: store.clone(),
        context: context.clone(),
    });
    let _cleaning = AbortOnDropHandle::new(tokio::spawn(clean_mirrors(Arc::clone(&world))));
    let changes = MachineChanges::default();
    let by_machine = store.clone();
    let by_secret = store;
    controller
        .watches(
            Api::<Machine>::all(client.clone()),
            watcher::Config::default(),
            move |machine| {
                let changed = changes.notice(&machine);
                referring(&by_machine, changed, |it| uses_machine(it, &machine))
            },
        )
        .watches(
            Api::<PartialObjectMeta<Secret>>::all(client),
            watcher::Config::default(),
            move |secret| referring(&by_secret, true, |it| uses_secret(it, &secret)),
        )
        .graceful_shutdown_on(context.shutdown.clone().cancelled_owned())
        .run(reconcile, retry, world)
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(%error, "reconcile of a configuration");
            }
        })
        .await;
    if context.shutdown.is_cancelled() {
        Ok(())
    } else {
        Err(Error::Ended)
    }
}

fn storage(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.display().to_string();
    |source| Error::Storage { path, source }
}

/// Removes mirrors that nobody uses, and what nobody uses of the others, for as long as the
/// controller runs.
async fn clean_mirrors(world: Arc<World>) {
    let kept = world.settings.keep_unused_mirrors;
    let mut turns = tokio::time::interval((kept / 8).clamp(Duration::from_millis(100), HOUR));
    loop {
        turns.tick().await;
        let mirrors = Arc::clone(&world);
        let removed =
            tokio::task::spawn_blocking(move || mirrors.observer.mirrors.remove_unused()).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%error, "a mirror that nobody uses was not removed");
        }
        if let Err(error) = world.observer.mirrors.compact().await {
            tracing::warn!(%error, "a mirror was not cleaned up");
        }
    }
}

async fn reconcile(object: Arc<Guarded>, world: Arc<World>) -> Result<Action, ReconcileError> {
    let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
    if let Err(invalid) = &object.0 {
        world.reconciles.invalid(KIND, &namespace);
        report_unreadable(&world, &object, &invalid.error).await;
        return Ok(Action::await_change());
    }
    let started = Instant::now();
    let observed = world.observer.observe(&namespace, &name).await;
    let Some(observed) = observed.map_err(ReconcileError::Observe)? else {
        world.forget(&object);
        return Ok(Action::await_change());
    };
    let rhythm = Rhythm {
        interval: world.settings.reconcile_interval,
        backoff: world.settings.backoff,
        jitter: jitter(&observed.configuration.uid().unwrap_or_default()),
    };
    if let Some(Err(obstacle)) = &observed.wanted {
        match (obstacle.step, obstacle.category) {
            (None, Category::InvalidInput) => world.reconciles.invalid(KIND, &namespace),
            (_, category) => world.reconciles.error(KIND, &namespace, category),
        }
    }
    let plan = plan(&observed, &rhythm, Timestamp::now());
    tracing::debug!(namespace, name, actions = plan.actions.len(), "planned");
    let executed = execute(&world, &observed.configuration, plan.actions).await;
    world.reconciles.observe(KIND, started.elapsed());
    match executed {
        Ok(()) => Ok(plan
            .requeue
            .map_or_else(Action::await_change, Action::requeue)),
        // The failure is in the status by now, and from there the time of the next attempt
        // follows.
        Err(ExecuteError::Apply(ApplyError::Failed(failure))) => {
            world.reconciles.error(KIND, &namespace, failure.category);
            Ok(Action::requeue(Duration::ZERO))
        }
        Err(ExecuteError::Apply(ApplyError::Interrupted(_))) => Ok(Action::requeue(Duration::ZERO)),
        Err(error) => Err(error.into()),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature is that of kube"
)]
fn retry(object: Arc<Guarded>, error: &ReconcileError, world: Arc<World>) -> Action {
    let namespace = object.namespace().unwrap_or_default();
    let category = error.category();
    world.reconciles.failed(KIND, &namespace, category);
    let name = object.name_any();
    tracing::warn!(namespace, name, %error, category = category.as_str(), "will try again");
    let backoff = match category {
        Category::Conflict => CONFLICT,
        _ => world.settings.backoff,
    };
    Action::requeue(backoff.delay(1, rand::random()))
}

/// Tells the owner of an object that does not fit the schema, and leaves it alone.
async fn report_unreadable(world: &World, object: &Guarded, error: &str) {
    let mut unreadable = NixosConfiguration::new(&object.name_any(), Default::default());
    unreadable.metadata = object.meta().clone();
    let event = Event {
        kind: EventKind::Warning,
        reason: "Unreadable",
        action: "Reconcile",
        note: format!("the object does not fit its CustomResourceDefinition: {error}"),
    };
    world.context.events.publish(&unreadable, event).await;
}

/// The configurations in the watch cache for which `uses` holds.
fn referring(
    store: &Store<Guarded>,
    changed: bool,
    uses: impl Fn(&NixosConfiguration) -> bool,
) -> Vec<ObjectRef<Guarded>> {
    if !changed {
        return Vec::new();
    }
    store
        .state()
        .iter()
        .filter(|object| object.0.as_ref().is_ok_and(&uses))
        .map(|object| ObjectRef::from_obj(object.as_ref()))
        .collect()
}

fn uses_machine(configuration: &NixosConfiguration, machine: &Machine) -> bool {
    let name = machine.name_any();
    let carrier = configuration
        .status
        .as_ref()
        .and_then(|status| status.target_machine.as_ref());
    configuration.namespace() == machine.namespace()
        && (configuration.spec.machine_ref.name == name || carrier == Some(&name))
}

fn uses_secret(configuration: &NixosConfiguration, secret: &PartialObjectMeta<Secret>) -> bool {
    let name = secret.name_any();
    let spec = &configuration.spec;
    let credentials = spec.credentials_ref.as_ref().map(|it| &it.name);
    let mut files = spec
        .additional_files
        .iter()
        .filter_map(|file| file.secret_ref.as_ref().map(|it| &it.name));
    configuration.namespace() == secret.namespace()
        && (credentials == Some(&name) || files.any(|file| *file == name))
}

/// What of the Machines was seen: probes write their status all the time, and most of that
/// concerns no configuration.
#[derive(Default)]
struct MachineChanges(Mutex<HashMap<String, MachineView>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct MachineView {
    generation: Option<i64>,
    is_deleted: bool,
    is_discoverable: bool,
    holder: Option<String>,
    has_report: bool,
    /// What runs and what was booted: a host that was changed by hand is put back.
    nixos: Option<serde_json::Value>,
}

impl MachineChanges {
    /// Whether something changed that a configuration may care about.
    fn notice(&self, machine: &Machine) -> bool {
        let status = machine.status.as_ref();
        let view = MachineView {
            generation: machine.metadata.generation,
            is_deleted: machine.metadata.deletion_timestamp.is_some(),
            is_discoverable: machine.is_discoverable(),
            holder: status.and_then(|status| status.applied_configuration.clone()),
            has_report: status.is_some_and(|status| status.nix_facter_result.is_some()),
            nixos: machine.fact("nixos").cloned(),
        };
        let uid = machine.uid().unwrap_or_default();
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(uid, view.clone()) != Some(view)
    }
}

/// A number from 0 to 1 that is the same for an object as long as it lives.
fn jitter(uid: &str) -> f64 {
    let digest = Sha256::digest(uid.as_bytes());
    f64::from(digest[0]) / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use nico_api::MachineStatus;

    #[test]
    fn a_probe_that_changes_nothing_wakes_nobody() {
        let changes = MachineChanges::default();
        let mut machine = Machine::default();
        assert!(changes.notice(&machine));
        machine.status = Some(MachineStatus {
            last_seen_time: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                Timestamp::now(),
            )),
            ..MachineStatus::default()
        });
        assert!(!changes.notice(&machine));
        machine.status = Some(MachineStatus {
            discoverable: Some(true),
            ..MachineStatus::default()
        });
        assert!(changes.notice(&machine));
    }

    #[test]
    fn jitter_is_stable_and_within_its_range() {
        for uid in ["", "a", "b", "7f3c"] {
            assert!((0.0..=1.0).contains(&jitter(uid)));
            assert!((jitter(uid) - jitter(uid)).abs() < f64::EPSILON);
        }
    }
}
