//! What starts a probe: a Machine that is new or changed, a Secret that it refers to, its turn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt, future, stream};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::controller::{self, Action, Config, ReconcileRequest};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event as WatchEvent, watcher};
use kube::runtime::{WatchStreamExt, applier};
use kube::{Api, Resource, ResourceExt};
use nico_api::Machine;
use nico_api::machine::conditions::READY;
use nico_api::reason::MachineReason;
use nico_runtime::backoff::Backoff;
use nico_runtime::category::{Categorized, Category};
use nico_runtime::context::Context;
use nico_runtime::events::{Event, EventKind};
use nico_runtime::status;
use nico_ssh::{Access, KNOWN_HOSTS_SECRET};
use serde_json::json;
use thiserror::Error;

use super::execute::{ExecuteError, execute};
use super::observe::{Place, ProbeError, Prober, chain};
use super::plan::{self, Intervals};
use super::schedule::{self, Due, Schedule};
use super::settings::Settings;
use super::under_way::{State, UnderWay};
use crate::metrics::Metrics;

/// A Machine, or why an object is none: one that cannot be read stops no other.
pub(super) type Guarded = DeserializeGuard<Machine>;

/// The kind, as metrics name it.
const KIND: &str = "Machine";

/// Owns what is said on objects that are no Machines; see [`Controller::report_unreadable`].
const UNREADABLE_MANAGER: &str = "nio-machine-controller-unreadable";

/// A write that lost against another one is made again from what is true then.
const CONFLICT_DELAY: Duration = Duration::from_secs(1);

/// Why the controller ended.
#[derive(Debug, Error)]
pub enum Error {
    /// The watch ended, though nobody asked for it.
    #[error("the Machine controller ended by itself")]
    Ended,
}

impl Categorized for Error {
    fn category(&self) -> Category {
        match self {
            Self::Ended => Category::Bug,
        }
    }
}

