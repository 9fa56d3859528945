//! One attempt to change a host, step by step, each visible in the status before it begins.
//!
//! Any step may be the last one of this process. The next process starts the attempt from its
//! first step: what is fetched, evaluated, built and copied already costs nothing again, and
//! whether the system was activated is asked of the host, which runs an attempt at most once.

mod installing;

use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::core::PartialObjectMeta;
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt};
use nico_api::NixosConfiguration;
use nico_api::labels::CONFIGURATION_CONTROLLER;
use nico_api::names::StorePath;
use nico_api::nixos_configuration::Step;
use nico_api::reason::ConfigurationReason;
use nico_runtime::backoff::Backoff;
use nico_runtime::category::{Categorized, Category};
use nico_runtime::status;
use nico_ssh::{ConnectError, Deadlines, RunError, Session};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::claim;
use super::controller::World;
use super::delivery::{self, DeliveryError};
use super::install::{Installation, Refusal, way_out};
use super::plan::Apply;
use super::progress::{Applied, Failure, Progress};
use super::settings::BuildOn;
use super::wanted::{Purpose, attempt_name};
use super::workspace::{Workspace, WorkspaceError};
use crate::git::MirrorError;
use crate::nix::host::{self, Activation, HostError, HostState};
use crate::nix::{Destination, NixError, Tree};
use crate::program::Redactor;

/// How often a host that went away is looked for again.
const RECONNECT: Backoff = Backoff {
    base: Duration::from_millis(500),
    max: Duration::from_secs(5),
};

