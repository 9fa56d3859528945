//! One attempt to change a host, step by step, each visible in the status before it begins.
//!
//! Any step may be the last one of this process. The next process asks the host what became of
//! an attempt that got so far, and otherwise starts it from its first step: what is fetched,
//! evaluated, built and copied already costs nothing again, and a host runs an attempt at most
//! once.

mod installing;

use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::core::PartialObjectMeta;
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt};
use nico_api::NixosConfiguration;
use nico_api::labels::CONFIGURATION_CONTROLLER;
use nico_api::names::StorePath;
use nico_api::nixos_configuration::{StagedSystem, Step};
use nico_runtime::backoff::Backoff;
use nico_runtime::category::{Categorized, Category};
use nico_runtime::status;
use nico_ssh::{ConnectError, Deadlines, Session};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::claim;
use super::controller::World;
use super::delivery;
use super::install::Installation;
use super::plan::Apply;
use super::progress::{Applied, Failure, Progress};
use super::settings::BuildOn;
use super::step_error::{StepError, chain};
use super::trouble;
use super::wanted::{Purpose, attempt_name, attempts_prefix};
use super::workspace::Workspace;
use crate::nix::host::{self, Activation, HostState, Record, RecordState};
use crate::nix::{Destination, Tree};
use crate::program::Redactor;

/// How often a host that went away is looked for again.
const RECONNECT: Backoff = Backoff {
    base: Duration::from_millis(500),
    max: Duration::from_secs(5),
};

/// How much longer than it waits for a confirmation a host may take to go back, and to be
/// reached again.
const GOING_BACK: Duration = Duration::from_secs(60);

/// How long a host may take to boot.
const BOOTING: Duration = Duration::from_secs(900);

/// After this many rollbacks nothing more is tried until something changes: each one may have
/// cut the host off for as long as a confirmation is waited for.
const MAX_ROLLBACKS: i64 = 3;

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

/// What became of a system that was brought to a host.
enum Delivery {
    /// It runs, or the host was about to run it.
    Active(StorePath),
    /// It waits.
    Staged(StagedSystem),
}

