//! What is brought to a host before it is changed.

use kube::ResourceExt;
use nico_api::names::StorePath;
use nico_api::nixos_configuration::StagedSystem;
use nico_ssh::{ConnectError, Session};

use super::super::delivery;
use super::super::wanted::attempts_prefix;
use super::super::workspace::Workspace;
use super::activating::judge_record;
use super::{Run, StepError};
use crate::nix::Destination;
use crate::nix::host::{self, HostState, Record, RecordState};

impl Run<'_> {
    /// Brings the system to the host and touches nothing else there.
    pub(super) async fn stage(
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

    /// Brings the system to the host, unless it was built there. Gives the session for the
    /// activation, or nothing when the host needs none.
    pub(super) async fn copy(
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

    /// Copies what the host lacks of the system.
    async fn bring(
        &self,
        system: &StorePath,
        session: &Session,
        workspace: &Workspace,
    ) -> Result<(), StepError> {
        let destination = self.destination(session, workspace).await?;
        let nix = &self.world.nix;
        Ok(nix.copy(system, &destination, &self.redactor).await?)
    }

    /// The host, as the programs of Nix reach it.
    pub(super) async fn destination(
        &self,
        session: &Session,
        workspace: &Workspace,
    ) -> Result<Destination, StepError> {
        let target = self.world.access.target(&self.attempt.machine).await;
        let target = target.map_err(ConnectError::from)?;
        Ok(Destination::prepare(&target, session, workspace.path()).await?)
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
}

/// Whether a change that a host remembers has not ended.
fn is_open(record: &Record) -> bool {
    matches!(record.state, RecordState::Underway | RecordState::Waiting)
}
