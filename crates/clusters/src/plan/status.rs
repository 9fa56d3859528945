//! What the status of a cluster says, computed from what was observed and nothing else.
//!
//! - [`rollout`]: what it says of a rollout

mod rollout;

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use nico_api::condition::{self, Truth};
use nico_api::kubernetes_cluster::{
    KubernetesClusterStatus, Phase, PlaneStatus, Revision, conditions as kind,
};
use nico_api::reason::ClusterReason as Reason;

use crate::kubeconfig::Contents;
use crate::naming;
use crate::observed::{KubeconfigState, Observed, OwnedSecret, Published, Source, Workload};
use crate::role::Role;

use super::Assessment;
use super::deletion::Deletion;
use super::installation::Installation;
use super::readiness::{ConfigurationState, Member, NodeState};
use super::renewal::{self, Need};
use super::rollout::State;
use super::selection::PlaneSelection;

/// What one condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    truth: Truth,
    reason: Reason,
    message: String,
}

impl Verdict {
    fn new(truth: impl Into<Truth>, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            truth: truth.into(),
            reason,
            message: message.into(),
        }
    }

    fn holds(&self) -> bool {
        self.truth == Truth::True
    }
}

/// The status of a cluster that is to be.
pub fn of(observed: &Observed, assessment: &Assessment, now: Timestamp) -> KubernetesClusterStatus {
    let report = Report {
        observed,
        assessment,
        now,
    };
    let selected = report.machines_selected();
    let source = report.source_resolved();
    let control_plane = report.plane_ready(Role::ControlPlane, &assessment.selection.control_plane);
    let data_plane = report.plane_ready(Role::Worker, &assessment.selection.workers);
    let kubeconfig = report.kubeconfig_available(&control_plane);
    let nodes = report.nodes_healthy();
    let rolling_out = report.rolling_out();
    let planes = [&control_plane, &data_plane];
    let ready = report.ready(&selected, &source, &rolling_out, planes, &kubeconfig);
    let phase = report.phase(&ready, &source);

    let mut status = report.counts();
    status.phase = Some(phase);
    status.revision = report.revision(&ready);
    status.observed_generation = observed.cluster.metadata.generation;
    status.conditions = with_conditions(
        observed,
        now,
        [
            (kind::READY, ready),
            (kind::MACHINES_SELECTED, selected),
            (kind::SOURCE_RESOLVED, source),
            (kind::CONTROL_PLANE_READY, control_plane),
            (kind::DATA_PLANE_READY, data_plane),
            (kind::KUBECONFIG_AVAILABLE, kubeconfig),
            (kind::NODES_HEALTHY, nodes),
            (kind::ROLLING_OUT, rolling_out),
            (kind::PAUSED, report.paused()),
        ],
    );
    status
}

/// The status of a cluster that is being deleted: what it was, and what holds the deletion up.
pub fn while_deleting(
    observed: &Observed,
    deletion: &Deletion,
    now: Timestamp,
) -> KubernetesClusterStatus {
    let ready = Verdict::new(false, Reason::Deleting, &*deletion.message);
    KubernetesClusterStatus {
        phase: Some(Phase::Deleting),
        observed_generation: observed.cluster.metadata.generation,
        applied_machines: applied_machines(observed),
        conditions: with_conditions(observed, now, [(kind::READY, ready)]),
        ..previous(observed)
    }
}

fn previous(observed: &Observed) -> KubernetesClusterStatus {
    observed.cluster.status.clone().unwrap_or_default()
}

fn with_conditions<const N: usize>(
    observed: &Observed,
    now: Timestamp,
    verdicts: [(&str, Verdict); N],
) -> Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    let mut conditions = previous(observed).conditions;
    for (kind, verdict) in verdicts {
        condition::set(
            &mut conditions,
            kind,
            verdict.truth,
            verdict.reason,
            verdict.message,
            observed.cluster.metadata.generation,
            now,
        );
    }
    conditions
}

fn applied_machines(observed: &Observed) -> BTreeMap<String, String> {
    observed
        .configurations
        .values()
        .map(|configuration| {
            let machine = configuration.spec.machine_ref.name.clone();
            (machine, configuration.name_any())
        })
        .collect()
}

struct Report<'a> {
    observed: &'a Observed,
    assessment: &'a Assessment,
    now: Timestamp,
}

