//! Where one machine of a cluster stands, as far as it can be told without asking the machine
//! or the new cluster. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use nico_api::condition;
use nico_api::kubernetes_cluster::KubernetesClusterStatus;
use nico_api::kubernetes_cluster::conditions::NODES_HEALTHY;
use nico_api::machine::conditions::REACHABLE;
use nico_api::nixos_configuration::conditions::READY;
use nico_api::reason::ClusterReason;
use nico_api::{Machine, NixosConfiguration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plan::marks::Marks;
use crate::plan::readiness::{ConfigurationState, configuration_state};

/// Where a machine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum MachineState {
    /// The spec names it and there is no such Machine.
    Missing,
    /// Nothing is made for it yet.
    Waiting,
    /// It gets its first configuration.
    Joining,
    /// A change is evaluated, built and copied to it; it runs what it ran.
    Preparing,
    /// A change is on it and waits for its turn.
    Prepared,
    /// Pods are being moved away from it.
    Draining,
    /// A change is being activated, or it is not back since.
    Changing,
    /// A rollout failed on it.
    Failed,
    /// It runs what it was last told to, and its Node is Ready.
    Ready,
    /// It runs what it was last told to, and is not ready.
    NotReady,
    /// Its configuration is being taken off, or it is to be given back.
    Leaving,
    /// What decides it could not be read, or the new cluster does not answer.
    Unknown,
}

/// Everything that tells where a machine stands.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The name of the machine.
    pub name: &'a str,
    /// What the cluster says.
    pub cluster: &'a KubernetesClusterStatus,
    /// Whether the cluster wants the machine.
    pub is_wanted: bool,
    /// The Machine; `None` when it is not there or could not be read.
    pub machine: Option<&'a Machine>,
    /// Whether the Machine is known not to be there.
    pub is_missing: bool,
    /// Its NixosConfiguration; `None` when it is not there or could not be read.
    pub configuration: Option<&'a NixosConfiguration>,
    /// Whether the NixosConfigurations could be read.
    pub configurations_are_read: bool,
}

/// Where a machine stands, since when, and what it waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Where.
    pub state: MachineState,
    /// Since when, if that can be told.
    pub since: Option<Time>,
    /// What it waits for, a sentence each.
    pub waits_for: Vec<String>,
}

/// Tells where a machine stands.
pub fn of(evidence: &Evidence<'_>) -> Standing {
    let (state, since) = state_of(evidence);
    let mut waits_for = vec![];
    if let Some(failure) = failure_of(evidence).filter(|_| state == MachineState::Failed) {
        waits_for.push(format!("failed at {failure}"));
    }
    if let Some(machine) = evidence.machine {
        waits_for.extend(silence_of(machine));
        if machine.spec.maintenance {
            waits_for.push("is in maintenance (spec.maintenance)".to_owned());
        }
    }
    match state {
        MachineState::Missing => waits_for.push("there is no Machine of that name".to_owned()),
        MachineState::Waiting => waits_for.push("nothing is made for it yet".to_owned()),
        MachineState::NotReady if waits_for.is_empty() => {
            waits_for.push("its Node is not Ready in the new cluster".to_owned());
        }
        MachineState::Unknown if is_silent(evidence.cluster) => {
            waits_for.push("the new cluster does not say how its Node is".to_owned());
        }
        _ => {}
    }
    Standing {
        state,
        since,
        waits_for,
    }
}

fn state_of(evidence: &Evidence<'_>) -> (MachineState, Option<Time>) {
    let is_ready = is_ready(evidence);
    let is_in_hand = evidence
        .cluster
        .rollout
        .as_ref()
        .is_some_and(|rollout| rollout.current.iter().any(|name| name == evidence.name));
    let Some(configuration) = evidence.configuration else {
        let state = match evidence.configurations_are_read {
            _ if evidence.is_missing => MachineState::Missing,
            true if !evidence.is_wanted => MachineState::Leaving,
            true => MachineState::Waiting,
            false if is_in_hand => MachineState::Changing,
            false if is_ready && !is_silent(evidence.cluster) => MachineState::Ready,
            false => MachineState::Unknown,
        };
        return (state, None);
    };
    let marks = Marks::of(configuration);
    let said_at = ready_condition(configuration).map(|ready| ready.last_transition_time.clone());
    if let Some(deleted) = &configuration.metadata.deletion_timestamp {
        return (MachineState::Leaving, Some(deleted.clone()));
    }
    if evidence.is_missing {
        return (MachineState::Missing, None);
    }
    if !evidence.is_wanted {
        return (MachineState::Leaving, None);
    }
    if marks.failure.is_some() {
        return (MachineState::Failed, marks.changing_since.map(Time));
    }
    if let Some(since) = marks.changing_since {
        return (MachineState::Changing, Some(Time(since)));
    }
    let state = match configuration_state(configuration) {
        ConfigurationState::Absent | ConfigurationState::New(_) => MachineState::Joining,
        ConfigurationState::Removing => MachineState::Leaving,
        ConfigurationState::Staging(_) => MachineState::Preparing,
        ConfigurationState::Staged(_) if is_in_hand => MachineState::Draining,
        ConfigurationState::Staged(_) => MachineState::Prepared,
        ConfigurationState::Behind(_) => MachineState::Changing,
        ConfigurationState::Applied if is_ready => match is_silent(evidence.cluster) {
            true => MachineState::Unknown,
            false => MachineState::Ready,
        },
        ConfigurationState::Applied => {
            let silent_since = evidence.machine.and_then(unreachable);
            let since = silent_since.map(|condition| condition.last_transition_time.clone());
            return (MachineState::NotReady, since);
        }
    };
    (state, said_at)
}

/// Whether the new cluster does not answer, or has only begun to again: then it is not known how
/// its Nodes are.
pub fn is_silent(cluster: &KubernetesClusterStatus) -> bool {
    condition::find(&cluster.conditions, NODES_HEALTHY).is_some_and(|nodes| {
        nodes.status == "Unknown" && nodes.reason == ClusterReason::ClusterUnreachable.as_str()
    })
}

fn is_ready(evidence: &Evidence<'_>) -> bool {
    [
        &evidence.cluster.control_plane,
        &evidence.cluster.data_plane,
    ]
    .into_iter()
    .flatten()
    .any(|plane| {
        plane
            .ready_machines
            .iter()
            .any(|name| name == evidence.name)
    })
}

fn failure_of(evidence: &Evidence<'_>) -> Option<String> {
    let failure = Marks::of(evidence.configuration?).failure?;
    Some(format!("{}: {}", failure.step, failure.message))
}

/// The condition `Ready` of a configuration, if it is about its present spec.
pub fn ready_condition(configuration: &NixosConfiguration) -> Option<&Condition> {
    let status = configuration.status.as_ref()?;
    condition::find(&status.conditions, READY)
        .filter(|_| status.observed_generation == configuration.metadata.generation)
}

/// The condition `Reachable` of a machine that does not answer.
fn unreachable(machine: &Machine) -> Option<&Condition> {
    let conditions = &machine.status.as_ref()?.conditions;
    condition::find(conditions, REACHABLE).filter(|reachable| reachable.status == "False")
}

fn silence_of(machine: &Machine) -> Option<String> {
    let condition = unreachable(machine)?;
    Some(format!(
        "does not answer over SSH: {}: {}",
        condition.reason, condition.message
    ))
}
