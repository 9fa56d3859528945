//! The step that installs a machine from scratch, or finds out how that ended.

use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use nico_runtime::category::{Categorized, Category};
use nico_runtime::events::{Event, EventKind};
use nico_ssh::{ConnectError, Deadlines, Proof, PublicKey, Session, Target};

use super::super::claim;
use super::super::install::{self, Installation};
use super::super::workspace::Workspace;
use super::sessions::RECONNECT;
use super::{Run, StepError};
use crate::machine::facts;
use crate::nix::anywhere::{self, MARK};
use crate::nix::{NixError, Tree};

/// How long a machine may take from the reboot that ends an installation until its SSH server
/// answers: servers test their memory for many minutes.
const BOOT_PATIENCE: Duration = Duration::from_secs(1200);

/// How long a machine that does not answer is waited for when nobody knows what it does.
const FIND_OUT_PATIENCE: Duration = Duration::from_secs(60);

/// How long the machine may take to say what it is.
const QUESTION_DEADLINE: Duration = Duration::from_secs(60);

/// A machine that may be installed: how to reach it, and what it is, for people.
struct Preflight {
    target: Target,
    host_key: PublicKey,
    proof: Proof,
    summary: String,
}

impl Run<'_> {
    /// What this attempt does about an installation from scratch.
    pub(super) fn installation(&self) -> Installation {
        install::decide(
            self.configuration,
            &self.attempt.machine,
            self.progress.status(),
            self.attempt.wanted.request.purpose,
        )
    }

    /// Installs the machine, or finds out whether it was installed. After a success it runs what
    /// was installed, which of an earlier installation may be an earlier system.
    pub(super) async fn install(
        &mut self,
        installation: &Installation,
        workspace: &Workspace,
    ) -> Result<(), StepError> {
        match installation {
            Installation::NotWanted => return Ok(()),
            Installation::Begin => self.begin(workspace).await?,
            Installation::FindOut { began } => self.find_out(began).await?,
        }
        let machine = &self.attempt.machine;
        let client = &self.world.context.client;
        claim::mark_installed(client, machine, &self.configuration.name_any()).await?;
        self.progress.installed();
        Ok(self.write().await?)
    }

    async fn begin(&mut self, workspace: &Workspace) -> Result<(), StepError> {
        // Whatever can be missing is looked for before the disk is touched.
        self.world.nix.installer()?;
        let preflight = self.cancellable(self.preflight()).await?;
        if self.stop.is_cancelled() {
            return Err(self.interrupted());
        }
        let began = Time(whole_seconds(Timestamp::now()));
        self.progress.install_begins(began.0, &preflight.summary);
        self.write().await?;
        self.announce(&preflight.summary).await;

        let outcome = match self.run_installer(workspace, &preflight, &began).await {
            Ok(()) => self.await_mark(&began, BOOT_PATIENCE, true).await,
            Err(error) => Err(error.into()),
        };
        outcome.map_err(|cause| StepError::NotInstalled {
            cause: Box::new(cause),
            began,
        })
    }

    async fn find_out(&self, began: &Time) -> Result<(), StepError> {
        self.await_mark(began, FIND_OUT_PATIENCE, false)
            .await
            .map_err(|cause| StepError::NotInstalled {
                cause: Box::new(StepError::Unfinished {
                    began: began.clone(),
                    seen: Box::new(cause),
                }),
                began: began.clone(),
            })
    }

    /// Looks whether the machine is the right one and fit for the installer.
    async fn preflight(&self) -> Result<Preflight, StepError> {
        let machine = &self.attempt.machine;
        let access = &self.world.access;
        let session = access.connect(machine, &Deadlines::default()).await?;
        let said = session
            .run_as_root("sh -s", facts::SCRIPT.as_bytes(), QUESTION_DEADLINE)
            .await
            .map_err(|error| StepError::Preflight(error.to_string()))?;
        let (host_key, proof) = (session.host_key().clone(), session.proof());
        session.close().await;
        let facts =
            facts::parse(&said.stdout).map_err(|error| StepError::Preflight(error.to_string()))?;
        let summary = install::preflight(machine, &facts)?;
        let target = access.target(machine).await.map_err(ConnectError::from)?;
        Ok(Preflight {
            target,
            host_key,
            proof,
            summary,
        })
    }

    async fn run_installer(
        &self,
        workspace: &Workspace,
        preflight: &Preflight,
        began: &Time,
    ) -> Result<(), NixError> {
        let request = &self.attempt.wanted.request;
        let (root, entry) = (workspace.tree(), workspace.path().join("entry"));
        let tree = Tree {
            root: &root,
            directory: &request.directory,
            entry: &entry,
            hash: &self.attempt.wanted.tree_hash(),
        };
        let host = anywhere::Host {
            target: &preflight.target,
            host_key: &preflight.host_key,
            proof: preflight.proof,
            directory: workspace.path(),
            mark: &self.mark(began),
        };
        let mut redactor = self.redactor.clone();
        let credentials = &preflight.target.credentials;
        credentials.expose_password(|password| redactor.add(password));
        let namespace = self.configuration.namespace().unwrap_or_default();
        let name = self.configuration.name_any();
        let machine = self.attempt.machine.name_any();
        let say = |line: &str| tracing::info!(namespace, name, machine, line, "nixos-anywhere");
        self.world
            .nix
            .install_from_scratch(&tree, &request.attribute, &host, &redactor, say)
            .await
    }

    /// Waits until the machine runs from the disk that this installation wrote. Whatever host
    /// key it has then is trusted from now on, unless the spec lists the trusted ones.
    ///
    /// A machine that answers without the mark may still be shutting down; with `may_come`
    /// false, it counts as not installed.
    async fn await_mark(
        &self,
        began: &Time,
        patience: Duration,
        may_come: bool,
    ) -> Result<(), StepError> {
        let machine = &self.attempt.machine;
        let access = &self.world.access;
        let started = Instant::now();
        let mut rounds = 0;
        loop {
            let error = match access.connect_anew(machine, &Deadlines::default()).await {
                Ok(session) if self.has_mark(&session, began).await => {
                    let pinned = access.replace_pin(machine, session.host_key()).await;
                    session.close().await;
                    pinned.map_err(ConnectError::from)?;
                    return Ok(());
                }
                Ok(session) => {
                    session.close().await;
                    if !may_come {
                        return Err(StepError::NoMark);
                    }
                    StepError::NoMark
                }
                Err(error) if error.category() != Category::Transient => return Err(error.into()),
                Err(error) => error.into(),
            };
            rounds += 1;
            let wait = RECONNECT.delay(rounds, rand::random());
            if started.elapsed() + wait > patience {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn has_mark(&self, session: &Session, began: &Time) -> bool {
        let command = format!("cat /{MARK}");
        let said = session.run_as_root(&command, b"", QUESTION_DEADLINE).await;
        said.is_ok_and(|said| {
            String::from_utf8_lossy(&said.stdout).trim() == self.mark(began).trim()
        })
    }

    /// What names this installation on the disk that it writes.
    fn mark(&self, began: &Time) -> String {
        let uid = self.configuration.uid().unwrap_or_default();
        format!("{uid} {}\n", install::written(began))
    }

    async fn announce(&self, summary: &str) {
        let machine = self.attempt.machine.name_any();
        let event = Event {
            kind: EventKind::Normal,
            reason: "InstallStarted",
            action: "Install",
            note: format!("wipes the disk of Machine {machine} and installs it: {summary}"),
        };
        let events = &self.world.context.events;
        events.publish(self.configuration, event).await;
    }
}

/// The time as the API keeps it.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
