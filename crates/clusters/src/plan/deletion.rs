//! What is left to do for a cluster that is being deleted.
//!
//! Workers lose their configurations first, then control planes; each machine is given back when
//! its configuration is gone; then the Secrets go, which a removal may still have needed; last
//! the finalizer. What there is to do is told from what exists, not from the status, so a
//! deletion in the middle of anything finds everything.

use kube::ResourceExt;
use nico_api::names::MachineName;
use nico_api::nixos_configuration::conditions::READY;
use nico_api::{NixosConfiguration, condition, labels};

use crate::action::Action;
use crate::naming;
use crate::observed::{KubeconfigState, Observed, OwnedSecret};
use crate::role::Role;

/// What to do now, and what a person is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Deletion {
    /// In this order.
    pub actions: Vec<Action>,
    /// What it waits for.
    pub message: String,
}

/// Decides what to do about a cluster that is being deleted.
pub fn next(observed: &Observed) -> Deletion {
    let mut actions = releases(observed);
    let of_role = |role: Role| {
        observed
            .configurations
            .values()
            .filter(move |configuration| {
                (role_of(configuration) == Role::Worker) == (role == Role::Worker)
            })
            .collect::<Vec<_>>()
    };
    let workers = of_role(Role::Worker);
    let control_plane = of_role(Role::ControlPlane);
    let (in_hand, later) = match (workers.is_empty(), control_plane.is_empty()) {
        (true, _) => (&control_plane, ""),
        (false, true) => (&workers, ""),
        (false, false) => (&workers, "; then the control plane"),
    };
    if !in_hand.is_empty() {
        actions.extend(
            in_hand
                .iter()
                .filter_map(|configuration| delete(configuration)),
        );
        return Deletion {
            actions,
            message: waiting(in_hand, later),
        };
    }
    let holds_machines = [Role::ControlPlane, Role::Worker]
        .into_iter()
        .any(|role| observed.held(role).next().is_some());
    if holds_machines {
        return Deletion {
            actions,
            message: "giving machines back".to_owned(),
        };
    }
    actions.extend(secrets(observed));
    actions.push(Action::RemoveFinalizer);
    Deletion {
        actions,
        message: "all machines are free".to_owned(),
    }
}

/// Gives back the machines that carry no configuration of the cluster any more.
fn releases(observed: &Observed) -> Vec<Action> {
    [Role::Worker, Role::ControlPlane]
        .into_iter()
        .flat_map(|role| observed.held(role))
        .filter(|name| observed.configuration_of(name).is_none())
        .map(|name| Action::Release {
            machine: name.clone(),
            version: observed.machines[name]
                .resource_version()
                .unwrap_or_default(),
        })
        .collect()
}

/// Deletes a configuration, unless that is under way.
pub(super) fn delete(configuration: &NixosConfiguration) -> Option<Action> {
    let machine: MachineName = configuration.spec.machine_ref.name.parse().ok()?;
    (configuration.metadata.deletion_timestamp.is_none()).then(|| Action::DeleteConfiguration {
        machine,
        name: configuration.name_any(),
        uid: configuration.uid().unwrap_or_default(),
    })
}

fn secrets(observed: &Observed) -> Vec<Action> {
    let name = observed.name();
    let join_token = match &observed.join_token {
        OwnedSecret::Ours { uid } => Some((naming::join_token(&name), uid)),
        _ => None,
    };
    let kubeconfig = match &observed.kubeconfig {
        KubeconfigState::Published(published) => Some((naming::kubeconfig(&name), &published.uid)),
        _ => None,
    };
    [kubeconfig, join_token]
        .into_iter()
        .flatten()
        .map(|(name, uid)| Action::DeleteSecret {
            name,
            uid: uid.clone(),
        })
        .collect()
}

pub(super) fn role_of(configuration: &NixosConfiguration) -> Role {
    configuration
        .labels()
        .get(labels::ROLE)
        .and_then(|label| Role::from_label(label))
        .unwrap_or(Role::Worker)
}

fn waiting(in_hand: &[&NixosConfiguration], later: &str) -> String {
    let details: Vec<String> = in_hand
        .iter()
        .map(|configuration| {
            let status = configuration.status.as_ref();
            let why = status
                .and_then(|status| condition::find(&status.conditions, READY))
                .map(|ready| format!(" ({}: {})", ready.reason, ready.message))
                .unwrap_or_default();
            format!("{}{why}", configuration.spec.machine_ref.name)
        })
        .collect();
    format!("taking configurations off {}{later}", details.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::World;

    fn deleted(world: &mut World) -> Vec<String> {
        next(&world.observed)
            .actions
            .iter()
            .map(|action| match action {
                Action::DeleteConfiguration { machine, .. } => format!("remove {machine}"),
                Action::Release { machine, .. } => format!("release {machine}"),
                Action::DeleteSecret { name, .. } => format!("delete {name}"),
                Action::RemoveFinalizer => "finish".to_owned(),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn workers_go_first_then_control_planes_then_secrets_then_the_finalizer() {
        let mut world = World::of_one_control_plane_and_one_worker()
            .applied()
            .with_secrets();
        assert_eq!(deleted(&mut world), ["remove w-01"]);
        world.start_removal("w-01");
        assert_eq!(deleted(&mut world), [""; 0]);
        world.finish_removal("w-01");
        assert_eq!(deleted(&mut world), ["release w-01", "remove cp-01"]);
        world.release("w-01");
        world.finish_removal("cp-01");
        assert_eq!(deleted(&mut world), ["release cp-01"]);
        world.release("cp-01");
        assert_eq!(
            deleted(&mut world),
            ["delete home-kubeconfig", "delete home-join-token", "finish"]
        );
    }

    #[test]
    fn a_machine_that_was_claimed_and_never_configured_is_released() {
        let mut world = World::of_one_control_plane();
        world.claim("cp-01", Role::ControlPlane);
        assert_eq!(deleted(&mut world), ["release cp-01"]);
    }

    #[test]
    fn what_holds_a_deletion_up_is_in_the_message() {
        let mut world = World::of_one_control_plane_and_one_worker().applied();
        world.start_removal("w-01");
        world.say("w-01", "MachineNotReachable", "no route to 10.0.0.2");
        assert_eq!(
            next(&world.observed).message,
            "taking configurations off w-01 (MachineNotReachable: no route to 10.0.0.2); then the control plane"
        );
    }
}