/// What a host is asked until it answers.
enum Question<'a> {
    Activate(Activation<'a>),
    Confirm(String),
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
        let system = match self.left_on_the_host().await {
            Some(system) => system,
            None => match self.deliver().await? {
                Delivery::Active(system) => system,
                Delivery::Staged(staged) => {
                    self.progress.stage(staged, Timestamp::now());
                    return Ok(self.write().await?);
                }
            },
        };
        self.enter(Step::Confirm).await?;
        let applied = self.confirm(&system).await?;

        self.enter(Step::Record).await?;
        self.record(&applied).await
    }

    /// The system that this attempt activated, or began to, before it was taken up again by this
    /// process: the host may be waiting for its confirmation.
    async fn left_on_the_host(&self) -> Option<StorePath> {
        if self.attempt.resumed_from < Some(Step::Activate) {
            return None;
        }
        let state = self.look().await.ok()?;
        let record = state.record.filter(|it| it.attempt == self.name())?;
        Some(record.system)
    }

    /// Brings the system to the host, and lets it run unless it is to wait.
    async fn deliver(&mut self) -> Result<Delivery, StepError> {
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

        if self.attempt.wanted.request.hold {
            self.enter(Step::Copy).await?;
            let staged = self.stage(&system, on_host, &workspace);
            return Ok(Delivery::Staged(self.cancellable(staged).await?));
        }
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
        Ok(Delivery::Active(system))
    }

    /// Brings the system to the host and touches nothing else there.
    async fn stage(
        &self,
        system: &StorePath,
        is_there: bool,
        workspace: &Workspace,
    ) -> Result<StagedSystem, StepError> {
        let (nix, redactor) = (&self.world.nix, &self.redactor);
        if !is_there {
            let session = self.connect().await?;
            self.bring(system, &session, workspace).await?;
            session.close().await;
        }
        Ok(StagedSystem {
            commit: self.attempt.wanted.commit.to_string(),
            system_path: system.to_string(),
            kubernetes_version: nix.kubernetes_version(system, redactor).await,
        })
    }

    /// Copies what the host lacks of the system.
    async fn bring(
        &self,
        system: &StorePath,
        session: &Session,
        workspace: &Workspace,
    ) -> Result<(), StepError> {
        let access = &self.world.access;
        let target = access
            .target(&self.attempt.machine)
            .await
            .map_err(ConnectError::from)?;
        let destination = Destination::prepare(&target, session, workspace.path()).await?;
        let nix = &self.world.nix;
        Ok(nix.copy(system, &destination, &self.redactor).await?)
    }

    async fn export(&self) -> Result<std::sync::Arc<crate::git::Export>, StepError> {
        let wanted = &self.attempt.wanted;
        let mirrors = &self.world.observer.mirrors;
        let mirror = mirrors.get(&wanted.request.repository, &wanted.credentials)?;
        Ok(mirror.export(&wanted.commit).await?)
    }

    async fn fill(&self, export: &std::path::Path) -> Result<Workspace, StepError> {
        let wanted = &self.attempt.wanted;
        let directory = &wanted.request.directory;
        let files = wanted.files.files.clone();
        let workspaces = &self.world.workspaces;
        Ok(workspaces.create(export, directory, files).await?)
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

    /// Brings the system to the host, unless it was built there. Gives the session for the
    /// activation, or nothing when the host needs none.
    async fn copy(
        &self,
        system: &StorePath,
        is_there: bool,
        workspace: &Workspace,
    ) -> Result<Option<Session>, StepError> {
        let session = self.connect().await?;
        let mut state = host::inspect(&session).await?;
        if let Some(earlier) = state.record.as_ref().filter(|it| self.is_of_a_sibling(it)) {
            if !state.is_guarded && is_open(earlier) {
                let (deadline, redactor) = (self.world.settings.apply_timeout, &self.redactor);
                state = host::confirm(&session, &earlier.attempt, deadline, redactor).await?;
            }
            // That it was undone is told before it is tried again.
            if let Some(undone) = state.record.as_ref().filter(|it| self.is_of_a_sibling(it))
                && undone.state == RecordState::RolledBack
            {
                judge_record(undone)?;
            }
        }
        if state.record.is_none() && self.is_done(&state, system) {
            session.close().await;
            return Ok(None);
        }
        if !is_there {
            self.bring(system, &session, workspace).await?;
        }
        let files = &self.attempt.wanted.files.host;
        if !files.is_empty() {
            delivery::deliver(&session, files, &self.redactor).await?;
        }
        Ok(Some(session))
    }

    /// Whether the host, which remembers no failure, needs no activation: it runs the system,
    /// with the files that were confirmed with it.
    fn is_done(&self, state: &HostState, system: &StorePath) -> bool {
        let wanted = &self.attempt.wanted;
        let status = self.progress.status();
        let has_no_files = wanted.files.host.is_empty() && status.host_files.is_empty();
        let has_files = status.additional_files_hash.as_ref() == Some(&wanted.files_hash);
        state.runs(system, wanted.request.action) && (has_no_files || has_files)
    }

    /// Whether a record is of another attempt for the same wanted state.
    fn is_of_a_sibling(&self, record: &Record) -> bool {
        let uid = self.configuration.uid().unwrap_or_default();
        let prefix = attempts_prefix(&uid, &self.attempt.wanted.input_hash);
        record.attempt.starts_with(&prefix) && record.attempt != self.name()
    }

    /// Activates the system. A connection that is lost meanwhile, which an activation may well
    /// bring about, does not end the attempt: the host is asked again how it went.
    async fn activate(&self, session: Session, system: &StorePath) -> Result<(), StepError> {
        let name = self.name();
        let request = &self.attempt.wanted.request;
        let activation = Activation {
            attempt: &name,
            system,
            action: request.action,
            confirm_timeout: request.rollback.then_some(request.confirm_timeout),
            deadline: self.world.settings.apply_timeout,
        };
        let question = Question::Activate(activation);
        let state = self.until_answered(session, &question).await?;
        self.judge(&state)
    }

    /// Tells the host over a new connection to keep the system, and asks whether it runs.
    async fn confirm(&mut self, system: &StorePath) -> Result<Applied, StepError> {
        let session = self.reconnect().await?;
        let question = Question::Confirm(self.name());
        let state = self.until_answered(session, &question).await?;
        self.judge(&state)?;
        let mut applied = self.applied(system, &state)?;
        if !self.progress.status().host_files.is_empty() {
            let session = self.connect().await?;
            let files = &self.attempt.wanted.files.host;
            delivery::settle(&session, files, &self.redactor).await?;
            session.close().await;
        }
        if applied.reboot_required == Some(true)
            && self.attempt.wanted.request.may_reboot
            && let Some(boot) = &state.boot
        {
            self.progress.rebooting(Timestamp::now());
            self.write().await?;
            applied = self.applied(system, &self.reboot(boot).await?)?;
            if applied.reboot_required == Some(true) {
                let system = system.clone();
                return Err(StepError::RebootIneffective { system });
            }
        }
        Ok(applied)
    }

    /// Reboots the host, and gives what it runs then.
    async fn reboot(&self, boot: &str) -> Result<HostState, StepError> {
        let started = Instant::now();
        let patience = BOOTING.min(self.world.settings.apply_timeout);
        let session = self.reconnect().await?;
        host::reboot(&session, boot).await?;
        session.close().await;
        let mut looks = 0;
        loop {
            looks += 1;
            tokio::time::sleep(RECONNECT.delay(looks, rand::random())).await;
            // Whatever fails now may do so because the host is just going down or coming up.
            if let Ok(state) = self.look().await
                && state.boot.as_deref().is_some_and(|now| now != boot)
            {
                return Ok(state);
            }
            if started.elapsed() > patience {
                return Err(StepError::NotBack(patience));
            }
        }
    }

    /// What the host runs, over a connection of its own.
    async fn look(&self) -> Result<HostState, StepError> {
        let session = self.connect().await?;
        let state = host::inspect(&session).await?;
        session.close().await;
        Ok(state)
    }

    /// Asks until there is an answer, over a new connection when one is lost.
    async fn until_answered(
        &self,
        mut session: Session,
        question: &Question<'_>,
    ) -> Result<HostState, StepError> {
        let (started, deadline) = (Instant::now(), self.world.settings.apply_timeout);
        loop {
            let answer = match question {
                Question::Activate(activation) => {
                    host::activate(&session, activation, &self.redactor).await
                }
                Question::Confirm(attempt) => {
                    host::confirm(&session, attempt, deadline, &self.redactor).await
                }
            };
            match answer {
                Err(error) if error.is_lost_connection() && started.elapsed() < deadline => {
                    session = self.reconnect().await?;
                }
                answer => {
                    session.close().await;
                    return Ok(answer?);
                }
            }
        }
    }

    /// Whether what the host remembers of this attempt lets it go on.
    fn judge(&self, state: &HostState) -> Result<(), StepError> {
        match &state.record {
            Some(record) if record.attempt == self.name() => judge_record(record),
            _ => Ok(()),
        }
    }

    fn applied(&self, system: &StorePath, state: &HostState) -> Result<Applied, StepError> {
        if state.runs(system, self.attempt.wanted.request.action) {
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

    async fn connect(&self) -> Result<Session, ConnectError> {
        let machine = &self.attempt.machine;
        let access = &self.world.access;
        access.connect(machine, &Deadlines::default()).await
    }

    /// A new session, for which the host has as long as it may take to go back.
    async fn reconnect(&self) -> Result<Session, ConnectError> {
        let started = Instant::now();
        let patience = self.attempt.wanted.request.confirm_timeout + GOING_BACK;
        let mut failures = 0;
        loop {
            let error = match self.connect().await {
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
        let reason = error.reason(self.step);
        let mut message = chain(error);
        if let Some(advice) = trouble::advice(reason) {
            message = format!("{message}\n{advice}");
        }
        let is_rolled_back = matches!(error, StepError::RolledBack(_));
        let failure = Failure {
            reason,
            message: self.redactor.redact(&message),
            category: if self.is_hopeless(error) {
                Category::InvalidInput
            } else {
                error.category()
            },
            is_rolled_back,
        };
        self.progress.fail(&failure, Timestamp::now());
        self.write().await?;
        // A host that did not go back remembers it, so that nobody takes what it runs for proven.
        if let StepError::RolledBack(record) = error {
            self.acknowledge(&record.attempt).await;
        }
        Ok(ApplyError::Failed(failure))
    }

    /// Whether the host went back so often that another try would only do harm.
    fn is_hopeless(&self, error: &StepError) -> bool {
        let StepError::RolledBack(record) = error else {
            return false;
        };
        self.progress.rollbacks() + 1 >= MAX_ROLLBACKS
            && trouble::of_the_host(&record.said).is_none()
    }

    /// Lets the host forget what was told. One that cannot be reached now tells it once more.
    async fn acknowledge(&self, attempt: &str) {
        let Ok(session) = self.connect().await else {
            return;
        };
        if let Err(error) = host::forget(&session, attempt).await {
            let machine = self.attempt.machine.name_any();
            tracing::warn!(machine, %error, "record left on the host");
        }
        session.close().await;
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

/// Whether a change that a host remembers has not ended.
fn is_open(record: &Record) -> bool {
    matches!(record.state, RecordState::Underway | RecordState::Waiting)
}

fn judge_record(record: &Record) -> Result<(), StepError> {
    match record.state {
        RecordState::RolledBack => Err(StepError::RolledBack(Box::new(record.clone()))),
        RecordState::Failed => Err(StepError::NotActivated(Box::new(record.clone()))),
        RecordState::Underway | RecordState::Waiting => Ok(()),
    }
}
