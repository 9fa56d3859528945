//! What must hold whatever happens.

use std::collections::BTreeMap;

use kube::ResourceExt;
use nico_api::kubernetes_cluster::{KubernetesClusterStatus, Phase, conditions as kind};
use nico_api::names::MachineName;
use nico_api::{NixosConfiguration, condition, labels};
use nico_clusters::action::Action;
use nico_clusters::observed::{Node, Observed, Workload};
use nico_clusters::plan::Plan;
use nico_clusters::plan::marks::Marks;
use nico_clusters::role::Role;

use crate::cluster::{Cluster, joined};
use crate::host::is_same;
use crate::world::World;

/// How long a cluster may be silent before nothing is known of it, in seconds.
const SILENCE: i64 = 60;

/// No machine is in two clusters, and none has a configuration without a claim.
pub(crate) fn of_world(world: &World) -> Result<(), String> {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for cluster in &world.clusters {
        let uid = cluster.object.metadata.uid.as_deref().unwrap();
        for configuration in cluster.configurations.values() {
            let machine = configuration.spec.machine_ref.name.as_str();
            let name: MachineName = machine.parse().unwrap();
            let Some(found) = world.machines.get(&name) else {
                continue;
            };
            if let Some(other) = owners.insert(machine, uid) {
                return Err(format!("{machine} is in {other} and in {uid}"));
            }
            let annotations = found.metadata.annotations.as_ref();
            let claimant = annotations.and_then(|all| all.get(labels::CLUSTER_UID));
            // One that a person deleted and made again lost its claim: nobody can give it back
            // before the operator looks.
            let may_lack_claim = world.made_again.contains(&name);
            let is_right = match claimant {
                Some(claimant) => claimant == uid,
                None => may_lack_claim,
            };
            if !is_right {
                return Err(format!(
                    "{machine} is configured by {uid}, claimed by {claimant:?}"
                ));
            }
        }
    }
    Ok(())
}

/// What a status says is so, and what it said before does not change for no reason.
pub(crate) fn of_status(
    world: &World,
    number: usize,
    observed: &Observed,
    after: &KubernetesClusterStatus,
) -> Result<(), String> {
    health(world, number, observed, after)?;
    first_control_plane(world, number, after)
}

/// A cluster is ready when its Nodes are seen to be, and no more when it is silent for long. While
/// it is silent its phase does not rise.
fn health(
    world: &World,
    number: usize,
    observed: &Observed,
    after: &KubernetesClusterStatus,
) -> Result<(), String> {
    if observed.cluster.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let before = observed.cluster.status.clone().unwrap_or_default();
    let unnoticed = &world.clusters[number].operator.unnoticed;
    let is_silent = matches!(observed.workload, Workload::Unreachable { .. });
    for kind in [kind::READY, kind::NODES_HEALTHY] {
        if !condition::is_true(&after.conditions, kind) {
            continue;
        }
        if let Workload::Unreachable { since, .. } = observed.workload
            && world.now - since.as_second() >= SILENCE
        {
            return Err(format!(
                "{kind} of a cluster that is silent since {}",
                since.as_second()
            ));
        }
        let is_new = !condition::is_true(&before.conditions, kind);
        if is_new && is_silent {
            return Err(format!("{kind} for the first time while it is silent"));
        }
        let mut selected = after
            .selected_control_plane_machines
            .iter()
            .chain(&after.selected_data_plane_machines);
        let is_unnoticed = |name: &&String| unnoticed.iter().any(|it| it.as_str() == name.as_str());
        if let Some(name) = selected.find(is_unnoticed).filter(|_| is_new) {
            return Err(format!("{kind}, and {name} went while it was silent"));
        }
    }
    let rises = after.phase == Some(Phase::Ready) && before.phase != Some(Phase::Ready);
    if rises && is_silent {
        return Err(format!(
            "the phase was {:?} and rises while the cluster is silent",
            before.phase
        ));
    }
    Ok(())
}

