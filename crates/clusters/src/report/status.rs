//! From a snapshot to what `nico status` tells. Pure: the same snapshot gives the same report.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use nico_api::condition;
use nico_api::kubernetes_cluster::{
    KubernetesClusterStatus, Phase, PlaneStatus, Revision, RolloutStatus, conditions as kind,
};
use nico_api::reason::{ClusterReason, ConfigurationReason};
use nico_api::{KubernetesCluster, Machine, NixosConfiguration, labels};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::naming;
use crate::observe::is_owned_by;
use crate::role::Role;

use super::snapshot::Snapshot;
use super::state::{self, Evidence, MachineState};

/// What `nico status` tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// When it was read.
    pub observed_at: Time,
    /// The clusters, by namespace and name.
    pub clusters: Vec<ClusterReport>,
    /// What could not be read, and why, a sentence each. What hangs on it is missing below.
    pub unread: Vec<String>,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterReport {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Where it is in its life; absent until the operator has seen it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Whether its condition `Ready` is `True` for the present spec.
    pub ready: bool,
    /// Whether the new cluster does not answer, so that it is not known how it is.
    pub silent: bool,
    /// Since when its condition `Ready` is what it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// What every node runs, or last ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// The rollout that is under way, or stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// Conditions that are not as they are in a cluster that is well.
    pub waits_for: Vec<Concern>,
    /// The control plane.
    pub control_plane: PlaneReport,
    /// The workers.
    pub data_plane: PlaneReport,
    /// Machines that the cluster holds and does not want any more.
    pub leaving: Vec<MachineReport>,
}

/// A condition that is not as it is in a cluster that is well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Concern {
    /// Type of the condition.
    pub condition: String,
    /// Its reason.
    pub reason: String,
    /// Its message.
    pub message: String,
    /// Since when it is so.
    pub since: Time,
}

/// The machines of one role.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlaneReport {
    /// How many are ready.
    pub ready: i32,
    /// How many are at the wanted revision.
    pub updated: i32,
    /// How many are wanted.
    pub total: i32,
    /// The machines, in the order in which they were chosen.
    pub machines: Vec<MachineReport>,
}

/// A machine of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineReport {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: MachineState,
    /// Since when, if that can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Git commit that is on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// What it waits for, a sentence each.
    pub waits_for: Vec<String>,
    /// Its NixosConfiguration; absent when there is none or it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<ConfigurationReport>,
}

/// A NixosConfiguration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationReport {
    /// Its name.
    pub name: String,
    /// Reason of its condition `Ready`; `Pending` until the operator has seen the present spec.
    pub state: String,
    /// Since when its condition `Ready` is what it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Git commit that it asks for.
    pub revision: String,
    /// Whether it is copied to the machine and waits there.
    pub hold: bool,
    /// What it waits for: the message of its condition `Ready` while that is not `True`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
}

impl ClusterReport {
    /// Where the cluster stands, in a word: its phase, but for one that is Ready as far as its
    /// phase goes and is being changed, and for one of which nothing is known.
    pub fn state(&self) -> String {
        match self.phase {
            None => "Pending".to_owned(),
            Some(Phase::Ready | Phase::ControlPlaneReady) if self.silent => "Unknown".to_owned(),
            Some(Phase::Ready) if !self.ready => "Changing".to_owned(),
            Some(phase) => format!("{phase:?}"),
        }
    }
}

/// Tells how the clusters of a snapshot are.
pub fn report(snapshot: &Snapshot, now: Timestamp) -> StatusReport {
    StatusReport {
        observed_at: Time(now),
        clusters: snapshot
            .clusters
            .iter()
            .map(|cluster| of_cluster(snapshot, cluster))
            .collect(),
        unread: snapshot.unread(),
    }
}

