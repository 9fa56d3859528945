//! What happened, for people: events from what was done and from how the status changed.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;
use nico_api::condition;
use nico_api::kubernetes_cluster::{KubernetesClusterStatus, conditions as kind};
use nico_runtime::events::{Event, EventKind};

use crate::action::Action;

/// The event of an action that was done; `None` when nobody needs to hear of it.
pub fn of_action(action: &Action) -> Option<Event> {
    let normal = |reason, action, note: String| {
        Some(Event {
            kind: EventKind::Normal,
            reason,
            action,
            note,
        })
    };
    match action {
        Action::Claim { machine, role, .. } => normal(
            "MachineClaimed",
            "Claim",
            format!("claimed Machine {machine} as {role}"),
        ),
        Action::Release { machine, .. } => normal(
            "MachineReleased",
            "Release",
            format!("gave Machine {machine} back"),
        ),
        Action::CreateConfiguration(configuration) => normal(
            "ConfigurationCreated",
            "Create",
            format!(
                "created the NixosConfiguration of Machine {} at {}",
                configuration.spec.machine_ref.name, configuration.spec.reference
            ),
        ),
        Action::UpdateConfiguration(configuration) => normal(
            "NodeUpdating",
            "Update",
            format!(
                "bringing Machine {} to {}",
                configuration.spec.machine_ref.name, configuration.spec.reference
            ),
        ),
        Action::RollBackConfiguration {
            configuration,
            failure,
        } => Some(warning(
            "NodeRolledBack",
            format!(
                "Machine {} failed at {} and goes back to {}: {}",
                configuration.spec.machine_ref.name,
                failure.step,
                configuration.spec.reference,
                failure.message
            ),
        )),
        Action::DrainNode { machine, .. } => normal(
            "NodeDraining",
            "Drain",
            format!("moving Pods away from Machine {machine}"),
        ),
        Action::DeleteNode { machine, node, .. } => normal(
            "NodeRemoved",
            "Remove",
            format!("removed Node {node} of Machine {machine} from the cluster"),
        ),
        Action::PublishKubeconfig(kubeconfig) => normal(
            "KubeconfigCreated",
            "Create",
            format!("published the kubeconfig of {}", kubeconfig.machine()),
        ),
        Action::RenewKubeconfig {
            kubeconfig, cause, ..
        } => normal(
            "KubeconfigRenewed",
            "Update",
            format!(
                "published the kubeconfig of {} in the place of the old one: {cause}",
                kubeconfig.machine()
            ),
        ),
        Action::AddFinalizer
        | Action::CreateJoinToken
        | Action::StageConfiguration(_)
        | Action::SettleConfiguration(_)
        | Action::NoteFailure { .. }
        | Action::EvictPod { .. }
        | Action::RestoreNode { .. }
        | Action::DeleteConfiguration { .. }
        | Action::MarkInstalled { .. }
        | Action::DeleteSecret { .. }
        | Action::RemoveFinalizer => None,
    }
}

/// The events between two states of a status, each told once.
pub fn between(before: &KubernetesClusterStatus, after: &KubernetesClusterStatus) -> Vec<Event> {
    let mut events = vec![];
    let was_ready = ready_machines(before);
    let updated = |status: &KubernetesClusterStatus| {
        status
            .rollout
            .as_ref()
            .map(|rollout| rollout.current.iter().cloned().collect::<BTreeSet<_>>())
            .unwrap_or_default()
    };
    for machine in ready_machines(after).difference(&was_ready) {
        events.push(normal("NodeReady", format!("Machine {machine} is ready")));
    }
    for machine in updated(before).difference(&updated(after)) {
        if ready_machines(after).contains(machine) {
            events.push(normal(
                "NodeUpdated",
                format!("Machine {machine} runs the new revision"),
            ));
        }
    }
    let became = |kind: &str, status: &str| {
        let found = condition::find(&after.conditions, kind)?;
        let is_new = condition::find(&before.conditions, kind)
            .is_none_or(|before| before.status != found.status);
        (is_new && found.status == status).then_some(found)
    };
    if let Some(rolling) = became(kind::ROLLING_OUT, "True") {
        events.push(normal("RolloutStarted", rolling.message.clone()));
    }
    if let Some(rolling) = became(kind::ROLLING_OUT, "False") {
        match rolling.reason.as_str() {
            "Finished" => events.push(normal("RolloutFinished", rolling.message.clone())),
            "NodeFailed" => events.push(warning("NodeFailed", rolling.message.clone())),
            _ => {}
        }
    }
    let is_blocked = |status: &KubernetesClusterStatus| {
        condition::find(&status.conditions, kind::ROLLING_OUT)
            .filter(|rolling| rolling.reason == "DrainBlocked")
            .map(|rolling| rolling.message.clone())
    };
    if let (None, Some(message)) = (is_blocked(before), is_blocked(after)) {
        events.push(warning("DrainBlocked", message));
    }
    let kubeconfig_trouble = |status: &KubernetesClusterStatus| {
        let found = condition::find(&status.conditions, kind::KUBECONFIG_AVAILABLE)?;
        ["KubeconfigEnding", "KubeconfigRefused"]
            .into_iter()
            .find(|reason| found.reason == *reason)
            .map(|reason| (reason, found.message.clone()))
    };
    if let Some((reason, message)) = kubeconfig_trouble(after)
        && kubeconfig_trouble(before).is_none_or(|(earlier, _)| earlier != reason)
    {
        events.push(warning(reason, message));
    }
    if let Some(ready) = became(kind::CONTROL_PLANE_READY, "True") {
        events.push(normal("ControlPlaneReady", ready.message.clone()));
    }
    if let Some(ready) = became(kind::READY, "True") {
        events.push(normal("ClusterReady", ready.message.clone()));
    }
    events
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every node runs its target.
    Finished,
    /// A node failed, and it stopped.
    Failed,
    /// It was not one that rolls out by itself.
    Refused,
    /// Another target took its place.
    Superseded,
}