/// How an attempt ended without success.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApplyError {
    /// A step failed; the status says so.
    #[error("{}", .0.message)]
    Failed(Failure),
    /// The attempt was put down between two steps, to be taken up again or not.
    #[error("the attempt was interrupted: {0}")]
    Interrupted(&'static str),
    /// The API server did not take the progress.
    #[error("cannot record the progress: {0}")]
    Api(#[from] kube::Error),
}

/// What can go wrong in a step.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    #[error(transparent)]
    Nix(#[from] NixError),
    #[error("cannot reach the machine: {0}")]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("cannot look at the machine before it is installed from scratch: {0}")]
    Preflight(String),
    #[error("{cause}; {}", way_out(.began))]
    NotInstalled { cause: Box<StepError>, began: Time },
    #[error("an installation from scratch began at {} and did not end well; now {seen}", .began.0)]
    Unfinished { began: Time, seen: Box<StepError> },
    #[error("the machine answers, but does not run from the disk that was to be installed")]
    NoMark,
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    #[error("the host does not run {system}: {state}")]
    NotRunning { system: StorePath, state: String },
    /// Not a failure: the attempt is put down.
    #[error("the attempt was interrupted: {0}")]
    Interrupted(&'static str),
    /// Not a failure of the step: the progress could not be written.
    #[error("cannot record the progress: {0}")]
    Api(#[from] kube::Error),
}

impl StepError {
    fn reason(&self, step: Step) -> ConfigurationReason {
        match self {
            Self::Mirror(error) => error.reason(),
            Self::Workspace(WorkspaceError::Occupied { .. }) => ConfigurationReason::InvalidSpec,
            Self::Workspace(_) => ConfigurationReason::InternalError,
            Self::Nix(error) => error.reason(),
            Self::Connect(_) if step == Step::Confirm => ConfigurationReason::NotConfirmed,
            Self::Connect(_) => ConfigurationReason::MachineNotReachable,
            Self::Host(_) | Self::Delivery(_) if step == Step::Copy => {
                ConfigurationReason::CopyFailed
            }
            Self::Host(_) if step == Step::Confirm => ConfigurationReason::NotConfirmed,
            Self::Host(_) | Self::Delivery(_) => ConfigurationReason::ActivationFailed,
            Self::Refused(_) | Self::Preflight(_) => ConfigurationReason::InstallRefused,
            Self::NotInstalled { cause, .. } => cause.reason(step),
            Self::Unfinished { .. } => ConfigurationReason::InstallInterrupted,
            Self::NotRunning { .. } | Self::NoMark => ConfigurationReason::NotConfirmed,
            Self::Interrupted(_) | Self::Api(_) => ConfigurationReason::InProgress,
        }
    }
}

impl Categorized for StepError {
    /// Whatever keeps a host from being reached may be repaired on the host, out of sight, so it
    /// is tried for ever.
    fn category(&self) -> Category {
        match self {
            Self::Mirror(error) => error.category(),
            // A disk that may be wiped already is not wiped again by itself.
            Self::Workspace(WorkspaceError::Occupied { .. })
            | Self::NotInstalled { .. }
            | Self::Unfinished { .. } => Category::InvalidInput,
            // Whoever corrects that does it on other objects, or on the machine, out of sight.
            Self::Nix(NixError::Agent(_) | NixError::Bridge(_)) | Self::Refused(_) => {
                Category::Waiting
            }
            Self::Nix(error) => error.category(),
            Self::Host(error) => error.category(),
            Self::Delivery(error) => error.category(),
            Self::Workspace(_)
            | Self::Preflight(_)
            | Self::Connect(_)
            | Self::NotRunning { .. }
            | Self::NoMark
            | Self::Interrupted(_)
            | Self::Api(_) => Category::Transient,
        }
    }
}

/// An attempt under way.
struct Run<'a> {
    world: &'a World,
    configuration: &'a NixosConfiguration,
    attempt: &'a Apply,
    progress: Progress,
    step: Step,
    redactor: Redactor,
    /// Cancelled when the attempt is to be put down before it touches the host.
    stop: CancellationToken,
}

/// Makes an attempt.
///
/// # Errors
/// [`ApplyError`].
pub(super) async fn apply(
    world: &World,
    configuration: &NixosConfiguration,
    attempt: &Apply,
) -> Result<(), ApplyError> {
    let mut progress = attempt.progress.clone();
    progress.start(
        &attempt.wanted,
        attempt.started_at,
        attempt.failures,
        Timestamp::now(),
    );
    let mut run = Run {
        world,
        configuration,
        attempt,
        progress,
        step: Step::Source,
        stop: world.context.shutdown.child_token(),
        redactor: attempt.wanted.files.redactor.clone(),
    };
    let _watch = run.stop_when_out_of_date();
    match run.steps().await {
        Ok(()) => Ok(()),
        Err(StepError::Interrupted(why)) => Err(ApplyError::Interrupted(why)),
        Err(StepError::Api(error)) => Err(ApplyError::Api(error)),
        Err(error) => Err(run.fail(&error).await?),
    }
}

impl Run<'_> {
    async fn steps(&mut self) -> Result<(), StepError> {
        self.enter(Step::Source).await?;
        let export = self.cancellable(self.export()).await?;

        self.enter(Step::Files).await?;
        let workspace = self.cancellable(self.fill(export.path())).await?;
        drop(export);

        self.enter(Step::Evaluate).await?;
        let derivation = self.cancellable(self.evaluate(&workspace)).await?;

        self.enter(Step::Build).await?;
        let installation = self.installation();
        // Whoever installs from scratch has no store to build in yet.
        let on_host = self.world.settings.build_on == BuildOn::Target
            && installation == Installation::NotWanted;
        let system = if on_host {
            let build = self.build_on_host(&derivation, &workspace);
            self.cancellable(build).await?
        } else {
            let build = self.build(&derivation, &workspace);
            self.cancellable(build).await?
        };

        if installation != Installation::NotWanted {
            self.enter(Step::Install).await?;
            self.install(&installation, &workspace).await?;
        }
        // An installer brings no files along that are for the host alone.
        let has_files = !self.attempt.wanted.files.host.is_empty();
        if installation != Installation::Begin || has_files {
            self.progress
                .deliver(self.attempt.wanted.files.host_paths());
            self.enter(Step::Copy).await?;
            let copy = self.copy(&system, on_host, &workspace);
            let session = self.cancellable(copy).await?;
            if let Some(session) = session {
                self.enter(Step::Activate).await?;
                self.activate(session, &system).await?;
            }
        }

        self.enter(Step::Confirm).await?;
        let applied = self.confirm(&system).await?;

        self.enter(Step::Record).await?;
        self.record(&applied).await
    }

    async fn export(&self) -> Result<std::sync::Arc<crate::git::Export>, StepError> {
        let wanted = &self.attempt.wanted;
        let mirrors = &self.world.observer.mirrors;
        let mirror = mirrors.get(&wanted.request.repository, &wanted.credentials)?;
        Ok(mirror.export(&wanted.commit).await?)
    }

    async fn fill(&self, export: &std::path::Path) -> Result<Workspace, StepError> {
        let wanted = &self.attempt.wanted;
        let attempts = self.world.settings.attempts();
        let directory = &wanted.request.directory;
        let files = wanted.files.files.clone();
        Ok(Workspace::create(&attempts, export, directory, files).await?)
    }

    async fn evaluate(&self, workspace: &Workspace) -> Result<StorePath, StepError> {
        let request = &self.attempt.wanted.request;
        let (root, entry) = (workspace.tree(), workspace.path().join("entry"));
        let tree = Tree {
            root: &root,
            directory: &request.directory,
            entry: &entry,
            hash: &self.attempt.wanted.tree_hash(),
        };
        let nix = &self.world.nix;
        Ok(nix
            .evaluate(&tree, &request.attribute, &self.redactor)
            .await?)
    }

    async fn build(
        &self,
        derivation: &StorePath,
        workspace: &Workspace,
    ) -> Result<StorePath, StepError> {
        let root = workspace.path().join("system");
        let nix = &self.world.nix;
        Ok(nix.build(derivation, &root, &self.redactor).await?)
    }

    /// Builds where the system will run, from a derivation that is brought there.
    async fn build_on_host(
        &self,
        derivation: &StorePath,
        workspace: &Workspace,
    ) -> Result<StorePath, StepError> {
        let (machine, access) = (&self.attempt.machine, &self.world.access);
        let session = access.connect(machine, &Deadlines::default()).await?;
        let target = access.target(machine).await.map_err(ConnectError::from)?;
        let destination = Destination::prepare(&target, &session, workspace.path()).await?;
        let nix = &self.world.nix;
        let system = nix
            .build_on_host(derivation, &destination, &session, &self.redactor)
            .await?;
        session.close().await;
        Ok(system)
    }

    /// Brings the system to the host, unless it was built there. Gives the session for the activation, or nothing when the
    /// host needs none.
    async fn copy(
        &self,
        system: &StorePath,
        is_there: bool,
        workspace: &Workspace,
    ) -> Result<Option<Session>, StepError> {
        let machine = &self.attempt.machine;
        let session = self
            .world
            .access
            .connect(machine, &Deadlines::default())
            .await?;
        let state = host::inspect(&session).await?;
        if self.is_done(&state, system) {
            session.close().await;
            return Ok(None);
        }
        if !is_there {
            let access = &self.world.access;
            let target = access.target(machine).await.map_err(ConnectError::from)?;
            let destination = Destination::prepare(&target, &session, workspace.path()).await?;
            let nix = &self.world.nix;
            nix.copy(system, &destination, &self.redactor).await?;
        }
        let files = &self.attempt.wanted.files.host;
        if !files.is_empty() {
            delivery::deliver(&session, files, &self.redactor).await?;
        }
        Ok(Some(session))
    }

    /// Whether the host needs no activation: it remembers that this attempt went well, or it
    /// still runs the system that was confirmed before, with the same files.
    fn is_done(&self, state: &HostState, system: &StorePath) -> bool {
        let name = self.name();
        let went_well = state
            .last_activation
            .as_ref()
            .is_some_and(|last| last.attempt == name && last.system == *system && last.status == 0);
        let was_confirmed = self.attempt.confirmed_system.as_deref() == Some(system.as_str());
        let action = self.attempt.wanted.request.action;
        let confirmed_files = self.progress.status().additional_files_hash.as_ref();
        let has_files = confirmed_files == Some(&self.attempt.wanted.files_hash);
        went_well || (was_confirmed && has_files && state.runs(system, action))
    }

    /// Activates the system. A connection that is lost meanwhile, which an activation may well
    /// bring about, does not end the attempt: the host is asked again how it went.
    async fn activate(&self, session: Session, system: &StorePath) -> Result<(), StepError> {
        let name = self.name();
        let activation = Activation {
            attempt: &name,
            system,
            action: self.attempt.wanted.request.action,
            deadline: self.world.settings.apply_timeout,
        };
        let mut session = session;
        loop {
            match host::activate(&session, &activation, &self.redactor).await {
                Err(HostError::Session {
                    source: RunError::ConnectionLost { .. },
                    ..
                }) => session = self.reconnect().await?,
                result => {
                    session.close().await;
                    return Ok(result?);
                }
            }
        }
    }

    /// Asks the host over a new connection whether it runs the system.
    async fn confirm(&self, system: &StorePath) -> Result<Applied, StepError> {
        let session = self.reconnect().await?;
        let state = host::inspect(&session).await?;
        let runs = state.runs(system, self.attempt.wanted.request.action);
        if runs && !self.progress.status().host_files.is_empty() {
            let files = &self.attempt.wanted.files.host;
            delivery::settle(&session, files, &self.redactor).await?;
        }
        session.close().await;
        if runs {
            Ok(Applied {
                system: system.clone(),
                generation: state.generation,
                reboot_required: state.reboot_required,
            })
        } else {
            Err(StepError::NotRunning {
                system: system.clone(),
                state: state.describe(),
            })
        }
    }

    /// A new session, for which the host has as long as a confirmation may take.
    async fn reconnect(&self) -> Result<Session, ConnectError> {
        let started = Instant::now();
        let patience = self.attempt.wanted.request.confirm_timeout;
        let mut failures = 0;
        loop {
            let machine = &self.attempt.machine;
            let error = match self
                .world
                .access
                .connect(machine, &Deadlines::default())
                .await
            {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            failures += 1;
            let wait = RECONNECT.delay(failures, rand::random());
            if error.category() != Category::Transient || started.elapsed() + wait > patience {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Runs a step that may be cut off: its programs end with it.
    async fn cancellable<T>(
        &self,
        work: impl Future<Output = Result<T, StepError>>,
    ) -> Result<T, StepError> {
        tokio::select! {
            result = work => result,
            () = self.stop.cancelled() => Err(self.interrupted()),
        }
    }

    fn interrupted(&self) -> StepError {
        StepError::Interrupted(if self.world.context.shutdown.is_cancelled() {
            "the operator is ending"
        } else {
            "the object was changed"
        })
    }

    /// Writes that a step begins. Up to the one that changes the host, an attempt that is out
    /// of date goes no further.
    async fn enter(&mut self, step: Step) -> Result<(), StepError> {
        if step <= Step::Activate && self.stop.is_cancelled() {
            return Err(self.interrupted());
        }
        self.step = step;
        self.progress.enter(step, Timestamp::now());
        Ok(self.write().await?)
    }

    /// Stops the attempt when the spec is changed or, of an installation, the object deleted.
    /// Watches for as long as the handle lives.
    fn stop_when_out_of_date(&self) -> AbortOnDropHandle<()> {
        let client = self.world.context.client.clone();
        let namespace = self.configuration.namespace().unwrap_or_default();
        let name = self.configuration.name_any();
        let generation = self.configuration.metadata.generation;
        let is_install = self.attempt.wanted.request.purpose == Purpose::Install;
        let stop = self.stop.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let api: Api<PartialObjectMeta<NixosConfiguration>> =
                Api::namespaced(client, &namespace);
            let is_out_of_date = |seen: Option<&PartialObjectMeta<NixosConfiguration>>| {
                seen.is_some_and(|seen| {
                    let is_deleted = seen.metadata.deletion_timestamp.is_some();
                    seen.metadata.generation > generation && !is_deleted || is_deleted && is_install
                })
            };
            // Without the watch, the change is seen when the attempt has ended.
            if await_condition(api, &name, is_out_of_date).await.is_ok() {
                stop.cancel();
            }
        }))
    }

    /// Writes that the attempt failed, and gives the failure.
    async fn fail(&mut self, error: &StepError) -> Result<ApplyError, kube::Error> {
        let failure = Failure {
            reason: error.reason(self.step),
            message: self.redactor.redact(&chain(error)),
            category: error.category(),
        };
        self.progress.fail(&failure, Timestamp::now());
        self.write().await?;
        Ok(ApplyError::Failed(failure))
    }

    /// Writes what the host runs: on the Machine first, so that a configuration that is Ready
    /// is one whose Machine says so too.
    async fn record(&mut self, applied: &Applied) -> Result<(), StepError> {
        let now = Timestamp::now();
        if self.attempt.wanted.request.purpose == Purpose::Install {
            let name = self.configuration.name_any();
            let commit = &self.attempt.wanted.commit;
            let client = &self.world.context.client;
            claim::record(client, &self.attempt.machine, &name, commit, now).await?;
        }
        self.progress.succeed(&self.attempt.wanted, applied, now);
        Ok(self.write().await?)
    }

    async fn write(&self) -> Result<(), kube::Error> {
        let client = &self.world.context.client;
        let status = self.progress.status();
        status::apply(client, CONFIGURATION_CONTROLLER, self.configuration, status).await?;
        Ok(())
    }

    fn name(&self) -> String {
        attempt_name(
            &self.configuration.uid().unwrap_or_default(),
            &self.attempt.wanted.input_hash,
            self.attempt.started_at,
            self.attempt.failures,
        )
    }
}

/// An error with what caused it, as one text.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
