//! How machines leave a cluster that goes on: because fewer are wanted, because another takes
//! their place, or because their Machine is no more.
//!
//! A machine that works leaves when all others run what is wanted, and alone. It is drained as
//! for a change; then its configuration is taken off, and last its Node is removed from the
//! cluster, when its claim is given up. A machine that is down waits for nobody.
//!
//! The Node of a control plane goes before its configuration: with k3s and RKE2 the etcd member
//! leaves with it, and of two members neither could vote the other out once it is off. So does
//! the Node of a machine that the cluster does not hold any more, because its Machine was
//! deleted: afterwards nothing would remember it.

use nico_api::names::MachineName;

use crate::observed::{Etcd, View, Workload};
use crate::role::Role;

use super::super::readiness::{ConfigurationState, Member, NodeState};
use super::{Move, Placed, Situation, Stage, State, Step, drain};

/// A machine that still has a configuration of the cluster and is no part of it any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// How it is.
    pub member: Member,
    /// Whether there is a Machine: without one, nothing can be taken off the host.
    pub has_machine: bool,
    /// Whether the cluster has a claim on the Machine. One that was deleted and made again has none.
    pub is_held: bool,
}

impl Leaving {
    fn is_up(&self) -> bool {
        self.member.node == NodeState::Ready
    }

    /// Whether it is a control plane of the cluster, and one that does no work.
    pub(super) fn is_lost_control_plane(&self) -> bool {
        let is_there = self.member.role == Role::ControlPlane && self.member.seen.is_some();
        is_there && !self.is_up()
    }

    fn is_draining(&self) -> bool {
        let seen = self.member.seen.as_ref();
        seen.is_some_and(|node| node.drain.is_some())
    }

    fn is_being_removed(&self) -> bool {
        self.member.configuration == ConfigurationState::Removing
    }

    /// Whether it is on its way and still does work.
    fn is_going(&self) -> bool {
        match self.member.node {
            NodeState::NotAsked => self.is_being_removed(),
            _ => self.is_up() && (self.is_being_removed() || self.is_draining()),
        }
    }
}

/// Brings the machines that leave on their way.
pub(super) fn depart(step: &mut Step, situation: &Situation<'_>, placed: &[Placed<'_>]) {
    let mut is_one_going = situation.leaving.iter().any(Leaving::is_going);
    let mut is_drain_blocked = false;
    for leaving in situation.leaving {
        let machine = &leaving.member.machine;
        if leaving.is_being_removed() {
            let may_write = matches!(situation.workload, Workload::Answers(_));
            if may_write && !leaving.is_held {
                step.moves.extend(deletion_of_node(&leaving.member));
            }
            step.waits_for
                .push(format!("{machine} leaves and loses its configuration"));
            continue;
        }
        let waits_for_another = is_one_going && !leaving.is_going();
        let obstacle = if situation.paused && !leaving.is_draining() {
            Some("spec.paused is true".to_owned())
        } else if waits_for_another && must_go_alone(leaving) {
            Some("another machine leaves first".to_owned())
        } else {
            obstacle(situation, placed, leaving)
        };
        if let Some(why) = obstacle {
            step.waits_for.push(format!("{machine} is to leave: {why}"));
            continue;
        }
        is_one_going = true;
        is_drain_blocked |= go(step, situation, leaving);
    }
    if !situation.leaving.is_empty() && step.state == State::Finished {
        step.state = State::Leaving { is_drain_blocked };
    }
}

/// Whether no other machine may be on its way at the same time. Workers that are down, or whose
/// Machine is no more, go as they please.
fn must_go_alone(leaving: &Leaving) -> bool {
    leaving.member.role == Role::ControlPlane || (leaving.has_machine && !is_down(leaving))
}

/// Whether the cluster says that the machine does no work.
fn is_down(leaving: &Leaving) -> bool {
    match leaving.member.node {
        NodeState::Missing | NodeState::NotReady(_) => leaving.member.is_fresh,
        NodeState::NotAsked | NodeState::Ready | NodeState::Unknown { .. } => false,
    }
}