fn of_cluster(snapshot: &Snapshot, cluster: &KubernetesCluster) -> ClusterReport {
    let status = cluster.status.clone().unwrap_or_default();
    let ready = condition::find(&status.conditions, kind::READY);
    let is_current = status.observed_generation == cluster.metadata.generation;
    let parts = Parts {
        snapshot,
        cluster,
        status: &status,
    };
    let (control_plane, data_plane) = (
        parts.plane(Role::ControlPlane, &status.selected_control_plane_machines),
        parts.plane(Role::Worker, &status.selected_data_plane_machines),
    );
    let shown: Vec<String> = [&control_plane, &data_plane]
        .into_iter()
        .flat_map(|plane| plane.machines.iter().map(|machine| machine.name.clone()))
        .collect();
    ClusterReport {
        namespace: cluster.namespace().unwrap_or_default(),
        name: cluster.name_any(),
        phase: status.phase,
        ready: is_current && ready.is_some_and(|ready| ready.status == "True"),
        silent: state::is_silent(&status),
        since: ready.map(|ready| ready.last_transition_time.clone()),
        revision: status.revision.clone(),
        rollout: status.rollout.clone().filter(|_| is_rolling_out(&status)),
        waits_for: concerns(&status),
        leaving: parts.leaving(&shown),
        control_plane,
        data_plane,
    }
}

/// Whether a rollout is under way, or stopped before its end.
fn is_rolling_out(status: &KubernetesClusterStatus) -> bool {
    condition::find(&status.conditions, kind::ROLLING_OUT)
        .is_some_and(|rolling| !matches!(rolling.reason.as_str(), "Finished" | "NotStarted"))
}

/// The conditions that are not as in a cluster that is well. What only repeats another one is
/// left out, as is what waits for a control plane of which another one says what it waits for, and
/// what is no longer wanted of a cluster that is being deleted.
fn concerns(status: &KubernetesClusterStatus) -> Vec<Concern> {
    let control_plane = condition::find(&status.conditions, kind::CONTROL_PLANE_READY);
    let control_plane_is_ready = control_plane.is_some_and(|plane| plane.status == "True");
    let is_deleted = status.phase == Some(Phase::Deleting);
    let only_waits_for_it = |condition: &Condition| {
        !control_plane_is_ready
            && condition.type_ != kind::CONTROL_PLANE_READY
            && condition.reason == ClusterReason::WaitingForControlPlane.as_str()
    };
    let is_well = |condition: &Condition| match condition.type_.as_str() {
        kind::PAUSED => condition.status == "False",
        kind::ROLLING_OUT => !is_rolling_out(status),
        _ => condition.status == "True",
    };
    let mut concerns: Vec<Concern> = vec![];
    let unwell = status
        .conditions
        .iter()
        .filter(|condition| !is_well(condition) && !only_waits_for_it(condition))
        .filter(|condition| !is_deleted || condition.type_ == kind::READY);
    // `Ready` says the same as the first condition that it hangs on.
    let (ready, others): (Vec<_>, Vec<_>) =
        unwell.partition(|condition| condition.type_ == kind::READY);
    for condition in others.into_iter().chain(ready) {
        let is_told = concerns
            .iter()
            .any(|told| told.message == condition.message);
        if !is_told {
            concerns.push(Concern {
                condition: condition.type_.clone(),
                reason: condition.reason.clone(),
                message: condition.message.clone(),
                since: condition.last_transition_time.clone(),
            });
        }
    }
    concerns
}

/// All that the report of a cluster is made from.
struct Parts<'a> {
    snapshot: &'a Snapshot,
    cluster: &'a KubernetesCluster,
    status: &'a KubernetesClusterStatus,
}