/// The first control plane stays the first while it exists.
fn first_control_plane(
    world: &World,
    number: usize,
    after: &KubernetesClusterStatus,
) -> Result<(), String> {
    let cluster = &world.clusters[number];
    let Some(before) = &cluster.object.status else {
        return Ok(());
    };
    let Some(first) = before.selected_control_plane_machines.first() else {
        return Ok(());
    };
    let name: MachineName = first.parse().unwrap();
    let is_held = world.machines.get(&name).is_some_and(|machine| {
        let annotations = machine.metadata.annotations.as_ref();
        let claimant = annotations.and_then(|all| all.get(labels::CLUSTER_UID));
        claimant == cluster.object.metadata.uid.as_ref()
    });
    let now_first = after.selected_control_plane_machines.first();
    let is_deleted = cluster.object.metadata.deletion_timestamp.is_some();
    if is_held && !is_deleted && now_first.is_some_and(|now| now != first) {
        return Err(format!(
            "the first control plane was {first} and is {now_first:?}"
        ));
    }
    Ok(())
}

/// A machine that serves and is taken in hand by a plan.
struct Taken<'a> {
    role: Role,
    node: Option<&'a Node>,
}

/// No plan takes down more than the cluster can bear, by what it could see.
pub(crate) fn of_plan(
    world: &World,
    number: usize,
    observed: &Observed,
    plan: &Plan,
) -> Result<(), String> {
    departures(world, number, observed, plan)?;
    joins(world, number, plan)?;
    let activated: Vec<&NixosConfiguration> = plan
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::UpdateConfiguration(it) => {
                let existing = observed.configurations.get(&it.name_any())?;
                (existing.spec.hold && !runs_already(existing, it)).then_some(existing)
            }
            _ => None,
        })
        .collect();
    if activated.is_empty() {
        return Ok(());
    }
    let everything_is_there = members(observed, plan)
        .iter()
        .all(|configuration| !configuration.spec.hold || is_prepared(world, configuration));
    if !everything_is_there {
        return Err("a node is touched before every machine is prepared".to_owned());
    }
    let nodes = match &observed.workload {
        Workload::Answers(view) => view.nodes.clone(),
        Workload::NotAsked | Workload::Unreachable { .. } => vec![],
    };
    let taken: Vec<Taken<'_>> = activated
        .iter()
        .map(|configuration| Taken {
            role: role(configuration),
            node: nodes
                .iter()
                .find(|node| node.name == configuration.spec.machine_ref.name),
        })
        .collect();
    control_planes(world, number, observed, plan, &taken)?;
    workers(world, number, observed, plan, &nodes, &taken)
}

/// A machine that works leaves drained, and no control plane that the quorum needs.
fn departures(
    world: &World,
    number: usize,
    observed: &Observed,
    plan: &Plan,
) -> Result<(), String> {
    let Workload::Answers(view) = &observed.workload else {
        return Ok(());
    };
    if observed.cluster.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let mut control_planes = 0;
    for action in &plan.actions {
        let (Action::DeleteConfiguration { machine, .. } | Action::DeleteNode { machine, .. }) =
            action
        else {
            continue;
        };
        let node = view.nodes.iter().find(|node| node.name == machine.as_str());
        let Some((node, configuration)) = node.zip(observed.configuration_of(machine)) else {
            continue;
        };
        let pods = view.draining.get(&node.name);
        let is_drained = node.drain.is_some() && pods.is_some_and(Vec::is_empty);
        let drains = world.clusters[number].shape.drains;
        let is_worker = role(configuration) == Role::Worker;
        if node.ready && drains && is_worker && !is_drained {
            return Err(format!("{machine} leaves before it is drained"));
        }
        if is_worker || !matches!(action, Action::DeleteNode { .. }) {
            continue;
        }
        control_planes += usize::from(node.ready);
        let others: Vec<bool> = world
            .etcd(number)
            .filter(|(member, _)| *member != machine)
            .map(|(_, works)| works)
            .collect();
        let works = others.iter().filter(|works| **works).count();
        let all = others.len();
        if tells_the_truth(world, number) && works <= all / 2 {
            return Err(format!(
                "control plane {machine} leaves, and {works} of {all} others work"
            ));
        }
    }
    if control_planes > 1 {
        return Err(format!("{control_planes} control planes leave at once"));
    }
    Ok(())
}

/// No machine joins with a newer minor version than a control plane that works and stays.
fn joins(world: &World, number: usize, plan: &Plan) -> Result<(), String> {
    let stay = &plan.status.selected_control_plane_machines;
    for action in &plan.actions {
        let Action::CreateConfiguration(created) = action else {
            continue;
        };
        let commit = usize::from_str_radix(&created.spec.reference, 16).unwrap();
        let minor = world.commits[commit].minor;
        let oldest = joined(&world.clusters[number].configurations)
            .filter(|(_, role)| *role == Role::ControlPlane)
            .filter(|(machine, _)| stay.iter().any(|name| name == machine.as_str()))
            .map(|(machine, _)| &world.hosts[&machine])
            .filter(|host| host.is_up(world.now))
            .filter_map(|host| Some(host.runs.as_ref()?.1.minor))
            .min();
        if oldest.is_some_and(|oldest| minor > oldest) && tells_the_truth(world, number) {
            return Err(format!(
                "{} joins with 1.{minor}, beside {oldest:?}",
                created.spec.machine_ref.name
            ));
        }
    }
    Ok(())
}