/// The end of a rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutEnd {
    /// How it ended.
    pub outcome: Outcome,
    /// How many seconds it took, if it finished.
    pub finished_after: Option<f64>,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: &'static [Self] = &[
        Self::Finished,
        Self::Failed,
        Self::Refused,
        Self::Superseded,
    ];

    /// The word in the label `outcome`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Superseded => "superseded",
        }
    }
}

/// Whether a rollout ended between two states of a status.
pub fn rollout_end(
    before: &KubernetesClusterStatus,
    after: &KubernetesClusterStatus,
    now: Timestamp,
) -> Option<RolloutEnd> {
    if !condition::is_true(&before.conditions, kind::ROLLING_OUT) {
        return None;
    }
    let rollout = before.rollout.as_ref()?;
    let target = |status: &KubernetesClusterStatus| {
        let rollout = status.rollout.as_ref()?;
        Some((rollout.target_commit.clone(), rollout.target_hash.clone()))
    };
    let rolling = condition::find(&after.conditions, kind::ROLLING_OUT)?;
    let outcome = match rolling.reason.as_str() {
        _ if target(before) != target(after) => Outcome::Superseded,
        "Finished" => Outcome::Finished,
        "NodeFailed" => Outcome::Failed,
        "VersionChangeRefused" => Outcome::Refused,
        _ => return None,
    };
    let took = rollout
        .started_at
        .as_ref()
        .map(|started| now.duration_since(started.0).as_secs_f64());
    Some(RolloutEnd {
        outcome,
        finished_after: took.filter(|_| outcome == Outcome::Finished),
    })
}

fn ready_machines(status: &KubernetesClusterStatus) -> BTreeSet<String> {
    [&status.control_plane, &status.data_plane]
        .into_iter()
        .flatten()
        .flat_map(|plane| plane.ready_machines.iter().cloned())
        .collect()
}

fn normal(reason: &'static str, note: String) -> Event {
    Event {
        kind: EventKind::Normal,
        reason,
        action: "Reconcile",
        note,
    }
}

fn warning(reason: &'static str, note: String) -> Event {
    Event {
        kind: EventKind::Warning,
        ..normal(reason, note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{World, at};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use nico_api::condition::Truth;
    use nico_api::kubernetes_cluster::RolloutStatus;

    fn status(target: &str, truth: Truth, reason: &str) -> KubernetesClusterStatus {
        let mut status = KubernetesClusterStatus {
            rollout: Some(RolloutStatus {
                target_commit: target.to_owned(),
                started_at: Some(Time(at(100))),
                ..RolloutStatus::default()
            }),
            ..KubernetesClusterStatus::default()
        };
        let kind = kind::ROLLING_OUT;
        condition::set(
            &mut status.conditions,
            kind,
            truth,
            reason,
            "",
            None,
            at(100),
        );
        status
    }

    #[test]
    fn a_rollout_ends_once_and_in_one_way() {
        let updating = status("a", Truth::True, "Updating");
        let failed = status("a", Truth::False, "NodeFailed");
        let finished = status("a", Truth::False, "Finished");
        for (before, after, expected) in [
            (&updating, &finished, Some(Outcome::Finished)),
            (&updating, &failed, Some(Outcome::Failed)),
            (
                &updating,
                &status("a", Truth::False, "VersionChangeRefused"),
                Some(Outcome::Refused),
            ),
            (
                &updating,
                &status("b", Truth::True, "Staging"),
                Some(Outcome::Superseded),
            ),
            (&updating, &status("a", Truth::True, "DrainBlocked"), None),
            (&updating, &status("a", Truth::False, "Paused"), None),
            (&failed, &status("b", Truth::True, "Staging"), None),
            (&failed, &finished, None),
            (&finished, &finished, None),
        ] {
            let end = rollout_end(before, after, at(160));
            assert_eq!(end.as_ref().map(|end| end.outcome), expected, "{after:?}");
            let took = end.and_then(|end| end.finished_after);
            let is_finished = expected == Some(Outcome::Finished);
            assert_eq!(took, is_finished.then_some(60.0));
        }
    }

    #[test]
    fn each_transition_is_told_once() {
        let mut world = World::of_one_control_plane();
        let mut told = vec![];
        for _ in 0..6 {
            let before = world.observed.cluster.status.clone().unwrap_or_default();
            let plan = world.step();
            told.extend(
                between(&before, &plan.status)
                    .iter()
                    .map(|event| event.reason),
            );
            world.apply_all();
        }
        assert_eq!(told, ["NodeReady", "ControlPlaneReady"]);
    }
}
