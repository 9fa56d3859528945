//! What to do next, and what to say about it: pure functions over one snapshot.
//!
//! - [`selection`]: which machines the cluster has, claims and gives back
//! - [`installation`]: whether a machine may be wiped
//! - [`topology`]: the file `cluster.nix`
//! - [`configuration`]: the NixosConfiguration of each machine
//! - [`readiness`]: whether a machine is what the cluster needs it to be
//! - [`renewal`]: whether the published kubeconfig must be replaced
//! - [`rollout`]: what a rollout does next; [`marks`]: what it notes on a configuration
//! - [`deletion`]: what is left to do for a cluster that goes
//! - [`actions`]: what is done, in which order
//! - [`status`]: what the status says
//!
//! No async, no client, no clock, no randomness.

mod actions;
pub mod configuration;
pub mod deletion;
pub mod installation;
pub mod marks;
pub mod readiness;
pub mod renewal;
pub mod rollout;
pub mod selection;
pub mod status;
pub mod topology;

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use nico_api::kubernetes_cluster::KubernetesClusterStatus;
use nico_api::names::MachineName;
use nico_api::{NixosConfiguration, labels};
use serde_json::json;

use crate::action::Action;
use crate::naming;
use crate::observed::{Observed, Source, Workload};
use crate::role::Role;

use configuration::Wanted;
use installation::Installation;
use readiness::Member;
use rollout::{Leaving, Situation, Step};
use selection::Selection;
use topology::Topology;

/// What to do next for a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In this order; the first that fails stops the rest.
    pub actions: Vec<Action>,
    /// What is true now, before the actions.
    pub status: KubernetesClusterStatus,
    /// When to look again if nothing is heard before.
    pub look_again: Duration,
}

/// How often a cluster is looked at when nothing is heard of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// While Nodes or the kubeconfig are about to appear.
    pub starting: Duration,
    /// While something else is not ready.
    pub unready: Duration,
    /// While all is well.
    pub ready: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            starting: Duration::from_secs(1),
            unready: Duration::from_secs(10),
            ready: Duration::from_secs(30),
        }
    }
}

/// Everything that was concluded about a cluster that is to be.
#[derive(Clone, Debug)]
pub struct Assessment {
    /// Its machines.
    pub selection: Selection,
    /// What they should run; `None` while the source is not resolved.
    pub wanted: Option<Wanted>,
    /// The machines that are held and wanted, control plane first.
    pub members: Vec<Member>,
    /// The configuration that each of them should have.
    pub desired: BTreeMap<MachineName, NixosConfiguration>,
    /// Machines that are not touched, with why.
    pub blocked: BTreeMap<MachineName, (Installation, String)>,
    /// What is changed next.
    pub step: Step,
}

/// Decides what to do next for the cluster.
///
/// Pure: the same snapshot and time give the same plan.
pub fn plan(observed: &Observed, intervals: &Intervals, now: Timestamp) -> Plan {
    if observed.cluster.metadata.deletion_timestamp.is_some() {
        let deletion = deletion::next(observed);
        return Plan {
            status: status::while_deleting(observed, &deletion, now),
            actions: match has_finalizer(observed) {
                true => deletion.actions,
                false => vec![],
            },
            look_again: intervals.unready,
        };
    }
    let assessment = assess(observed, now);
    let status = status::of(observed, &assessment, now);
    Plan {
        actions: actions::of(observed, &assessment, now),
        look_again: look_again(observed, &assessment, &status, intervals, now),
        status,
    }
}

/// Concludes everything that there is to know about a cluster that is to be.
pub fn assess(observed: &Observed, now: Timestamp) -> Assessment {
    let selection = selection::select(observed);
    let wanted = match &observed.source {
        Source::Resolved { repository, commit } => Some(Wanted::new(
            &observed.cluster,
            repository,
            commit,
            &topology_of(observed, &selection),
        )),
        Source::Unresolved(_) => None,
    };
    let of_role = |role, plane: &[MachineName]| -> Vec<(MachineName, Role)> {
        plane.iter().map(|name| (name.clone(), role)).collect()
    };
    let roles = [
        of_role(Role::ControlPlane, &selection.control_plane.members),
        of_role(Role::Worker, &selection.workers.members),
    ]
    .concat();

    let mut blocked = BTreeMap::new();
    let mut desired = BTreeMap::new();
    for (name, role) in &roles {
        let machine = &observed.machines[name];
        let existing = observed.configuration_of(name);
        let installation =
            installation::decide(observed.cluster.spec.install_mode, machine, existing);
        if let Some(why) = installation::advice(machine, installation) {
            blocked.insert(name.clone(), (installation, why));
        } else if let Some(wanted) = &wanted {
            let full_install = installation == Installation::Full;
            let configuration =
                wanted.configuration(&observed.cluster, name, machine, *role, full_install);
            desired.insert(name.clone(), configuration);
        }
    }
    let members: Vec<Member> = roles
        .iter()
        .map(|(name, role)| readiness::judge(observed, name, *role, desired.get(name)))
        .collect();
    let touchable: Vec<Member> = members
        .iter()
        .filter(|member| !blocked.contains_key(&member.machine))
        .cloned()
        .collect();
    let strategy = observed.cluster.spec.rollout();
    let step = rollout::next_step(&Situation {
        members: &touchable,
        leaving: &leaving(observed, &selection),
        is_complete: selection.control_plane.is_complete() && selection.workers.is_complete(),
        workload: &observed.workload,
        strategy: &strategy,
        attempt: &attempt(observed, wanted.as_ref()),
        paused: observed.cluster.spec.paused,
        now,
    });
    Assessment {
        step,
        selection,
        wanted,
        members,
        desired,
        blocked,
    }
}