/// Whether every Node says how it is. That a Node went while the cluster was silent for long is no
/// excuse: the operator has to wait until the cluster has noticed.
fn tells_the_truth(world: &World, number: usize) -> bool {
    let cluster = &world.clusters[number];
    cluster.nodes.iter().all(|(machine, node)| {
        node.says_ready == world.hosts[machine].is_up(world.now)
            || cluster.operator.unnoticed.contains(machine)
    })
}

fn control_planes(
    world: &World,
    number: usize,
    observed: &Observed,
    plan: &Plan,
    taken: &[Taken<'_>],
) -> Result<(), String> {
    let taken: Vec<&Taken<'_>> = taken
        .iter()
        .filter(|taken| taken.role == Role::ControlPlane)
        .collect();
    let in_hand = changing(&members(observed, plan), Role::ControlPlane);
    let answers = matches!(observed.workload, Workload::Answers(_));
    if answers && taken.len() + in_hand > 1 && !taken.is_empty() {
        return Err(format!(
            "{} control planes are taken in hand beside {in_hand}",
            taken.len()
        ));
    }
    let (up, all) = world.quorum(number);
    let serves = taken
        .iter()
        .any(|taken| taken.node.is_some_and(|node| node.ready));
    if serves && tells_the_truth(world, number) && all >= 3 && up - 1 < all / 2 + 1 {
        return Err(format!(
            "of {all} control planes {up} work, and one more is taken down"
        ));
    }
    Ok(())
}

fn workers(
    world: &World,
    number: usize,
    observed: &Observed,
    plan: &Plan,
    nodes: &[Node],
    taken: &[Taken<'_>],
) -> Result<(), String> {
    let budget = world.clusters[number].shape.budget;
    let taken = taken
        .iter()
        .filter(|taken| taken.role == Role::Worker && taken.node.is_some_and(|node| node.ready))
        .count();
    if taken == 0 {
        return Ok(());
    }
    let is_down = |configuration: &&&NixosConfiguration| {
        let machine = &configuration.spec.machine_ref.name;
        let status = configuration.status.as_ref();
        let has_joined = status.is_some_and(|status| status.applied_commit.is_some());
        has_joined
            && role(configuration) == Role::Worker
            && Marks::of(configuration).changing_since.is_none()
            && !nodes.iter().any(|node| node.name == *machine && node.ready)
    };
    let members = members(observed, plan);
    let down = members.iter().filter(is_down).count();
    let in_hand = changing(&members, Role::Worker);
    if taken + down + in_hand > budget {
        return Err(format!(
            "{taken} workers are taken beside {down} that are down and {in_hand} in hand; {budget} may be"
        ));
    }
    Ok(())
}

/// The configurations of the machines that the cluster still wants.
fn members<'a>(observed: &'a Observed, plan: &Plan) -> Vec<&'a NixosConfiguration> {
    let selected = [
        &plan.status.selected_control_plane_machines,
        &plan.status.selected_data_plane_machines,
    ];
    observed
        .configurations
        .values()
        .filter(|configuration| {
            let machine = &configuration.spec.machine_ref.name;
            selected.iter().any(|plane| plane.contains(machine))
        })
        .collect()
}

/// Whether the machine runs what it is brought to: what it was held with was never activated.
fn runs_already(existing: &NixosConfiguration, wanted: &NixosConfiguration) -> bool {
    let marks = Marks::of(existing);
    let runs = marks.previous.as_ref();
    marks.changing_since.is_none() && runs.is_some_and(|runs| is_same(runs, &wanted.spec))
}

/// How many machines a rollout has in hand.
fn changing(members: &[&NixosConfiguration], wanted: Role) -> usize {
    members
        .iter()
        .filter(|configuration| role(configuration) == wanted && !configuration.spec.hold)
        .filter(|configuration| {
            let status = configuration.status.as_ref();
            status.is_some_and(|status| status.applied_commit.is_some())
        })
        .filter(|configuration| Marks::of(configuration).changing_since.is_some())
        .filter(|configuration| Marks::of(configuration).failure.is_none())
        .count()
}