impl Report<'_> {
    fn members(&self, role: Role) -> impl Iterator<Item = &Member> {
        self.assessment
            .members
            .iter()
            .filter(move |member| member.role == role)
    }

    /// What a machine waits for, after its name; `None` when it is ready.
    fn waits_for(&self, member: &Member) -> Option<String> {
        let blocked = self.assessment.blocked.get(&member.machine);
        let why = match (&member.configuration, blocked) {
            (ConfigurationState::Absent, Some((_, why))) => why.clone(),
            _ => member.waits_for()?,
        };
        Some(format!("{} {why}", member.machine))
    }

    fn machines_selected(&self) -> Verdict {
        let selection = &self.assessment.selection;
        let shortages: Vec<_> = [&selection.control_plane, &selection.workers]
            .into_iter()
            .filter_map(|plane| plane.shortage.as_ref())
            .collect();
        match shortages.first() {
            None => {
                let count = selection.control_plane.wanted + selection.workers.wanted;
                Verdict::new(
                    true,
                    Reason::Selected,
                    format!("{count} machines are claimed"),
                )
            }
            Some(first) => {
                let messages: Vec<&str> = shortages
                    .iter()
                    .map(|shortage| shortage.message.as_str())
                    .collect();
                Verdict::new(false, first.reason, messages.join(". "))
            }
        }
    }

    fn source_resolved(&self) -> Verdict {
        match &self.observed.source {
            Source::Resolved { repository, commit } => {
                let reference = self.observed.cluster.spec.reference.as_deref();
                let reference = reference
                    .filter(|text| !text.is_empty())
                    .unwrap_or("the default branch");
                Verdict::new(
                    true,
                    Reason::Resolved,
                    format!("{reference} of {repository} is commit {commit}"),
                )
            }
            Source::Unresolved(problem) => Verdict::new(false, problem.reason, &*problem.message),
        }
    }

    fn plane_ready(&self, role: Role, plane: &PlaneSelection) -> Verdict {
        if plane.wanted == 0 {
            return Verdict::new(true, Reason::NoWorkers, "the spec asks for no machines");
        }
        let members: Vec<&Member> = self.members(role).collect();
        let ready = members.iter().filter(|member| member.is_ready()).count();
        let count = format!("{ready} of {} machines are ready", plane.wanted);
        if ready == plane.wanted {
            let kind = match role {
                Role::ControlPlane => kind::CONTROL_PLANE_READY,
                Role::Worker => kind::DATA_PLANE_READY,
            };
            return self.unless_in_doubt(kind, Verdict::new(true, Reason::AllReady, count));
        }
        let mut waiting: Vec<String> = members
            .iter()
            .filter_map(|member| self.waits_for(member))
            .collect();
        if !plane.is_complete() {
            waiting.push("not all machines are chosen, see MachinesSelected".to_owned());
        }
        let message = format!("{count}; {}", waiting.join("; "));
        Verdict::new(false, self.reason_not_ready(&members, plane), message)
    }

    fn reason_not_ready(&self, members: &[&Member], plane: &PlaneSelection) -> Reason {
        let is_refused = |member: &&&Member| {
            matches!(
                self.assessment.blocked.get(&member.machine),
                Some((Installation::Refused, _))
            )
        };
        let is_applied = |member: &&Member| member.progress().is_none();
        if members.iter().any(|member| member.is_stalled()) {
            Reason::ConfigurationFailed
        } else if members.iter().find(is_refused).is_some() {
            Reason::MachineNotInstallable
        } else if !plane.is_complete() {
            Reason::WaitingForMachines
        } else if members.iter().all(is_applied) {
            Reason::WaitingForNodes
        } else {
            Reason::WaitingForConfigurations
        }
    }

    fn kubeconfig_available(&self, control_plane: &Verdict) -> Verdict {
        let secret = naming::kubeconfig(&self.observed.name());
        match &self.observed.kubeconfig {
            KubeconfigState::Published(published) => self.published(published, &secret),
            KubeconfigState::Proven(kubeconfig) => Verdict::new(
                false,
                Reason::WaitingForControlPlane,
                format!(
                    "it was found on {} and is being written to Secret {secret}",
                    kubeconfig.machine()
                ),
            ),
            KubeconfigState::Missing(Some(problem)) => {
                Verdict::new(false, problem.reason, &*problem.message)
            }
            KubeconfigState::Missing(None) => Verdict::new(
                false,
                Reason::WaitingForControlPlane,
                format!(
                    "no control-plane machine is ready yet: {}",
                    control_plane.message
                ),
            ),
        }
    }

    /// Whether the kubeconfig in its Secret works. Silence says nothing about it, and a refusal
    /// that is over soon is none.
    fn published(&self, published: &Published, secret: &str) -> Verdict {
        let tried = match &published.problem {
            Some(problem) => format!("; no machine has another one: {}", problem.message),
            None => String::new(),
        };
        match renewal::need(published, &self.observed.workload, self.now) {
            Some(Need::Unusable) => {
                let why = published.contents.as_ref().err().map_or("", |why| why);
                let message = format!("what is in Secret {secret} cannot be used: {why}{tried}");
                Verdict::new(false, Reason::KubeconfigInvalid, message)
            }
            Some(Need::Refused) if self.observed.workload.is_long_silent(self.now) => Verdict::new(
                false,
                Reason::KubeconfigRefused,
                format!("the new cluster does not take the one in Secret {secret}{tried}"),
            ),
            Some(Need::Ending) => {
                let contents = published.contents.as_ref().ok();
                let until = contents.and_then(Contents::validity);
                let until = until.map(|validity| validity.until.to_string());
                let message = format!(
                    "it is in Secret {secret}; its client certificate ends at {} and no control-plane machine has one that lasts longer yet{tried}",
                    until.unwrap_or_default()
                );
                Verdict::new(true, Reason::KubeconfigEnding, message)
            }
            Some(Need::Refused | Need::Silent) | None => {
                Verdict::new(true, Reason::Published, format!("it is in Secret {secret}"))
            }
        }
    }

    /// A verdict that holds by what was last heard of the new cluster. While that is in doubt, it
    /// goes on for a while where it held before, and does not begin.
    fn unless_in_doubt(&self, kind: &str, verdict: Verdict) -> Verdict {
        let workload = &self.observed.workload;
        let held = condition::is_true(&previous(self.observed).conditions, kind);
        match workload.doubt(self.now) {
            Some(why) if verdict.holds() && (!held || workload.is_long_silent(self.now)) => {
                Verdict::new(Truth::Unknown, Reason::ClusterUnreachable, why)
            }
            _ => verdict,
        }
    }

    fn nodes_healthy(&self) -> Verdict {
        match &self.observed.workload {
            Workload::NotAsked => Verdict::new(
                Truth::Unknown,
                Reason::WaitingForControlPlane,
                "the new cluster can be asked once its kubeconfig is there",
            ),
            Workload::Unreachable { message, .. }
                if self.observed.workload.is_long_silent(self.now) =>
            {
                Verdict::new(Truth::Unknown, Reason::ClusterUnreachable, message)
            }
            Workload::Unreachable { .. } | Workload::Answers(_) => {
                self.unless_in_doubt(kind::NODES_HEALTHY, self.nodes_by_last_answer())
            }
        }
    }

    fn nodes_by_last_answer(&self) -> Verdict {
        let unwell: Vec<String> = self
            .assessment
            .members
            .iter()
            .filter_map(|member| match &member.node {
                NodeState::Missing => Some(format!("{} has no Node", member.machine)),
                NodeState::NotReady(why) => Some(format!("{}: {why}", member.machine)),
                NodeState::NotAsked | NodeState::Ready | NodeState::Unknown { .. } => None,
            })
            .collect();
        if unwell.is_empty() {
            let count = self.assessment.members.len();
            Verdict::new(true, Reason::NodesReady, format!("{count} Nodes are Ready"))
        } else {
            Verdict::new(false, Reason::NodesNotReady, unwell.join("; "))
        }
    }

    fn paused(&self) -> Verdict {
        if self.observed.cluster.spec.paused {
            Verdict::new(
                true,
                Reason::Paused,
                "spec.paused is true: no machine is changed",
            )
        } else {
            Verdict::new(false, Reason::NotPaused, "spec.paused is not set")
        }
    }

    fn ready(
        &self,
        selected: &Verdict,
        source: &Verdict,
        rolling_out: &Verdict,
        planes: [&Verdict; 2],
        kubeconfig: &Verdict,
    ) -> Verdict {
        if let OwnedSecret::Unusable(problem) = &self.observed.join_token {
            return Verdict::new(false, problem.reason, &*problem.message);
        }
        let has_started = self.observed.has_started();
        if has_started && self.is_changing() {
            return Verdict::new(false, rolling_out.reason, &*rolling_out.message);
        }
        let before_start = [selected, source].into_iter().filter(|_| !has_started);
        let mut stand_in_the_way: Vec<&Verdict> = before_start
            .chain(planes)
            .chain([kubeconfig])
            .filter(|verdict| !verdict.holds())
            .collect();
        // What is known says more than what is not.
        stand_in_the_way.sort_by_key(|verdict| verdict.truth == Truth::Unknown);
        match stand_in_the_way.first() {
            Some(verdict) => Verdict::new(verdict.truth, verdict.reason, &*verdict.message),
            None => {
                let count = self.assessment.members.len();
                let message = format!("{count} machines are ready");
                let all_ready = Verdict::new(true, Reason::AllReady, message);
                self.unless_in_doubt(kind::READY, all_ready)
            }
        }
    }

    fn phase(&self, ready: &Verdict, source: &Verdict) -> Phase {
        let needs_change = match &self.observed.source {
            Source::Unresolved(problem) => problem.needs_change && !source.holds(),
            Source::Resolved { .. } => false,
        };
        let is_stuck = matches!(
            self.assessment.step.state,
            State::Failed { .. } | State::Refused(_)
        );
        let is_stalled = self.assessment.members.iter().any(Member::is_stalled);
        let selection = &self.assessment.selection;
        let serves = [
            (Role::ControlPlane, &selection.control_plane),
            (Role::Worker, &selection.workers),
        ]
        .map(|(role, plane)| self.serves(role, plane));
        // Once the cluster was ready, a node that changes in its turn is no setback.
        let is_established = previous(self.observed).revision.is_some();
        // While it is not sure how the cluster is, its phase stays, and does not rise.
        let before = previous(self.observed).phase;
        let is_in_doubt = self.observed.workload.doubt(self.now).is_some();
        let was = |phases: &[Phase]| before.is_some_and(|before| phases.contains(&before));
        let may_be_ready = !is_in_doubt || was(&[Phase::Ready]);
        let may_serve = !is_in_doubt || was(&[Phase::Ready, Phase::ControlPlaneReady]);
        if ready.holds() {
            Phase::Ready
        } else if needs_change || is_stuck || is_stalled {
            Phase::Failed
        } else if is_established && may_be_ready && serves == [true, true] {
            Phase::Ready
        } else if serves[0] && may_serve && self.observed.has_started() {
            Phase::ControlPlaneReady
        } else {
            Phase::Provisioning
        }
    }

    /// Whether every machine of the plane is ready, or in the hands of the rollout.
    fn serves(&self, role: Role, plane: &PlaneSelection) -> bool {
        let in_hand = &self.assessment.step.in_hand;
        plane.is_complete()
            && self
                .members(role)
                .all(|member| member.is_ready() || in_hand.contains(&member.machine))
    }

    /// What every node runs, or last ran. The first is recorded when the cluster is first ready.
    fn revision(&self, ready: &Verdict) -> Option<Revision> {
        let before = previous(self.observed).revision;
        let members = &self.assessment.members;
        let everybody_runs_it = !members.is_empty() && members.iter().all(Member::is_current);
        match &self.assessment.wanted {
            Some(wanted) if everybody_runs_it && (before.is_some() || ready.holds()) => {
                Some(wanted.revision())
            }
            _ => before,
        }
    }

    /// Everything but phase, revision and conditions.
    fn counts(&self) -> KubernetesClusterStatus {
        let selection = &self.assessment.selection;
        let names =
            |plane: &PlaneSelection| plane.members.iter().map(ToString::to_string).collect();
        let control_plane = self.plane(Role::ControlPlane, &selection.control_plane);
        let data_plane = self.plane(Role::Worker, &selection.workers);
        let is_published = matches!(self.observed.kubeconfig, KubeconfigState::Published(_));
        KubernetesClusterStatus {
            control_plane_ready: Some(format!("{}/{}", control_plane.ready, control_plane.total)),
            data_plane_ready: Some(format!("{}/{}", data_plane.ready, data_plane.total)),
            control_plane: Some(control_plane),
            data_plane: Some(data_plane),
            kubeconfig_secret: is_published.then(|| naming::kubeconfig(&self.observed.name())),
            applied_machines: applied_machines(self.observed),
            selected_control_plane_machines: names(&selection.control_plane),
            selected_data_plane_machines: names(&selection.workers),
            rollout: self.rollout(),
            ..KubernetesClusterStatus::default()
        }
    }

    fn plane(&self, role: Role, plane: &PlaneSelection) -> PlaneStatus {
        let ready: Vec<String> = self
            .members(role)
            .filter(|member| member.is_ready())
            .map(|member| member.machine.to_string())
            .collect();
        PlaneStatus {
            ready: count(ready.iter()),
            total: i32::try_from(plane.wanted).unwrap_or(i32::MAX),
            updated: count(self.members(role).filter(|member| {
                member.updated && member.configuration == ConfigurationState::Applied
            })),
            ready_machines: ready,
        }
    }
}

fn count(items: impl Iterator) -> i32 {
    i32::try_from(items.count()).unwrap_or(i32::MAX)
}
