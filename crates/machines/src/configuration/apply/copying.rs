//! What is brought to a host before it is changed.

use kube::ResourceExt;
use nico_api::condition;
use nico_api::names::StorePath;
use nico_api::nixos_configuration::StagedSystem;
use nico_api::nixos_configuration::conditions::ACTIVATED;
use nico_ssh::{ConnectError, Session};

use super::super::delivery;
use super::super::wanted::attempts_prefix;
use super::super::workspace::Workspace;
use super::activating::judge_record;
use super::{Run, StepError};
use crate::nix::Destination;
use crate::nix::host::{self, HostState, Record, RecordState};

/// What an activation needs of the step before.
pub(super) struct Copied {
    pub(super) session: Session,
    /// The set of files that goes with the system.
    pub(super) files: Option<String>,
}

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

    /// Brings the system, unless it was built there, and the files to the host. Gives what the
    /// activation needs, or nothing when the host needs none.
    pub(super) async fn copy(
        &self,
        system: &StorePath,
        is_there: bool,
        workspace: &Workspace,
    ) -> Result<Option<Copied>, StepError> {
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
        // Without files, an empty set takes the place of what the host shows.
        let files = if files.is_empty() && state.files.is_none() {
            None
        } else {
            let set = delivery::deliver(&session, &self.name(), files, &self.redactor).await?;
            Some(set)
        };
        Ok(Some(Copied { session, files }))
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
    /// with the files that go with it.
    fn is_done(&self, state: &HostState, system: &StorePath) -> bool {
        state.runs(system, self.attempt.wanted.request.action) && self.has_files(state)
    }

    fn has_files(&self, state: &HostState) -> bool {
        let wanted = &self.attempt.wanted;
        let status = self.progress.status();
        // Whatever was begun since the confirmation may have brought other files.
        let is_confirmed = condition::is_true(&status.conditions, ACTIVATED)
            && status.additional_files_hash.as_ref() == Some(&wanted.files_hash);
        let siblings = delivery::set_of(&self.siblings());
        let wants_files = !wanted.files.host.is_empty();
        shows_files(state.files.as_deref(), wants_files, is_confirmed, &siblings)
    }

    /// Whether a record is of another attempt for the same wanted state.
    fn is_of_a_sibling(&self, record: &Record) -> bool {
        record.attempt.starts_with(&self.siblings()) && record.attempt != self.name()
    }

    /// How the names of all attempts for the same wanted state begin.
    fn siblings(&self) -> String {
        let uid = self.configuration.uid().unwrap_or_default();
        attempts_prefix(&uid, &self.attempt.wanted.input_hash)
    }
}

/// Whether a change that a host remembers has not ended.
fn is_open(record: &Record) -> bool {
    matches!(record.state, RecordState::Underway | RecordState::Waiting)
}

/// Whether a host shows the files that are wanted: those that were confirmed, or those that an
/// attempt for the same wanted state brought, for what was undone is not shown.
fn shows_files(shown: Option<&str>, wants_files: bool, is_confirmed: bool, siblings: &str) -> bool {
    match shown {
        None => !wants_files,
        Some(set) => set.starts_with(siblings) || wants_files && is_confirmed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_brought_unless_the_host_shows_them() {
        let (of_this, of_another) = (Some("sets/uid.aaaa.7.0.x"), Some("sets/uid.bbbb.3.0.x"));
        for (shown, wants_files, is_confirmed, expected) in [
            (None, false, false, true),
            (None, true, false, false),
            // Somebody removed what was confirmed.
            (None, true, true, false),
            // The process that brought it was killed before it said so.
            (of_this, true, false, true),
            (of_this, false, false, true),
            (of_another, true, true, true),
            (of_another, true, false, false),
            // What is not wanted any more has to go.
            (of_another, false, true, false),
        ] {
            let shows = shows_files(shown, wants_files, is_confirmed, "sets/uid.aaaa.");
            let case = (shown, wants_files, is_confirmed);
            assert_eq!(shows, expected, "{case:?}");
        }
    }
}
