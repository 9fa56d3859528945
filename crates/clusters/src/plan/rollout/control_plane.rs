//! Which control-plane machine may be taken in hand now, so that the quorum survives.

use crate::observed::{Etcd, View, Workload};
use crate::role::Role;

use super::super::readiness::ConfigurationState;
use super::{Placed, Situation, Stage, joining};

/// The control-plane machine to take in hand now, or why none may be taken, though some wait.
///
/// One at a time. One that is down goes first, also when it is not the turn of control planes:
/// the change may be what brings it back.
pub fn next<'a, 'b>(
    situation: &Situation<'_>,
    placed: &'b [Placed<'a>],
    is_turn: bool,
) -> Result<Option<&'b Placed<'a>>, String> {
    let control_planes: Vec<&Placed<'_>> = placed
        .iter()
        .filter(|node| node.is_of(Role::ControlPlane))
        .collect();
    // While the cluster does not answer, nobody can say that the one in hand is back, and it may
    // not come back before others that are down are changed too.
    let is_silent = matches!(situation.workload, Workload::Unreachable { .. });
    let is_done =
        |node: &Placed<'_>| is_silent && node.member.configuration == ConfigurationState::Applied;
    let is_held_up = |node: &&&Placed<'_>| node.stage.is_in_hand() && !is_done(node);
    if control_planes.iter().find(is_held_up).is_some() {
        return Ok(None);
    }
    let mut waiting: Vec<&Placed<'_>> = control_planes
        .iter()
        .copied()
        .filter(|node| node.stage == Stage::Staged)
        .filter(|node| is_turn || !node.member.is_alive())
        .collect();
    waiting.sort_by_key(|node| node.member.is_alive());
    let Some(next) = waiting.first().copied() else {
        return Ok(None);
    };
    match obstacle(situation, placed, next) {
        None => Ok(Some(next)),
        Some(why) => Err(format!("{} is not taken down: {why}", next.member.machine)),
    }
}

/// Why a control plane may not go down now; `None` when it may.
pub fn obstacle(
    situation: &Situation<'_>,
    placed: &[Placed<'_>],
    next: &Placed<'_>,
) -> Option<String> {
    if next.member.is_alive() {
        obstacle_to_taking_down(situation, placed, next)
    } else {
        obstacle_to_repairing(situation, next)
    }
}

/// What a person should know while control planes change.
pub fn remarks(situation: &Situation<'_>, placed: &[Placed<'_>], is_turn: bool) -> Vec<String> {
    let changing =
        |node: &&Placed<'_>| node.is_of(Role::ControlPlane) && node.stage.is_part_of_a_change();
    if !is_turn || placed.iter().find(changing).is_none() {
        return vec![];
    }
    let all = placed.iter().filter(|node| node.is_of(Role::ControlPlane));
    let alone = match all.count() {
        1 => Some("the API is away while the only control plane changes"),
        2 => Some("two control planes have no quorum while one of them changes"),
        _ => None,
    };
    let is_etcd_unseen = matches!(
        situation.workload,
        Workload::Answers(View {
            etcd: Etcd::Unseen,
            ..
        })
    );
    let unseen =
        is_etcd_unseen.then_some("the cluster shows no etcd members: its Nodes and /readyz decide");
    alone.into_iter().chain(unseen).map(str::to_owned).collect()
}

/// Why a control plane that works may not go down; `None` when it may.
fn obstacle_to_taking_down(
    situation: &Situation<'_>,
    placed: &[Placed<'_>],
    next: &Placed<'_>,
) -> Option<String> {
    let may_join = joining::obstacle(placed).is_none();
    let mut unwell: Vec<&str> = placed
        .iter()
        .filter(|other| other.is_of(Role::ControlPlane))
        .filter(|other| other.member.machine != next.member.machine)
        .filter(|other| may_join || !has_yet_to_join(other))
        .filter(|other| !other.member.is_alive())
        .map(|other| other.member.machine.as_str())
        .collect();
    let lost = situation
        .leaving
        .iter()
        .filter(|leaving| leaving.is_lost_control_plane());
    unwell.extend(lost.map(|leaving| leaving.member.machine.as_str()));
    if !unwell.is_empty() {
        return Some(format!("{} is not well", unwell.join(", ")));
    }
    if let Some(doubt) = situation.doubt() {
        return Some(doubt);
    }
    match situation.workload {
        Workload::NotAsked | Workload::Unreachable { .. } => None,
        Workload::Answers(view) => view
            .not_ready
            .as_ref()
            .map(|why| format!("the API of the cluster is not ready: {why}"))
            .or_else(|| unhealthy_etcd(view)),
    }
}

/// Whether the machine has not been given what it joins with.
fn has_yet_to_join(node: &Placed<'_>) -> bool {
    let is_absent = node.member.configuration == ConfigurationState::Absent;
    node.stage == Stage::Joining && (is_absent || !node.member.updated)
}

fn unhealthy_etcd(view: &View) -> Option<String> {
    let Etcd::Members(members) = &view.etcd else {
        return None;
    };
    let unhealthy: Vec<&str> = members
        .iter()
        .filter(|(_, is_healthy)| !**is_healthy)
        .map(|(name, _)| name.as_str())
        .collect();
    (!unhealthy.is_empty())
        .then(|| format!("the etcd member of {} is not healthy", unhealthy.join(", ")))
}

/// Why a control plane that is down may not be worked on: its etcd member may still count.
fn obstacle_to_repairing(situation: &Situation<'_>, next: &Placed<'_>) -> Option<String> {
    let Workload::Answers(View {
        etcd: Etcd::Members(members),
        ..
    }) = situation.workload
    else {
        return None;
    };
    let node = next.member.seen.as_ref()?;
    let healthy = members.values().filter(|is_healthy| **is_healthy).count();
    let counts = members.get(&node.name) == Some(&true);
    (counts && !survives_loss_of_one(healthy, members.len())).then(|| {
        format!(
            "its etcd member is one of {healthy} healthy ones of {}, and the quorum would be lost",
            members.len()
        )
    })
}

/// Whether `healthy` members of `all` keep the quorum when one of them goes. With one or two
/// members none ever does: there a short loss is the price of any change.
fn survives_loss_of_one(healthy: usize, all: usize) -> bool {
    all < 3 || healthy > all / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_is_more_than_half_of_all_members() {
        let table = [
            (3, 3, true),
            (2, 3, false),
            (5, 5, true),
            (4, 5, true),
            (3, 5, false),
            (4, 4, true),
            (3, 4, false),
            (1, 1, true),
            (2, 2, true),
        ];
        for (healthy, all, expected) in table {
            assert_eq!(
                survives_loss_of_one(healthy, all),
                expected,
                "{healthy} of {all}"
            );
        }
    }
}
