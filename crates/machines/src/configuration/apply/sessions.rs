//! Sessions to the host of an attempt.

use std::time::{Duration, Instant};

use kube::ResourceExt;
use nico_runtime::backoff::Backoff;
use nico_runtime::category::{Categorized, Category};
use nico_ssh::{ConnectError, Deadlines, Session};

use super::super::delivery;
use super::{Run, StepError};
use crate::nix::host::{self, HostState};

/// How often a host that went away is looked for again.
pub(super) const RECONNECT: Backoff = Backoff {
    base: Duration::from_millis(500),
    max: Duration::from_secs(5),
};

/// How much longer than it waits for a confirmation a host may take to go back, and to be
/// reached again.
const GOING_BACK: Duration = Duration::from_secs(60);

impl Run<'_> {
    /// What the host runs, over a connection of its own.
    pub(super) async fn look(&self) -> Result<HostState, StepError> {
        let session = self.connect().await?;
        let state = host::inspect(&session).await?;
        session.close().await;
        Ok(state)
    }

    pub(super) async fn connect(&self) -> Result<Session, ConnectError> {
        let machine = &self.attempt.machine;
        let access = &self.world.access;
        access.connect(machine, &Deadlines::default()).await
    }

    /// A new session, for which the host has as long as it may take to go back.
    pub(super) async fn reconnect(&self) -> Result<Session, ConnectError> {
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

    /// Lets the host forget what was told, and the files that were brought for it. One that
    /// cannot be reached now tells it once more.
    pub(super) async fn acknowledge(&self, attempt: &str) {
        let Ok(session) = self.connect().await else {
            return;
        };
        if let Err(error) = host::forget(&session, attempt).await {
            let machine = self.attempt.machine.name_any();
            tracing::warn!(machine, %error, "record left on the host");
        }
        if !self.progress.status().host_files.is_empty()
            && let Err(error) = delivery::tidy(&session).await
        {
            let machine = self.attempt.machine.name_any();
            tracing::warn!(machine, %error, "files of the attempt left on the host");
        }
        session.close().await;
    }
}
