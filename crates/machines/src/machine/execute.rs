//! Does what the plan says: pins, writes, publishes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use nico_api::Machine;
use nico_api::labels::{MACHINE_CONTROLLER, RESET_HOST_KEY};
use nico_runtime::category::{Categorized, Category};
use nico_runtime::context::Context;
use nico_runtime::events::{Event, EventKind};
use nico_runtime::status;
use nico_ssh::{Access, AccessError, Pinning, PublicKey, fingerprint};
use serde_json::json;
use thiserror::Error;

use super::plan::{Action, Plan};

/// Owns `status.hardwareFacts` and `status.lastHardwareScanTime` and nothing else, so that facts
/// need not be sent with every other change, nor kept in the operator's memory for that.
const FACTS_MANAGER: &str = "nio-machine-controller-facts";

/// The same for `status.nixFacterResult`.
const FACTER_MANAGER: &str = "nio-machine-controller-facter";

/// Why a plan was not carried out.
#[derive(Debug, Error)]
pub enum ExecuteError {
    /// The host key was not pinned.
    #[error("cannot pin the host key")]
    Pin(#[source] AccessError),
    /// The status was not written.
    #[error("cannot write the status")]
    Status(#[source] kube::Error),
}

impl Categorized for ExecuteError {
    fn category(&self) -> Category {
        match self {
            Self::Pin(error) => error.category(),
            Self::Status(error) => error.category(),
        }
    }
}

/// Carries `plan` out. Each action may be repeated: a restart between two of them does no harm.
pub(super) async fn execute(
    context: &Context,
    access: &Access,
    machine: &Machine,
    plan: Plan,
) -> Result<(), ExecuteError> {
    for action in plan.actions {
        match action {
            Action::PinHostKey(key) => pin(context, access, machine, &key).await?,
            Action::ApplyFacts(facts, time) => {
                let status = json!({"hardwareFacts": facts, "lastHardwareScanTime": Time(time)});
                apply(context, FACTS_MANAGER, machine, status).await?;
            }
            Action::ApplyStatus(status) => {
                apply(context, MACHINE_CONTROLLER, machine, json!(status)).await?;
            }
            Action::ApplyFacterReport(report) => {
                let status = json!({"nixFacterResult": report});
                apply(context, FACTER_MANAGER, machine, status).await?;
            }
            Action::Publish(event) => context.events.publish(machine, event).await,
        }
    }
    Ok(())
}

async fn pin(
    context: &Context,
    access: &Access,
    machine: &Machine,
    key: &PublicKey,
) -> Result<(), ExecuteError> {
    let (reason, note) = match access.pin(machine, key).await.map_err(ExecuteError::Pin)? {
        Pinning::Unchanged => return Ok(()),
        Pinning::FirstUse => (
            "HostKeyPinned",
            format!("trusts the host key {} from now on", fingerprint(key)),
        ),
        Pinning::Replaced => (
            "HostKeyReplaced",
            format!(
                "trusts the host key {} now, as the annotation {RESET_HOST_KEY} says",
                fingerprint(key)
            ),
        ),
    };
    let event = Event {
        kind: EventKind::Normal,
        reason,
        action: "PinHostKey",
        note,
    };
    context.events.publish(machine, event).await;
    Ok(())
}

async fn apply(
    context: &Context,
    manager: &str,
    machine: &Machine,
    status: serde_json::Value,
) -> Result<(), ExecuteError> {
    match status::apply(&context.client, manager, machine, status).await {
        Ok(_) => Ok(()),
        // Deleted while it was probed: nobody is left to be told.
        Err(kube::Error::Api(response)) if response.code == 404 => Ok(()),
        Err(error) => Err(ExecuteError::Status(error)),
    }
}
