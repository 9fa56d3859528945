//! What the status says of a rollout.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use nico_api::kubernetes_cluster::{RolloutOrder, RolloutStatus};
use nico_api::names::MachineName;
use nico_api::reason::ClusterReason as Reason;

use super::{Report, Verdict, count, previous};
use crate::plan::rollout::{Order, State, Step};

impl Report<'_> {
    pub(super) fn rolling_out(&self) -> Verdict {
        let Some(rollout) = self.rollout() else {
            return Verdict::new(
                false,
                Reason::NotStarted,
                match previous(self.observed).revision {
                    Some(_) => "nothing changed yet since every node was created",
                    None => "nothing runs yet that could change",
                },
            );
        };
        let progress = format!(
            "{} of {} nodes run the wanted revision",
            rollout.updated, rollout.total
        );
        let (goes_on, reason, rest) = match &self.assessment.step.state {
            State::Finished => return Verdict::new(false, Reason::Finished, progress),
            State::Staging => (true, Reason::Staging, rollout.message),
            State::Changing
            | State::Leaving {
                is_drain_blocked: false,
            } => (true, Reason::Updating, rollout.message),
            State::Unhealthy => (true, Reason::ClusterNotHealthy, rollout.message),
            State::DrainBlocked
            | State::Leaving {
                is_drain_blocked: true,
            } => (true, Reason::DrainBlocked, rollout.message),
            State::Paused => (false, Reason::Paused, rollout.message),
            State::Failed { .. } => (false, Reason::NodeFailed, rollout.message),
            State::Refused(_) => (false, Reason::VersionChangeRefused, rollout.message),
        };
        let rest = rest.unwrap_or_default();
        Verdict::new(goes_on, reason, format!("{progress}; {rest}"))
    }

    /// Whether machines change that are part of the cluster.
    pub(super) fn is_changing(&self) -> bool {
        let state = &self.assessment.step.state;
        !matches!(state, State::Finished | State::Leaving { .. })
    }

    /// The rollout that is under way, or the last one.
    pub(super) fn rollout(&self) -> Option<RolloutStatus> {
        let last = previous(self.observed).rollout;
        let Some(wanted) = &self.assessment.wanted else {
            return last;
        };
        let revision = wanted.revision();
        let is_same = |last: &RolloutStatus| {
            last.target_commit == revision.commit && last.target_hash == revision.configuration_hash
        };
        let continued = last.filter(is_same);
        if continued.is_none() && !self.is_changing() {
            return previous(self.observed).rollout;
        }
        let step = &self.assessment.step;
        let members = &self.assessment.members;
        let decided = step.order.as_ref().map(|order| order.first);
        let before = continued.as_ref().and_then(|last| last.order);
        Some(RolloutStatus {
            target_commit: revision.commit,
            target_hash: revision.configuration_hash,
            order: decided.or(before),
            updated: count(members.iter().filter(|member| member.is_current())),
            total: count(members.iter()),
            current: step.in_hand.iter().map(ToString::to_string).collect(),
            started_at: continued
                .and_then(|last| last.started_at)
                .or(Some(Time(self.now))),
            message: Some(rollout_message(step)),
        })
    }
}

/// What a rollout does or waits for, for a person.
fn rollout_message(step: &Step) -> String {
    let mut parts = match &step.state {
        State::Finished => vec!["finished".to_owned()],
        State::Leaving { .. } => vec![],
        State::Failed { machine, failure } => vec![format!(
            "{machine} failed at {}: {}",
            failure.step, failure.message
        )],
        State::Refused(why) => vec![why.clone()],
        State::Paused => vec!["spec.paused is true".to_owned()],
        State::Staging => vec!["preparing every machine".to_owned()],
        State::Changing | State::Unhealthy | State::DrainBlocked => match &step.order {
            Some(order) => vec![format!("{} because {}", order_name(order), order.why)],
            None => vec![],
        },
    };
    if !step.in_hand.is_empty() {
        let names: Vec<&str> = step.in_hand.iter().map(MachineName::as_str).collect();
        parts.push(format!("in hand: {}", names.join(", ")));
    }
    parts.extend(step.waits_for.iter().cloned());
    parts.extend(step.remarks.iter().cloned());
    parts.join("; ")
}

fn order_name(order: &Order) -> &'static str {
    match order.first {
        RolloutOrder::ControlPlaneFirst => "control planes go first",
        RolloutOrder::WorkersFirst | RolloutOrder::Auto => "workers go first",
    }
}
