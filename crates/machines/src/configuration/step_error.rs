//! What can go wrong in a step of an attempt, and what is said of it.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use nico_api::names::StorePath;
use nico_api::nixos_configuration::Step;
use nico_api::reason::ConfigurationReason;
use nico_runtime::category::{Categorized, Category};
use nico_ssh::ConnectError;

use super::delivery::DeliveryError;
use super::install::{Refusal, way_out};
use super::trouble;
use super::workspace::WorkspaceError;
use crate::git::MirrorError;
use crate::nix::NixError;
use crate::nix::host::{HostError, Record};

/// What can go wrong in a step.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
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
    #[error("{} was not kept, the host runs again what it ran before: {}", .0.system, .0.describe())]
    RolledBack(Box<Record>),
    #[error("{} was not activated as a whole, and the host did not go back: {}", .0.system, .0.describe())]
    NotActivated(Box<Record>),
    #[error("the host did not come back within {} s after its reboot", .0.as_secs())]
    NotBack(Duration),
    #[error(
        "the host was rebooted and still does not run the kernel of {system}; look at its boot \
         loader, or set spec.activation.reboot to Never"
    )]
    RebootIneffective { system: StorePath },
    /// Not a failure: the attempt is put down.
    #[error("the attempt was interrupted: {0}")]
    Interrupted(&'static str),
    /// Not a failure of the step: the progress could not be written.
    #[error("cannot record the progress: {0}")]
    Api(#[from] kube::Error),
}

impl StepError {
    /// The reason that the conditions give, for an error in `step`.
    pub(super) fn reason(&self, step: Step) -> ConfigurationReason {
        match self {
            Self::Mirror(error) => error.reason(),
            Self::Workspace(WorkspaceError::Occupied { .. }) => ConfigurationReason::InvalidSpec,
            Self::Workspace(_) => ConfigurationReason::InternalError,
            Self::Nix(error @ NixError::Copy { .. }) => {
                trouble::of_the_host(&chain(error)).unwrap_or(error.reason())
            }
            Self::Nix(error) => error.reason(),
            Self::Connect(_) if step >= Step::Activate => ConfigurationReason::NotConfirmed,
            Self::Connect(_) => ConfigurationReason::MachineNotReachable,
            Self::Host(error) => trouble::of_the_host(&chain(error)).unwrap_or(match step {
                Step::Copy => ConfigurationReason::CopyFailed,
                Step::Confirm => ConfigurationReason::NotConfirmed,
                _ => ConfigurationReason::ActivationFailed,
            }),
            Self::Delivery(error) => trouble::of_the_host(&chain(error)).unwrap_or(match step {
                Step::Copy => ConfigurationReason::CopyFailed,
                _ => ConfigurationReason::ActivationFailed,
            }),
            Self::Refused(_) | Self::Preflight(_) => ConfigurationReason::InstallRefused,
            Self::NotInstalled { cause, .. } => cause.reason(step),
            Self::Unfinished { .. } => ConfigurationReason::InstallInterrupted,
            Self::NotRunning { .. } | Self::NotBack(_) | Self::NoMark => {
                ConfigurationReason::NotConfirmed
            }
            Self::RolledBack(_) => ConfigurationReason::RolledBack,
            Self::NotActivated(record) => {
                trouble::of_the_host(&record.said).unwrap_or(ConfigurationReason::ActivationFailed)
            }
            Self::RebootIneffective { .. } => ConfigurationReason::RebootIneffective,
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
            | Self::Unfinished { .. }
            | Self::RebootIneffective { .. } => Category::InvalidInput,
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
            | Self::RolledBack(_)
            | Self::NotActivated(_)
            | Self::NotBack(_)
            | Self::Interrupted(_)
            | Self::Api(_) => Category::Transient,
        }
    }
}

/// An error with what caused it, as one text.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
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
