//! How a script is run on a machine.

use std::time::Duration;

use async_trait::async_trait;
use nico_api::Machine;
use nico_runtime::category::{Categorized, Category};
use nico_ssh::{Access, ConnectError, Deadlines, RunError};

/// A POSIX shell script, given to `sh` on its standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script(pub &'static str);

/// What a script left behind.
pub type Output = nico_ssh::Output;

/// Machines on which scripts can be run.
#[async_trait]
pub trait Hosts: Send + Sync {
    /// Runs `script` as root on `machine`.
    async fn run(&self, machine: &Machine, script: Script) -> Result<Output, HostError>;
}

/// Why a script could not be run.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No session could be opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The session broke, or took too long.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl Categorized for HostError {
    fn category(&self) -> Category {
        match self {
            Self::Connect(error) => error.category(),
            Self::Run(error) => error.category(),
        }
    }
}

/// Machines over SSH, as the machine layer reaches them.
pub struct SshHosts {
    access: Access,
    deadlines: Deadlines,
    run: Duration,
}

impl SshHosts {
    /// Opens sessions with `access`.
    pub fn new(access: Access) -> Self {
        Self {
            access,
            deadlines: Deadlines {
                connect: Duration::from_secs(5),
                total: Duration::from_secs(10),
            },
            run: Duration::from_secs(10),
        }
    }
}

#[async_trait]
impl Hosts for SshHosts {
    async fn run(&self, machine: &Machine, script: Script) -> Result<Output, HostError> {
        let session = self.access.connect(machine, &self.deadlines).await?;
        let output = session
            .run_as_root("sh -s", script.0.as_bytes(), self.run)
            .await;
        session.close().await;
        Ok(output?)
    }
}