impl Parts<'_> {
    fn plane(&self, role: Role, selected: &[String]) -> PlaneReport {
        let counts = match role {
            Role::ControlPlane => &self.status.control_plane,
            Role::Worker => &self.status.data_plane,
        };
        let counts = counts.clone().unwrap_or_else(|| self.not_counted(role));
        let named = match role {
            Role::ControlPlane => self.cluster.spec.control_plane.clone(),
            Role::Worker => self.cluster.spec.data_plane(),
        };
        // Machines of the spec that are not claimed yet are wanted all the same.
        let unclaimed = named
            .named_machines()
            .into_iter()
            .flatten()
            .filter(|name| !selected.contains(name));
        PlaneReport {
            ready: counts.ready,
            updated: counts.updated,
            total: counts.total,
            machines: selected
                .iter()
                .chain(unclaimed)
                .map(|name| self.machine(name, true))
                .collect(),
        }
    }

    /// The counts of a plane while the operator has not counted.
    fn not_counted(&self, role: Role) -> PlaneStatus {
        let size = match role {
            Role::ControlPlane => self.cluster.spec.control_plane.size(),
            Role::Worker => self.cluster.spec.data_plane().size(),
        };
        PlaneStatus {
            total: i32::try_from(size).unwrap_or(i32::MAX),
            ..PlaneStatus::default()
        }
    }

    /// Machines with a claim or a configuration of the cluster that are not `shown` yet.
    fn leaving(&self, shown: &[String]) -> Vec<MachineReport> {
        let namespace = self.cluster.namespace();
        let label = naming::label_value(&self.cluster.name_any());
        let claimed = self
            .snapshot
            .machines
            .iter()
            .filter(|machine| machine.metadata.namespace == namespace)
            .filter(|machine| machine.label(labels::CLUSTER) == Some(&label))
            .map(ResourceExt::name_any);
        let configured = self
            .configurations()
            .map(|configuration| configuration.spec.machine_ref.name.clone());
        let mut names: Vec<String> = claimed.chain(configured).collect();
        names.sort();
        names.dedup();
        names.retain(|name| !shown.contains(name));
        names
            .iter()
            .map(|name| self.machine(name, self.was_just_claimed(name)))
            .collect()
    }

    /// A claim is written before the status that tells of it.
    fn was_just_claimed(&self, name: &str) -> bool {
        self.status.observed_generation.is_none() && self.configuration_of(name).is_none()
    }

    fn machine(&self, name: &str, is_wanted: bool) -> MachineReport {
        let namespace = self.cluster.namespace().unwrap_or_default();
        let machine = self.snapshot.machines.get(&namespace, name);
        let configuration = self.configuration_of(name);
        let standing = state::of(&Evidence {
            name,
            cluster: self.status,
            is_wanted: is_wanted && self.cluster.meta().deletion_timestamp.is_none(),
            machine,
            is_missing: self.snapshot.machines.exists(&namespace, name) == Some(false),
            configuration,
            configurations_are_read: self.snapshot.configurations.is_read(),
        });
        MachineReport {
            name: name.to_owned(),
            state: standing.state,
            since: standing.since,
            revision: revision_on(machine, configuration),
            waits_for: standing.waits_for,
            configuration: configuration.map(of_configuration),
        }
    }

    fn configuration_of(&self, machine: &str) -> Option<&NixosConfiguration> {
        self.configurations()
            .find(|configuration| configuration.spec.machine_ref.name == machine)
    }

    fn configurations(&self) -> impl Iterator<Item = &NixosConfiguration> {
        self.snapshot
            .configurations
            .iter()
            .filter(|configuration| is_owned_by(configuration.meta(), self.cluster))
    }
}

/// The commit that is on a machine, by its configuration or else by itself.
fn revision_on(
    machine: Option<&Machine>,
    configuration: Option<&NixosConfiguration>,
) -> Option<String> {
    let by_configuration = || configuration?.status.as_ref()?.applied_commit.clone();
    by_configuration().or_else(|| machine?.status.as_ref()?.applied_commit.clone())
}

fn of_configuration(configuration: &NixosConfiguration) -> ConfigurationReport {
    let ready = state::ready_condition(configuration);
    let is_removed = configuration.metadata.deletion_timestamp.is_some();
    ConfigurationReport {
        name: configuration.name_any(),
        state: match ready {
            _ if is_removed => "Removing".to_owned(),
            Some(ready) => ready.reason.clone(),
            None => "Pending".to_owned(),
        },
        since: ready.map(|ready| ready.last_transition_time.clone()),
        revision: configuration.spec.reference.clone(),
        hold: configuration.spec.hold,
        // That a change waits for its turn is said by its state, and in a line less.
        waits_for: ready
            .filter(|ready| {
                ready.status != "True" && ready.reason != ConfigurationReason::Staged.as_str()
            })
            .map(|ready| ready.message.clone()),
    }
}
