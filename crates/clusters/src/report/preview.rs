//! From what the controller sees to what it would do next. Pure, and made of the same
//! decisions that the controller acts by: [`plan::plan`] and [`plan::assess`].

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use nico_api::condition;
use nico_api::kubernetes_cluster::{Revision, RolloutOrder, conditions as kind};
use nico_terminal::tree::Tone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::naming;
use crate::observed::{KubeconfigState, Observed, Source, Workload};
use crate::plan::readiness::{self, Member};
use crate::plan::rollout::{Order, State};
use crate::plan::{self, Assessment, Intervals, renewal};
use crate::role::Role;

use super::words;

/// What `nico plan` tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanReport {
    /// When the world was read.
    pub observed_at: Time,
    /// Namespace of the cluster.
    pub namespace: String,
    /// Name of the cluster.
    pub name: String,
    /// What every node is to run; absent while the source is not resolved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Revision>,
    /// Which role goes first; absent until that is decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderReport>,
    /// Where the cluster stands.
    pub state: PlanState,
    /// What the controller would do now, in this order. The first that fails stops the rest.
    pub steps: Vec<StepReport>,
    /// What it waits for, a sentence each.
    pub waits_for: Vec<String>,
    /// Machines that are still to be changed when the steps are done, in their order.
    pub later: Vec<String>,
    /// What else a person should know, a sentence each.
    pub remarks: Vec<String>,
    /// After how many seconds the controller looks again, if it hears of nothing before.
    pub look_again_seconds: u64,
}

/// Which role goes first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderReport {
    /// `WorkersFirst` or `ControlPlaneFirst`.
    pub first: RolloutOrder,
    /// Why.
    pub why: String,
}

/// One thing that the controller would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepReport {
    /// The machine that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// What is done.
    pub what: String,
    /// Why.
    pub why: String,
}

/// Where a cluster stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum PlanState {
    /// Every machine runs what is wanted, or is about to for the first time.
    Settled,
    /// A change is copied to the machines; none is touched yet.
    Staging,
    /// Machines are changed, one after the other.
    Changing,
    /// The cluster could not bear that the next machine goes down.
    Unhealthy,
    /// Pods cannot be moved away from the machine in hand.
    DrainBlocked,
    /// Every machine runs what is wanted, and others are on their way out.
    Leaving,
    /// Nothing is begun because the spec says so.
    Paused,
    /// A machine failed, and the rollout stopped.
    Failed,
    /// The change is not one that rolls out by itself.
    Refused,
    /// The cluster is being deleted.
    Deleting,
}

impl PlanReport {
    /// Whether there is nothing to do and nothing to wait for.
    pub fn is_settled(&self) -> bool {
        self.state == PlanState::Settled && self.steps.is_empty() && self.waits_for.is_empty()
    }
}

impl OrderReport {
    /// The order that a rollout follows.
    pub(super) fn of(order: &Order) -> Self {
        Self {
            first: order.first,
            why: order.why.clone(),
        }
    }

    /// The order in words.
    pub fn say(&self) -> String {
        let who = match self.first {
            RolloutOrder::ControlPlaneFirst => "control planes go first",
            RolloutOrder::WorkersFirst | RolloutOrder::Auto => "workers go first",
        };
        format!("{who}, because {}", self.why)
    }
}

impl PlanState {
    /// The state in words.
    pub fn say(self) -> &'static str {
        match self {
            Self::Settled => "no change is being rolled out",
            Self::Staging => "a change is being prepared on every machine; none is touched yet",
            Self::Changing => "a change is being rolled out",
            Self::Unhealthy => "the cluster could not bear that another machine goes down",
            Self::DrainBlocked => "Pods cannot be moved away from the machine in hand",
            Self::Leaving => "machines leave the cluster, one after the other",
            Self::Paused => "nothing is changed, because spec.paused is true",
            Self::Failed => "the rollout stopped because a machine failed",
            Self::Refused => "the change is refused",
            Self::Deleting => "the cluster is being deleted",
        }
    }

    /// How it is meant.
    pub(super) fn tone(self) -> Tone {
        match self {
            Self::Settled => Tone::Good,
            Self::Staging | Self::Changing | Self::Leaving | Self::Deleting | Self::Paused => {
                Tone::Busy
            }
            Self::Unhealthy | Self::DrainBlocked | Self::Failed | Self::Refused => Tone::Bad,
        }
    }
}

/// Tells what the controller would do next about a cluster, and why.
pub fn of(observed: &Observed, intervals: &Intervals, now: Timestamp) -> PlanReport {
    let plan = plan::plan(observed, intervals, now);
    let is_deleted = observed.cluster.metadata.deletion_timestamp.is_some();
    let assessment = (!is_deleted).then(|| plan::assess(observed, now));
    let mut steps: Vec<StepReport> = plan
        .actions
        .iter()
        .map(|action| words::of(observed, assessment.as_ref(), action))
        .collect();
    let mut report = PlanReport {
        observed_at: Time(now),
        namespace: observed.cluster.namespace().unwrap_or_default(),
        name: observed.name(),
        target: None,
        order: None,
        state: PlanState::Deleting,
        steps: vec![],
        waits_for: vec![],
        later: vec![],
        remarks: vec![],
        look_again_seconds: plan.look_again.as_secs(),
    };
    let message = |kind: &str| {
        let conditions = &plan.status.conditions;
        condition::find(conditions, kind)
            .filter(|condition| condition.status != "True")
            .map(|condition| condition.message.clone())
    };
    let Some(assessment) = assessment else {
        report.waits_for.extend(message(kind::READY));
        report.steps = steps;
        return report;
    };
    report.state = state_of(&assessment);
    report.target = assessment
        .wanted
        .as_ref()
        .map(plan::configuration::Wanted::revision);
    report.order = assessment.step.order.as_ref().map(OrderReport::of);
    if plan.actions.contains(&Action::AddFinalizer) {
        let first = "everything else is decided after that";
        report.remarks.push(first.to_owned());
    }
    steps.extend(kubeconfig_step(observed, &assessment, now));
    report.later = later(&assessment, &steps);
    report.waits_for = waits(observed, &assessment);
    if steps.is_empty() {
        report.waits_for.extend(message(kind::MACHINES_SELECTED));
    }
    report
        .remarks
        .extend(assessment.step.remarks.iter().cloned());
    if observed.cluster.spec.paused && report.state != PlanState::Paused {
        let paused = "spec.paused is true: no other machine is taken in hand";
        report.remarks.push(paused.to_owned());
    }
    report.remarks.extend(doubts(observed));
    report.steps = steps;
    report
}

