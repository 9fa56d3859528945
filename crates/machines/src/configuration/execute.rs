//! Performs a plan: each action in turn, until one fails.

use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use nico_api::condition;
use nico_api::labels::{CONFIGURATION_CONTROLLER, CONFIGURATION_FINALIZER};
use nico_api::nixos_configuration::conditions::READY;
use nico_api::reason::ConfigurationReason;
use nico_api::{Machine, NixosConfiguration, NixosConfigurationStatus};
use nico_runtime::category::{Categorized, Category};
use nico_runtime::events::{Event, EventKind};
use nico_runtime::status;
use serde_json::json;

use super::apply::{ApplyError, apply};
use super::claim;
use super::controller::World;
use super::delivery::{self, DeliveryError};
use super::plan::{Action, Apply};
use super::progress::Progress;
use super::wanted::{Obstacle, Purpose};

/// A plan that was not performed to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExecuteError {
    /// The API server did not take a write.
    #[error("cannot {task}: {source}")]
    Api {
        /// What was to be written.
        task: &'static str,
        /// What came back.
        source: kube::Error,
    },
    /// The attempt did not end well.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// Files are still on the host.
    #[error(transparent)]
    RemoveFiles(DeliveryError),
}

impl Categorized for ExecuteError {
    fn category(&self) -> Category {
        match self {
            Self::Api { source, .. } | Self::Apply(ApplyError::Api(source)) => source.category(),
            Self::Apply(ApplyError::Failed(failure)) => failure.category,
            Self::Apply(ApplyError::Interrupted(_)) => Category::Conflict,
            Self::RemoveFiles(error) => error.category(),
        }
    }
}

/// Performs the actions in their order; the first failure stops the rest.
///
/// # Errors
/// [`ExecuteError`].
pub(super) async fn execute(
    world: &World,
    configuration: &NixosConfiguration,
    actions: Vec<Action>,
) -> Result<(), ExecuteError> {
    let client = &world.context.client;
    for action in actions {
        match action {
            Action::AddFinalizer => set_finalizer(client, configuration, true).await?,
            Action::RemoveFinalizer => set_finalizer(client, configuration, false).await?,
            Action::Report(progress) => report(world, configuration, &progress).await?,
            Action::Claim(machine) => claim::take(client, &machine, &configuration.name_any())
                .await
                .map_err(failed("take the machine"))?,
            Action::Apply(attempt) => change_host(world, configuration, &attempt).await?,
            Action::RemoveFiles { machine, progress } => {
                remove_files(world, configuration, &machine, *progress).await?;
            }
            Action::Release {
                machine,
                left_behind,
            } => {
                let now = Timestamp::now();
                let given = claim::give_back(client, &machine, left_behind.as_deref(), now).await;
                unless_gone(given).map_err(failed("give the machine back"))?;
                let namespace = configuration.namespace().unwrap_or_default();
                world.metrics.forget(&namespace, &machine.name_any());
                let (kind, note) = match left_behind {
                    Some(left) => (EventKind::Warning, left),
                    None => (
                        EventKind::Normal,
                        format!("Machine {} is free again", machine.name_any()),
                    ),
                };
                let event = Event {
                    kind,
                    reason: "MachineReleased",
                    action: "Release",
                    note,
                };
                world.context.events.publish(configuration, event).await;
            }
        }
    }
    Ok(())
}

/// Writes a status that differs from what is there, and says so when the reason is a new one.
async fn report(
    world: &World,
    configuration: &NixosConfiguration,
    progress: &Progress,
) -> Result<(), ExecuteError> {
    if configuration.status.as_ref() == Some(progress.status()) {
        return Ok(());
    }
    let client = &world.context.client;
    let status = progress.status();
    let written = status::apply(client, CONFIGURATION_CONTROLLER, configuration, status).await;
    unless_gone(written).map_err(failed("write the status"))?;
    let reason = |status: Option<&NixosConfigurationStatus>| {
        let ready = condition::find(&status?.conditions, READY)?;
        Some((ready.status.clone(), ready.reason.clone()))
    };
    let (before, after) = (reason(configuration.status.as_ref()), reason(Some(status)));
    if before != after
        && let Some(ready) = condition::find(&status.conditions, READY)
        && ready.status != "True"
        && let Some(reason) = known(&ready.reason)
    {
        let event = Event {
            kind: EventKind::Warning,
            reason: reason.as_str(),
            action: "Reconcile",
            note: ready.message.clone(),
        };
        world.context.events.publish(configuration, event).await;
    }
    Ok(())
}

