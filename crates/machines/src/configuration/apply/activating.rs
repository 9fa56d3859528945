//! Making a host run a system, and asking it how that went.

use std::time::Instant;

use nico_api::names::StorePath;
use nico_ssh::Session;

use super::copying::Copied;
use super::{Run, StepError};
use crate::nix::host::{self, Activation, HostState, Record, RecordState};

/// What a host is asked until it answers.
pub(super) enum Question<'a> {
    Activate(Activation<'a>),
    Confirm(String),
}

impl Run<'_> {
    /// Activates the system. A connection that is lost meanwhile, which an activation may well
    /// bring about, does not end the attempt: the host is asked again how it went.
    pub(super) async fn activate(
        &self,
        copied: Copied,
        system: &StorePath,
    ) -> Result<(), StepError> {
        let name = self.name();
        let request = &self.attempt.wanted.request;
        let activation = Activation {
            attempt: &name,
            system,
            action: request.action,
            confirm_timeout: request.rollback.then_some(request.confirm_timeout),
            deadline: self.world.settings.apply_timeout,
            files: copied.files.as_deref(),
        };
        let question = Question::Activate(activation);
        let state = self.until_answered(copied.session, &question).await?;
        self.judge(&state)
    }

    /// Asks until there is an answer, over a new connection when one is lost.
    pub(super) async fn until_answered(
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
    pub(super) fn judge(&self, state: &HostState) -> Result<(), StepError> {
        match &state.record {
            Some(record) if record.attempt == self.name() => judge_record(record),
            _ => Ok(()),
        }
    }
}

pub(super) fn judge_record(record: &Record) -> Result<(), StepError> {
    match record.state {
        RecordState::RolledBack => Err(StepError::RolledBack(Box::new(record.clone()))),
        RecordState::Failed => Err(StepError::NotActivated(Box::new(record.clone()))),
        RecordState::Underway | RecordState::Waiting => Ok(()),
    }
}
