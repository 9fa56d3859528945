//! Whether a rollout failed on a machine.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::super::marks::Failure;
use super::super::readiness::{Member, Obstacle};
use super::drain::Remaining;
use super::{Placed, Situation, Stage};

/// How the rollout failed on a machine; `None` while it did not.
pub fn of(situation: &Situation<'_>, node: &Placed<'_>) -> Option<Failure> {
    match node.stage {
        Stage::Failed { .. } => node.member.marks.failure.clone(),
        Stage::Staging if node.member.is_stalled() => Some(of_apply(situation, node.member)),
        Stage::Changing { since } => of_change(situation, node.member, since),
        _ => None,
    }
}

fn of_change(situation: &Situation<'_>, member: &Member, since: Timestamp) -> Option<Failure> {
    let obstacle = member.progress().map(|progress| progress.obstacle);
    if matches!(obstacle, Some(Obstacle::Stalled | Obstacle::NotActivated)) {
        return Some(of_apply(situation, member));
    }
    let limit = Duration::from(situation.strategy.node_ready_timeout);
    is_over(since, limit, situation.now).then(|| Failure {
        attempt: situation.attempt.to_owned(),
        step: "NodeReady".to_owned(),
        message: format!(
            "not ready after {} s: {}",
            limit.as_secs(),
            member.waits_for().unwrap_or_default()
        ),
    })
}

/// How a drain failed; `None` while it may go on.
pub fn of_drain(situation: &Situation<'_>, node: &Placed<'_>, pods: &Remaining) -> Option<Failure> {
    let drain = node.member.seen.as_ref()?.drain.as_ref()?;
    let limit = Duration::from(situation.strategy.drain.timeout);
    is_over(drain.since, limit, situation.now).then(|| Failure {
        attempt: situation.attempt.to_owned(),
        step: "Drain".to_owned(),
        message: format!("not drained after {} s: {pods}", limit.as_secs()),
    })
}

fn of_apply(situation: &Situation<'_>, member: &Member) -> Failure {
    let progress = member.progress();
    Failure {
        attempt: situation.attempt.to_owned(),
        step: progress
            .and_then(|progress| progress.step)
            .map_or_else(|| "Apply".to_owned(), |step| format!("{step:?}")),
        message: progress
            .map(|progress| progress.message.clone())
            .unwrap_or_default(),
    }
}

fn is_over(since: Timestamp, limit: Duration, now: Timestamp) -> bool {
    let limit = SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
    now.duration_since(since) >= limit
}