fn state_of(assessment: &Assessment) -> PlanState {
    match &assessment.step.state {
        State::Finished => PlanState::Settled,
        State::Staging => PlanState::Staging,
        State::Changing => PlanState::Changing,
        State::Unhealthy => PlanState::Unhealthy,
        State::DrainBlocked
        | State::Leaving {
            is_drain_blocked: true,
        } => PlanState::DrainBlocked,
        State::Leaving { .. } => PlanState::Leaving,
        State::Paused => PlanState::Paused,
        State::Failed { .. } => PlanState::Failed,
        State::Refused(_) => PlanState::Refused,
    }
}

/// The kubeconfig is read from a machine while the controller looks, which a preview does not.
fn kubeconfig_step(
    observed: &Observed,
    assessment: &Assessment,
    now: Timestamp,
) -> Option<StepReport> {
    let members = &assessment.selection.control_plane.members;
    let sources = readiness::kubeconfig_sources(observed, members);
    let (sources, why) = match &observed.kubeconfig {
        KubeconfigState::Missing(None) => {
            let why = format!(
                "there is none, and {} runs its configuration",
                sources.first()?
            );
            (sources, why)
        }
        KubeconfigState::Published(published) => {
            let need = renewal::need(published, &observed.workload, now)?;
            let sources = renewal::sources(published, Some(need), sources);
            (sources, renewal::Cause::Need(need).to_string())
        }
        KubeconfigState::Missing(Some(_)) | KubeconfigState::Proven(_) => return None,
    };
    let first = sources.first()?;
    let others: Vec<String> = sources[1..]
        .iter()
        .map(|other| format!(", else from {other}"))
        .collect();
    Some(StepReport {
        machine: Some(first.to_string()),
        what: format!(
            "read the kubeconfig over SSH from {first}{}, try it, and put it into Secret {}",
            others.concat(),
            naming::kubeconfig(&observed.name())
        ),
        why,
    })
}

/// Machines that no step is about and that are not current yet, the role that goes first first.
fn later(assessment: &Assessment, steps: &[StepReport]) -> Vec<String> {
    let is_now = |member: &&Member| {
        steps
            .iter()
            .any(|step| step.machine.as_deref() == Some(member.machine.as_str()))
    };
    let step = &assessment.step;
    let is_changing = !matches!(step.state, State::Finished);
    let order = match step.order.as_ref().map(|order| order.first) {
        Some(RolloutOrder::ControlPlaneFirst) => [Role::ControlPlane, Role::Worker],
        _ => [Role::Worker, Role::ControlPlane],
    };
    order
        .into_iter()
        .flat_map(|role| {
            assessment
                .members
                .iter()
                .filter(move |member| member.role == role)
        })
        .filter(|member| is_changing && step.order.is_some() && !member.is_current())
        .filter(|member| !is_now(member) && !step.in_hand.contains(&member.machine))
        .map(|member| member.machine.to_string())
        .collect()
}

fn waits(observed: &Observed, assessment: &Assessment) -> Vec<String> {
    let mut waits = vec![];
    if let Source::Unresolved(problem) = &observed.source {
        waits.push(format!("the source: {}", problem.message));
    }
    match &assessment.step.state {
        State::Failed { machine, failure } => waits.push(format!(
            "another commit or spec, or a new value of the annotation {}: {machine} failed at {}: {}",
            nico_api::labels::RECONCILE_AT,
            failure.step,
            failure.message
        )),
        State::Refused(why) => waits.push(why.clone()),
        State::Paused => waits.push("spec.paused to be false".to_owned()),
        _ => {}
    }
    if let KubeconfigState::Missing(Some(problem)) = &observed.kubeconfig {
        waits.push(format!("the kubeconfig: {}", problem.message));
    }
    for (machine, (_, why)) in &assessment.blocked {
        waits.push(format!("{machine} {why}"));
    }
    waits.extend(assessment.step.waits_for.iter().cloned());
    if matches!(assessment.step.state, State::Finished) {
        waits.extend(assessment.members.iter().filter_map(|member| {
            let why = member.waits_for()?;
            let is_told = assessment.blocked.contains_key(&member.machine);
            (!is_told).then(|| format!("{} {why}", member.machine))
        }));
    }
    waits
}

/// Where the controller may see more than a preview does.
fn doubts(observed: &Observed) -> Option<String> {
    let Workload::Unreachable { message, .. } = &observed.workload else {
        return None;
    };
    Some(format!(
        "{message}. If the operator reaches it, it may decide otherwise"
    ))
}