/// Whether the closure is on the machine, or the machine is known not to answer.
fn is_prepared(world: &World, configuration: &NixosConfiguration) -> bool {
    let machine: MachineName = configuration.spec.machine_ref.name.parse().unwrap();
    let conditions = configuration
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let reason = condition::find(conditions, "Ready").map(|ready| ready.reason.as_str());
    !world.machines.contains_key(&machine)
        || matches!(reason, Some("Staged" | "MachineNotReachable"))
        || configuration.metadata.deletion_timestamp.is_some()
}

fn role(configuration: &NixosConfiguration) -> Role {
    let label = configuration.labels().get(labels::ROLE).unwrap();
    Role::from_label(label).unwrap()
}

/// Every cluster is what its spec says, or says why it cannot start.
pub(crate) fn of_the_end(world: &World) -> Result<(), String> {
    for cluster in &world.clusters {
        of_cluster_at_the_end(world, cluster)?;
    }
    Ok(())
}

fn of_cluster_at_the_end(world: &World, cluster: &Cluster) -> Result<(), String> {
    let name = cluster.object.name_any();
    if cluster.object.metadata.deletion_timestamp.is_some() {
        let uid = cluster.object.uid().unwrap();
        let is_claimed = world
            .machines
            .values()
            .any(|machine| machine.annotations().get(labels::CLUSTER_UID) == Some(&uid));
        return match (cluster.is_gone, is_claimed) {
            (true, false) => Ok(()),
            _ => Err(format!("{name} is deleted and something of it is left")),
        };
    }
    let status = cluster.object.status.clone().unwrap_or_default();
    let condition = |kind: &str| {
        let found = condition::find(&status.conditions, kind);
        found.map(|found| {
            (
                found.status.clone(),
                found.reason.clone(),
                found.message.clone(),
            )
        })
    };
    let stays = |machine: &MachineName| {
        let mut selected = status.selected_control_plane_machines.iter();
        selected.any(|name| name == machine.as_str())
    };
    let staying = cluster.etcd.iter().filter(|machine| stays(machine)).count();
    if staying <= cluster.etcd.len() / 2 && !cluster.etcd.is_empty() {
        // A person deleted the Machines of so many members that their data are lost: what was
        // done to the others by us is checked step by step.
        return Ok(());
    }
    let is_short = condition(kind::MACHINES_SELECTED).is_some_and(|(truth, ..)| truth == "False");
    let is_ready = condition(kind::READY).is_some_and(|(truth, ..)| truth == "True");
    if !is_ready && !is_short {
        return Err(format!(
            "{name} is not ready: {:?}, {:?}",
            condition(kind::READY),
            condition(kind::ROLLING_OUT)
        ));
    }
    let control_planes = status.selected_control_plane_machines.len();
    if control_planes < cluster.shape.control_planes {
        // The machines that are missing are in another cluster: nothing rolls without an API.
        return Ok(());
    }
    for configuration in cluster.configurations.values() {
        let machine: MachineName = configuration.spec.machine_ref.name.parse().unwrap();
        let host = &world.hosts[&machine];
        let runs = host.runs.as_ref().map(|(runs, _)| runs);
        let head = format!("{:040x}", cluster.head);
        if configuration.spec.reference != head
            || !runs.is_some_and(|runs| is_same(runs, &configuration.spec))
            || configuration.spec.hold
            || Marks::of(configuration) != Marks::default()
        {
            return Err(format!(
                "{machine} of {name} does not run what is wanted: {:?}, {:?}",
                condition(kind::READY),
                condition(kind::ROLLING_OUT)
            ));
        }
    }
    let is_member = |machine: &MachineName| {
        let mut members = cluster.configurations.values();
        members.any(|member| member.spec.machine_ref.name == machine.as_str())
    };
    for (machine, node) in &cluster.nodes {
        // Who deletes the Machine of one that leaves has to see to its Node: while the cluster does
        // not answer, nothing else remembers it.
        let is_forgotten = world.made_again.contains(machine);
        if !is_member(machine) {
            if is_forgotten {
                continue;
            }
            return Err(format!("{machine} left {name}, and its Node is there"));
        }
        if node.drain.is_some() || node.unschedulable != node.is_cordoned_by_a_person {
            return Err(format!(
                "{machine} of {name} was left as after a drain: {node:?}"
            ));
        }
    }
    Ok(())
}