/// Takes all files of a configuration off its host, or says why that cannot be done.
async fn remove_files(
    world: &World,
    configuration: &NixosConfiguration,
    machine: &Machine,
    mut progress: Progress,
) -> Result<(), ExecuteError> {
    let error = match delivery::remove(&world.access, machine).await {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let obstacle = Obstacle {
        step: None,
        reason: ConfigurationReason::MachineNotReachable,
        message: error.to_string(),
        category: Category::Waiting,
        retry_in: None,
    };
    progress.blocked(&obstacle, Timestamp::now());
    report(world, configuration, &progress).await?;
    Err(ExecuteError::RemoveFiles(error))
}

/// Makes an attempt, counts it, and tells people how it went.
async fn change_host(
    world: &World,
    configuration: &NixosConfiguration,
    attempt: &Apply,
) -> Result<(), ExecuteError> {
    let namespace = configuration.namespace().unwrap_or_default();
    let machine = attempt.machine.name_any();
    if attempt.failures > 0 {
        world.metrics.retried(&namespace);
    }
    let result = apply(world, configuration, attempt).await;
    let event = match &result {
        Ok(()) => {
            world.metrics.applied(&namespace, &machine);
            let commit = attempt.wanted.commit.short();
            let (reason, note) = match attempt.wanted.request.purpose {
                Purpose::Install => ("Applied", format!("Machine {machine} runs commit {commit}")),
                Purpose::Remove => (
                    "Removed",
                    format!(
                        "Machine {machine} runs {} now",
                        attempt.wanted.request.attribute
                    ),
                ),
            };
            Some(Event {
                kind: EventKind::Normal,
                reason,
                action: "Apply",
                note,
            })
        }
        Err(ApplyError::Failed(failure)) => {
            world
                .metrics
                .failed(&namespace, &machine, failure.reason.as_str());
            if failure.category == Category::InvalidInput {
                world.metrics.stalled(&namespace);
            }
            Some(Event {
                kind: EventKind::Warning,
                reason: failure.reason.as_str(),
                action: "Apply",
                note: failure.message.clone(),
            })
        }
        Err(ApplyError::Interrupted(_) | ApplyError::Api(_)) => None,
    };
    if let Some(event) = event {
        world.context.events.publish(configuration, event).await;
    }
    Ok(result?)
}

fn known(reason: &str) -> Option<ConfigurationReason> {
    let mut all = ConfigurationReason::ALL.iter();
    all.find(|known| known.as_str() == reason).copied()
}

/// Puts the finalizer on, or takes it off, on condition that nobody changes the object
/// meanwhile.
async fn set_finalizer(
    client: &Client,
    configuration: &NixosConfiguration,
    wanted: bool,
) -> Result<(), ExecuteError> {
    let namespace = configuration.namespace().unwrap_or_default();
    let name = configuration.name_any();
    let api: Api<NixosConfiguration> = Api::namespaced(client.clone(), &namespace);
    let current = api
        .get_metadata_opt(&name)
        .await
        .map_err(failed("read the finalizers"))?
        .filter(|current| current.uid() == configuration.uid());
    let Some(current) = current else {
        return Ok(());
    };
    let mut finalizers = current.finalizers().to_vec();
    finalizers.retain(|finalizer| finalizer != CONFIGURATION_FINALIZER);
    if wanted {
        finalizers.push(CONFIGURATION_FINALIZER.to_owned());
    }
    if finalizers == current.finalizers() {
        return Ok(());
    }
    let patch = json!({
        "metadata": {
            "finalizers": finalizers,
            "resourceVersion": current.resource_version(),
        },
    });
    let parameters = PatchParams {
        field_manager: Some(CONFIGURATION_CONTROLLER.to_owned()),
        ..PatchParams::default()
    };
    let written = api.patch(&name, &parameters, &Patch::Merge(patch)).await;
    unless_gone(written).map_err(failed("write the finalizers"))
}

/// A write to an object that is gone has nothing left to do.
fn unless_gone<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        result => result.map(|_| ()),
    }
}

fn failed(task: &'static str) -> impl FnOnce(kube::Error) -> ExecuteError {
    move |source| ExecuteError::Api { task, source }
}