/// Names a rollout: what is rolled out, how, and the user's last request to try again.
fn attempt(observed: &Observed, wanted: Option<&Wanted>) -> String {
    let cluster = &observed.cluster;
    let text = json!({
        "revision": wanted.map(Wanted::revision),
        "strategy": cluster.spec.rollout,
        "request": cluster.annotations().get(labels::RECONCILE_AT),
    });
    naming::content_hash(&text.to_string())
}

/// What every machine is told about all the others.
fn topology_of(observed: &Observed, selection: &Selection) -> Topology {
    let members = |plane: &[MachineName]| {
        plane
            .iter()
            .map(|name| topology::Member::new(name, &observed.machines[name]))
            .collect()
    };
    Topology {
        cluster: observed.name(),
        endpoint: observed
            .cluster
            .spec
            .control_plane_endpoint
            .as_ref()
            .map(|endpoint| endpoint.host.clone()),
        control_plane: members(&selection.control_plane.members),
        workers: members(&selection.workers.members),
    }
}

/// The machines that have a configuration and are no part of the cluster any more. One that the
/// spec names and that does not exist is a machine that is missing, and none that leaves.
pub fn leaving(observed: &Observed, selection: &Selection) -> Vec<Leaving> {
    let planes = [&selection.control_plane, &selection.workers];
    let named: Vec<String> = [
        Some(observed.cluster.spec.control_plane.clone()),
        observed.cluster.spec.data_plane.clone(),
    ]
    .into_iter()
    .flatten()
    .flat_map(|plane| plane.machines.unwrap_or_default())
    .collect();
    observed
        .configurations
        .values()
        .filter_map(|configuration| {
            let machine: MachineName = configuration.spec.machine_ref.name.parse().ok()?;
            let is_member = planes.iter().any(|plane| plane.members.contains(&machine));
            let is_let_go = planes.iter().any(|plane| plane.leaving.contains(&machine));
            let is_named = named.iter().any(|name| name == machine.as_str());
            (!is_member && (is_let_go || !is_named)).then(|| Leaving {
                has_machine: observed.machines.contains_key(&machine),
                is_held: is_let_go,
                member: readiness::judge(
                    observed,
                    &machine,
                    deletion::role_of(configuration),
                    None,
                ),
            })
        })
        .collect()
}

fn has_finalizer(observed: &Observed) -> bool {
    observed
        .cluster
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == labels::CLUSTER_FINALIZER)
}

/// Nodes and the kubeconfig appear without a word: nobody tells of changes in the new cluster,
/// so it is asked often while it starts, for the first minutes after it was last ready.
fn look_again(
    observed: &Observed,
    assessment: &Assessment,
    status: &KubernetesClusterStatus,
    intervals: &Intervals,
    now: Timestamp,
) -> Duration {
    const STARTING: i64 = 180;
    let ready = nico_api::condition::find(
        &status.conditions,
        nico_api::kubernetes_cluster::conditions::READY,
    );
    if ready.is_some_and(|ready| ready.status == "True") {
        return match observed.workload {
            Workload::Unreachable { .. } => intervals.unready,
            Workload::NotAsked | Workload::Answers(_) => intervals.ready,
        };
    }
    let applied = |member: &Member| {
        member.role == Role::ControlPlane
            && member.configuration == readiness::ConfigurationState::Applied
    };
    let is_asked =
        assessment.members.iter().any(applied) || matches!(observed.workload, Workload::Answers(_));
    if !assessment.step.in_hand.is_empty() {
        return intervals.starting;
    }
    let since = ready.map_or(0, |ready| {
        now.as_second() - ready.last_transition_time.0.as_second()
    });
    let is_silent = observed.workload.is_long_silent(now);
    if is_asked && !is_silent && since < STARTING {
        intervals.starting
    } else {
        intervals.unready
    }
}

#[cfg(test)]
mod tests;