/// Why the outcome of a probe was not recorded.
#[derive(Debug, Error)]
enum ReconcileError {
    #[error("cannot probe the machine")]
    Observe(#[from] ProbeError),
    #[error("cannot record what the probe found")]
    Execute(#[from] ExecuteError),
    #[error("cannot report on an object that is no Machine")]
    Report(#[source] kube::Error),
}

impl Categorized for ReconcileError {
    fn category(&self) -> Category {
        match self {
            Self::Observe(error) => error.category(),
            Self::Execute(error) => error.category(),
            Self::Report(error) => error.category(),
        }
    }
}

struct Controller {
    context: Context,
    access: Access,
    prober: Prober,
    intervals: Intervals,
    schedule: Schedule,
    under_way: Arc<UnderWay<ReconcileError>>,
    metrics: Metrics,
    /// By uid: what was said on objects that are no Machines, so that it is said once.
    reported: Mutex<HashMap<String, String>>,
}

/// Runs until the shutdown of `context`. Probes that are under way then are given up.
pub(crate) async fn run(
    context: Context,
    access: Access,
    settings: Settings,
    metrics: Metrics,
) -> Result<(), Error> {
    let shutdown = context.shutdown.clone();
    let stop = shutdown.child_token();
    let (under_way, ended) = UnderWay::new(stop.clone());
    let _stops_probes = stop.drop_guard();
    let (store, writer) = reflector::store::<Guarded>();
    metrics.machines.watch(store.clone());
    let controller = Arc::new(Controller {
        prober: Prober::new(access.clone(), &settings, metrics.machines.clone()),
        access,
        intervals: Intervals {
            discovery: settings.discovery_interval,
            scan: settings.hardware_scan_interval,
        },
        schedule: Schedule::default(),
        under_way: Arc::new(under_way),
        reported: Mutex::default(),
        context: context.clone(),
        metrics,
    });

    let machines = watcher(Api::all(context.client.clone()), watcher::Config::default())
        .default_backoff()
        .modify(slim)
        .reflect(writer)
        .inspect_ok({
            let (controller, store) = (Arc::clone(&controller), store.clone());
            move |event| controller.forget_deleted(event, &store)
        })
        .touched_objects()
        .map_ok(|machine| ReconcileRequest::from(ObjectRef::from_obj(&machine)));
    let secrets = secret_changes(&context, Arc::clone(&controller), store.clone());
    let others = stream::select(ended.map(ReconcileRequest::from), secrets);
    let triggers =
        stream::select(machines, others.map(Ok)).take_until(shutdown.clone().cancelled_owned());

    applier(
        |machine, controller| Box::pin(reconcile(machine, controller)),
        |machine, error, controller| error_policy(&machine, error, &controller),
        controller,
        store,
        Box::pin(triggers),
        // A reconciliation only begins a probe; those bound themselves.
        Config::default(),
    )
    .for_each(|outcome| {
        match outcome {
            Err(controller::Error::QueueError(error)) => {
                tracing::warn!(error = chain(&error), "cannot watch Machines; trying again");
            }
            // Objects that are gone, and failures that the error policy has told.
            Err(error) => tracing::debug!(%error, "machine not reconciled"),
            Ok(_) => {}
        }
        future::ready(())
    })
    .await;
    if shutdown.is_cancelled() {
        Ok(())
    } else {
        Err(Error::Ended)
    }
}

async fn reconcile(
    guarded: Arc<Guarded>,
    controller: Arc<Controller>,
) -> Result<Action, ReconcileError> {
    let machine = match &guarded.0 {
        Ok(machine) => machine,
        Err(invalid) => return controller.report_unreadable(&guarded, &invalid.error).await,
    };
    if machine.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    match controller.under_way.state(&guarded) {
        State::Idle => {}
        State::Runs => return Ok(Action::await_change()),
        State::Failed(error) => return Err(error),
    }
    let changed = match controller.schedule.due(machine) {
        Due::In(wait) => return Ok(Action::requeue(wait)),
        Due::Changed => true,
        Due::Routine => false,
    };
    let probe = Arc::clone(&controller).probe_in_turn(Arc::clone(&guarded), changed);
    controller.under_way.begin(&guarded, probe);
    Ok(Action::await_change())
}

fn error_policy(guarded: &Guarded, error: &ReconcileError, controller: &Controller) -> Action {
    let namespace = guarded.namespace().unwrap_or_default();
    let category = error.category();
    controller
        .metrics
        .reconcile
        .failed(KIND, &namespace, category);
    let name = guarded.name_any();
    tracing::warn!(namespace, name, error = chain(error), "probe not recorded");
    let failures = guarded
        .0
        .as_ref()
        .map_or(1, |machine| controller.schedule.failed(machine));
    match category {
        Category::Conflict => Action::requeue(CONFLICT_DELAY),
        _ => Action::requeue(Backoff::RECONCILE.delay(failures, rand::random())),
    }
}

impl Controller {
    /// Waits for a place, which thousands may do at once, and only then begins what takes memory.
    async fn probe_in_turn(
        self: Arc<Self>,
        guarded: Arc<Guarded>,
        changed: bool,
    ) -> Result<(), ReconcileError> {
        let started = tokio::time::Instant::now();
        let place = self.prober.place().await;
        let outcome = match &guarded.0 {
            Ok(machine) => Box::pin(self.probe(machine, changed, place)).await,
            Err(_) => Ok(()),
        };
        self.metrics.reconcile.observe(KIND, started.elapsed());
        outcome
    }

    async fn probe(
        &self,
        machine: &Machine,
        changed: bool,
        place: Place,
    ) -> Result<(), ReconcileError> {
        let questions = plan::questions(machine, changed, Timestamp::now(), self.intervals);
        let observed = self.prober.observe(machine, questions, place).await?;
        if let Err(failure) = &observed.contact {
            let namespace = machine.namespace().unwrap_or_default();
            let reconcile = &self.metrics.reconcile;
            match failure.reason {
                MachineReason::InvalidSpec => reconcile.invalid(KIND, &namespace),
                _ => reconcile.error(KIND, &namespace, failure.category),
            }
        }
        let now = Timestamp::now();
        let plan = plan::plan(
            machine,
            &observed,
            self.schedule.last_success(machine),
            now,
            self.intervals,
        );
        execute(&self.context, &self.access, machine, plan).await?;
        let next = schedule::until_next(now, self.intervals.discovery, schedule::phase(machine));
        self.schedule
            .probed(machine, observed.contact.is_ok().then_some(now), next);
        Ok(())
    }

    /// Says on an object that it is no Machine. With a field manager of its own, so that what
    /// the controller said while the object was one stays.
    async fn report_unreadable(
        &self,
        guarded: &Guarded,
        error: &str,
    ) -> Result<Action, ReconcileError> {
        let uid = guarded.uid().unwrap_or_default();
        if self
            .reported()
            .get(&uid)
            .is_some_and(|reported| reported == error)
        {
            return Ok(Action::await_change());
        }
        let namespace = guarded.namespace().unwrap_or_default();
        self.metrics.reconcile.invalid(KIND, &namespace);
        let note = format!("the object cannot be read as a Machine and is passed over: {error}");
        let condition = Condition {
            type_: READY.to_owned(),
            status: "False".to_owned(),
            reason: MachineReason::InvalidSpec.as_str().to_owned(),
            message: note.clone(),
            observed_generation: guarded.meta().generation,
            last_transition_time: Time(Timestamp::now()),
        };
        let event = Event {
            kind: EventKind::Warning,
            reason: MachineReason::InvalidSpec.as_str(),
            action: "Read",
            note,
        };
        self.context.events.publish(guarded, event).await;
        let status = json!({"conditions": [condition]});
        match status::apply(&self.context.client, UNREADABLE_MANAGER, guarded, status).await {
            Err(kube::Error::Api(response)) if response.code == 404 => {}
            Err(source) => return Err(ReconcileError::Report(source)),
            Ok(_) => {}
        }
        self.reported().insert(uid, error.to_owned());
        Ok(Action::await_change())
    }

    /// Lets go of what is remembered of a Machine that was deleted.
    fn forget_deleted(&self, event: &WatchEvent<Guarded>, store: &Store<Guarded>) {
        let WatchEvent::Delete(guarded) = event else {
            return;
        };
        self.reported().remove(&guarded.uid().unwrap_or_default());
        self.under_way.forget(guarded);
        if let Ok(machine) = &guarded.0 {
            self.schedule.forget(machine);
        }
        let namespace = guarded.namespace();
        if !store
            .state()
            .iter()
            .any(|other| other.namespace() == namespace)
        {
            let namespace = namespace.unwrap_or_default();
            self.metrics.machines.forget(&namespace);
            self.metrics.reconcile.forget(KIND, &namespace);
        }
    }

    /// The machines that refer to a Secret that has changed; their next look is a probe.
    fn machines_of(
        &self,
        secret: &PartialObjectMeta<Secret>,
        store: &Store<Guarded>,
    ) -> Vec<ReconcileRequest<Guarded>> {
        let referring = |guarded: &Arc<Guarded>| {
            let machine = guarded.0.as_ref().ok()?;
            refers_to(
                machine,
                &secret.namespace().unwrap_or_default(),
                &secret.name_any(),
            )
            .then(|| {
                self.schedule.expire(machine);
                ReconcileRequest::from(ObjectRef::from_obj(guarded.as_ref()))
            })
        };
        store.state().iter().filter_map(referring).collect()
    }

    fn reported(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Machines whose Secrets have changed. That of the pinned host keys is not theirs: probes write
/// it. Only metadata is watched: contents are read when a probe
/// needs them. What changed while no watch was open is found by the next routine probe.
fn secret_changes(
    context: &Context,
    controller: Arc<Controller>,
    store: Store<Guarded>,
) -> impl Stream<Item = ReconcileRequest<Guarded>> + use<> {
    let secrets: Api<PartialObjectMeta<Secret>> = Api::all(context.client.clone());
    watcher(secrets, watcher::Config::default())
        .default_backoff()
        .flat_map(move |event| match event {
            Ok(WatchEvent::Apply(secret) | WatchEvent::Delete(secret))
                if secret.name_any() != KNOWN_HOSTS_SECRET =>
            {
                stream::iter(controller.machines_of(&secret, &store))
            }
            Ok(_) => stream::iter(Vec::new()),
            Err(error) => {
                tracing::warn!(%error, "cannot watch Secrets; changed credentials are seen at the next routine probe");
                stream::iter(Vec::new())
            }
        })
}

fn refers_to(machine: &Machine, namespace: &str, secret: &str) -> bool {
    let own = machine.namespace().unwrap_or_default();
    let key = machine
        .spec
        .ssh_key_secret_ref
        .as_ref()
        .map(|key| (&key.namespace, &key.name));
    let password = machine.spec.ssh_password_secret_ref.as_ref();
    let password = password.map(|password| (&password.namespace, &password.name));
    [key, password].into_iter().flatten().any(|(of, name)| {
        name == secret && of.as_deref().filter(|of| !of.is_empty()).unwrap_or(&own) == namespace
    })
}

/// Leaves out what the controller does not look at and what takes memory: of the facts only those
/// of NixOS stay, and the report of `nixos-facter` as an empty object, which says that there is
/// one.
fn slim(guarded: &mut Guarded) {
    guarded.meta_mut().managed_fields = None;
    let Some(status) = guarded
        .0
        .as_mut()
        .ok()
        .and_then(|machine| machine.status.as_mut())
    else {
        return;
    };
    if let Some(facts) = &mut status.hardware_facts {
        facts.retain(|name, _| name == "nixos");
    }
    if let Some(report) = &mut status.nix_facter_result {
        *report = serde_json::Map::new();
    }
}
