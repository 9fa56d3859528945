//! Who has a machine, as the machine's status says.
//!
//! `hasConfiguration` and `appliedConfiguration` are written before a host is touched, on
//! condition that the Machine did not change since it was read, so that of two configurations
//! that want it at once only one can win.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Resource, ResourceExt};
use nico_api::condition::{self, Truth};
use nico_api::labels::{CONFIGURATION_CONTROLLER, FULL_INSTALLATION_APPLIED};
use nico_api::machine::conditions::NEEDS_CLEANUP;
use nico_api::names::CommitId;
use nico_api::reason::MachineReason;
use nico_api::{Machine, MachineStatus};
use nico_runtime::status;
use serde_json::json;

/// Who has a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// No configuration.
    Nobody,
    /// The configuration that asks.
    Me,
    /// Another configuration, by name.
    Other(String),
}

/// Who has `machine`, seen from the configuration `name`, as the status says.
pub(super) fn holder(machine: &Machine, name: &str) -> Holder {
    let applied = machine
        .status
        .as_ref()
        .and_then(|status| status.applied_configuration.as_deref())
        .filter(|applied| !applied.is_empty());
    match applied {
        None => Holder::Nobody,
        Some(applied) if applied == name => Holder::Me,
        Some(other) => Holder::Other(other.to_owned()),
    }
}

/// Takes a machine for the configuration `name`.
///
/// # Errors
/// A conflict when the Machine changed since it was read; what else the API says.
pub(super) async fn take(
    client: &Client,
    machine: &Machine,
    name: &str,
) -> Result<(), kube::Error> {
    let namespace = machine.namespace().unwrap_or_default();
    let api: Api<Machine> = Api::namespaced(client.clone(), &namespace);
    let patch = json!({
        "apiVersion": Machine::api_version(&()),
        "kind": Machine::kind(&()),
        "metadata": {
            "name": machine.name_any(),
            "namespace": namespace,
            "resourceVersion": machine.resource_version(),
        },
        "status": MachineStatus {
            has_configuration: Some(true),
            applied_configuration: Some(name.to_owned()),
            conditions: cleanup_condition(machine),
            ..MachineStatus::default()
        },
    });
    let parameters = PatchParams::apply(CONFIGURATION_CONTROLLER).force();
    api.patch_status(&machine.name_any(), &parameters, &Patch::Apply(patch))
        .await?;
    Ok(())
}

/// Records that a machine runs a commit of the configuration `name`, and so needs no cleanup.
///
/// # Errors
/// What the API says.
pub(super) async fn record(
    client: &Client,
    machine: &Machine,
    name: &str,
    commit: &CommitId,
    now: Timestamp,
) -> Result<(), kube::Error> {
    let written = MachineStatus {
        has_configuration: Some(true),
        applied_configuration: Some(name.to_owned()),
        applied_commit: Some(commit.to_string()),
        last_applied_time: Some(Time(now)),
        ..MachineStatus::default()
    };
    status::apply(client, CONFIGURATION_CONTROLLER, machine, written).await?;
    Ok(())
}

/// Notes on a machine that it was installed from scratch, for ever: the note survives the
/// configuration, and a backup that leaves out every status.
///
/// # Errors
/// What the API says.
pub(super) async fn mark_installed(
    client: &Client,
    machine: &Machine,
    name: &str,
) -> Result<(), kube::Error> {
    if machine
        .annotations()
        .contains_key(FULL_INSTALLATION_APPLIED)
    {
        return Ok(());
    }
    let namespace = machine.namespace().unwrap_or_default();
    let api: Api<Machine> = Api::namespaced(client.clone(), &namespace);
    let patch = json!({"metadata": {"annotations": {FULL_INSTALLATION_APPLIED: name}}});
    let parameters = PatchParams {
        field_manager: Some(CONFIGURATION_CONTROLLER.to_owned()),
        ..PatchParams::default()
    };
    api.patch(&machine.name_any(), &parameters, &Patch::Merge(patch))
        .await?;
    Ok(())
}

/// Gives a machine back. `left_behind` says what is still on the host, if something is.
///
/// # Errors
/// What the API says.
pub(super) async fn give_back(
    client: &Client,
    machine: &Machine,
    left_behind: Option<&str>,
    now: Timestamp,
) -> Result<(), kube::Error> {
    let mut conditions = cleanup_condition(machine);
    if let Some(message) = left_behind {
        condition::set(
            &mut conditions,
            NEEDS_CLEANUP,
            Truth::True,
            MachineReason::RemovalForced,
            message,
            machine.metadata.generation,
            now,
        );
    }
    let written = MachineStatus {
        has_configuration: Some(false),
        conditions,
        ..MachineStatus::default()
    };
    status::apply(client, CONFIGURATION_CONTROLLER, machine, written).await?;
    Ok(())
}

/// The condition `NeedsCleanup` as it stands: this controller owns it, so that it has to be in
/// all that it applies until a configuration succeeds.
fn cleanup_condition(machine: &Machine) -> Vec<Condition> {
    let conditions = machine.status.iter().flat_map(|status| &status.conditions);
    conditions
        .filter(|condition| condition.type_ == NEEDS_CLEANUP)
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_says_who_has_it() {
        let machine = |applied: Option<&str>| {
            let status = MachineStatus {
                applied_configuration: applied.map(str::to_owned),
                ..MachineStatus::default()
            };
            Machine {
                status: Some(status),
                ..Machine::default()
            }
        };
        assert_eq!(holder(&Machine::default(), "web"), Holder::Nobody);
        assert_eq!(holder(&machine(None), "web"), Holder::Nobody);
        assert_eq!(holder(&machine(Some("")), "web"), Holder::Nobody);
        assert_eq!(holder(&machine(Some("web")), "web"), Holder::Me);
        let other = Holder::Other("db".to_owned());
        assert_eq!(holder(&machine(Some("db")), "web"), other);
    }
}
