//! One attempt to change a host, step by step, each visible in the status before it begins.
//!
//! Any step may be the last one of this process. The next process asks the host what became of
//! an attempt that got so far, and otherwise starts it from its first step: what is fetched,
//! evaluated, built and copied already costs nothing again, and a host runs an attempt at most
//! once.

mod activating;
mod confirming;
mod copying;
mod installing;
mod sessions;

use k8s_openapi::jiff::Timestamp;
use kube::core::PartialObjectMeta;
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt};
use nico_api::NixosConfiguration;
use nico_api::labels::CONFIGURATION_CONTROLLER;
use nico_api::names::StorePath;
use nico_api::nixos_configuration::{StagedSystem, Step};
use nico_runtime::category::{Categorized, Category};
use nico_runtime::status;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::claim;
use super::controller::World;
use super::install::Installation;
use super::plan::Apply;
use super::progress::{Applied, Failure, Progress};
use super::related;
use super::settings::BuildOn;
use super::step_error::{StepError, chain};
use super::trouble;
use super::wanted::{Purpose, attempt_name};
use super::workspace::Workspace;
use crate::nix::Tree;
use crate::program::Redactor;

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
            if let Some(copied) = self.cancellable(copy).await? {
                self.enter(Step::Activate).await?;
                self.activate(copied, &system).await?;
            }
        }
        Ok(Delivery::Active(system))
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
        let (nix, cached) = (&self.world.nix, self.world.store.state());
        let cached = cached.iter().filter_map(|object| object.0.as_ref().ok());
        let others = related::outputs(self.configuration, &self.attempt.wanted, cached);
        Ok(nix
            .evaluate(&tree, &request.attribute, &others, &self.redactor)
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
        let session = self.connect().await?;
        let destination = self.destination(&session, workspace).await?;
        let nix = &self.world.nix;
        let system = nix
            .build_on_host(derivation, &destination, &session, &self.redactor)
            .await?;
        session.close().await;
        Ok(system)
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