/// Why a machine may not go now; `None` when it may.
fn obstacle(situation: &Situation<'_>, placed: &[Placed<'_>], leaving: &Leaving) -> Option<String> {
    if let Some(doubt) = situation.doubt() {
        return Some(doubt);
    }
    let runs_something = !matches!(leaving.member.configuration, ConfigurationState::New(_));
    let is_mute = leaving.member.node == NodeState::NotAsked;
    if is_mute && runs_something && !leaving.is_held {
        return Some("the cluster cannot be asked for its Node yet".to_owned());
    }
    let is_settled = situation.is_complete
        && !placed.is_empty()
        && placed.iter().all(|node| node.member.is_current());
    if leaving.has_machine && !is_down(leaving) && !is_settled {
        return Some("not all others run what is wanted yet".to_owned());
    }
    if leaving.member.role == Role::ControlPlane {
        return obstacle_to_losing(situation, placed, leaving);
    }
    None
}

/// Why the control plane cannot do without a machine; `None` when it can.
fn obstacle_to_losing(
    situation: &Situation<'_>,
    placed: &[Placed<'_>],
    leaving: &Leaving,
) -> Option<String> {
    let Workload::Answers(view) = situation.workload else {
        return None;
    };
    let others: Vec<&Placed<'_>> = placed
        .iter()
        .filter(|node| node.is_of(Role::ControlPlane) && node.stage != Stage::Joining)
        .collect();
    let alive = others.iter().filter(|node| node.member.is_alive()).count();
    if alive == 0 {
        return Some("no other control plane works".to_owned());
    }
    if let Some(node) = others.iter().find(|node| node.stage.is_in_hand()) {
        return Some(format!("{} is being changed", node.member.machine));
    }
    if let Some(why) = &view.not_ready {
        return Some(format!("the API of the cluster is not ready: {why}"));
    }
    if leaving.is_up() && alive < others.len() {
        return Some("not all other control planes are well".to_owned());
    }
    obstacle_in_etcd(view, leaving)
}

/// Why the other etcd members cannot do without that of a machine.
fn obstacle_in_etcd(view: &View, leaving: &Leaving) -> Option<String> {
    let Etcd::Members(members) = &view.etcd else {
        return None;
    };
    let node = leaving.member.seen.as_ref()?;
    members.get(&node.name)?;
    let others = members.iter().filter(|(name, _)| **name != node.name);
    let unhealthy: Vec<&str> = others
        .clone()
        .filter(|(_, is_healthy)| !**is_healthy)
        .map(|(name, _)| name.as_str())
        .collect();
    let all = others.count();
    let has_quorum = all - unhealthy.len() > all / 2;
    let may_go = has_quorum && (unhealthy.is_empty() || !leaving.is_up());
    (!may_go).then(|| match unhealthy[..] {
        [] => "it has the only etcd member".to_owned(),
        _ => format!("the etcd member of {} is not healthy", unhealthy.join(", ")),
    })
}

/// Takes the next step with a machine. Whether somebody else holds its drain up.
fn go(step: &mut Step, situation: &Situation<'_>, leaving: &Leaving) -> bool {
    let member = &leaving.member;
    if leaving.is_up() && situation.strategy.drain.enabled {
        if !leaving.is_draining() {
            if let Some(begin) = drain::begin(situation, member) {
                step.moves.push((member.machine.clone(), begin));
                return false;
            }
        } else {
            let Some(pods) = drain::remaining(situation, member) else {
                let machine = &member.machine;
                step.waits_for
                    .push(format!("the Pods of {machine} are not known"));
                return false;
            };
            if !pods.is_empty() {
                let is_blocked = pods.is_blocked;
                step.waits_for
                    .push(format!("draining {}: {pods}", member.machine));
                if !pods.evict.is_empty() {
                    let evict = Move::Evict(pods.evict);
                    step.moves.push((member.machine.clone(), evict));
                }
                return is_blocked;
            }
        }
    }
    let goes_with_its_node = member.role == Role::ControlPlane || !leaving.is_held;
    if goes_with_its_node {
        step.moves.extend(deletion_of_node(member));
    }
    step.moves.push((member.machine.clone(), Move::Remove));
    false
}

fn deletion_of_node(member: &Member) -> Option<(MachineName, Move)> {
    let node = member.seen.as_ref()?;
    let what = Move::DeleteNode {
        node: node.name.clone(),
        uid: node.uid.clone(),
    };
    Some((member.machine.clone(), what))
}
