//! Letting a host keep what it was made to run, after it was seen to run it.

use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use nico_api::names::StorePath;

use super::super::delivery;
use super::super::progress::Applied;
use super::activating::Question;
use super::sessions::RECONNECT;
use super::{Run, StepError};
use crate::nix::host::{self, HostState};

/// How long a host may take to boot.
const BOOTING: Duration = Duration::from_secs(900);

impl Run<'_> {
    /// Tells the host over a new connection to keep the system, and asks whether it runs.
    pub(super) async fn confirm(&mut self, system: &StorePath) -> Result<Applied, StepError> {
        let session = self.reconnect().await?;
        let question = Question::Confirm(self.name());
        let state = self.until_answered(session, &question).await?;
        self.judge(&state)?;
        let mut applied = self.applied(system, &state)?;
        if state.files.is_some() || !self.progress.status().host_files.is_empty() {
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
}
