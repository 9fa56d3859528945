//! What is under way and nothing to worry about: rollouts, drains, maintenance. Pure.

use jiff::Timestamp;
use nico_api::labels;
use serde::Serialize;

use crate::facts::meta::{Condition, condition};
use crate::facts::nico::{Cluster, Configuration};
use crate::issue::{Layer, ObjectRef};
use crate::world::World;

/// Something that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ongoing {
    /// With what.
    pub object: ObjectRef,
    /// The part of the cluster.
    pub layer: Layer,
    /// What.
    pub message: String,
    /// Since when, where that is known.
    pub since: Option<Timestamp>,
}

/// All that is under way, what concerns most at the front.
pub fn of(world: &World) -> Vec<Ongoing> {
    let clusters = world.clusters.iter().filter_map(cluster);
    let nodes = world.nodes.iter().filter_map(|node| {
        let since = node.metadata.annotation(labels::DRAINING_SINCE)?;
        Some(Ongoing {
            object: node.reference(),
            layer: Layer::Nodes,
            message: "NICO empties it, for its machine is changed next".to_owned(),
            since: since.parse().ok(),
        })
    });
    let configurations = world.configurations.iter().filter_map(configuration);
    let machines = world.machines.iter().filter(|one| one.spec.maintenance);
    let machines = machines.map(|machine| Ongoing {
        object: machine.reference(),
        layer: Layer::Nico,
        message: "is in maintenance: NICO leaves it alone".to_owned(),
        since: None,
    });
    [
        clusters.collect::<Vec<_>>(),
        nodes.collect(),
        configurations.collect(),
        machines.collect(),
    ]
    .into_iter()
    .flat_map(in_order)
    .collect()
}

fn in_order(mut ongoing: Vec<Ongoing>) -> Vec<Ongoing> {
    ongoing.sort_by(|one, other| one.object.cmp(&other.object));
    ongoing
}

fn cluster(cluster: &Cluster) -> Option<Ongoing> {
    let rolling = condition(&cluster.status.conditions, "RollingOut").filter(|one| one.is_true());
    let rollout = cluster.status.rollout.as_ref();
    let (message, since) = match (rolling, rollout) {
        (Some(rolling), Some(rollout)) => {
            let what = rollout.message.as_deref().unwrap_or(rolling.words());
            let (updated, total) = (rollout.updated, rollout.total);
            let message = format!("a rollout runs, {updated} of {total} machines are done: {what}");
            (message, rollout.started_at.or(rolling.last_transition_time))
        }
        (Some(rolling), None) => (
            format!("a rollout runs: {}", rolling.words()),
            rolling.last_transition_time,
        ),
        (None, _) if cluster.spec.paused => ("is paused: nothing new is begun".to_owned(), None),
        (None, _) => return None,
    };
    Some(Ongoing {
        object: cluster.reference(),
        layer: Layer::Nico,
        message,
        since,
    })
}

/// A machine that is changed and belongs to no cluster, which would tell it.
fn configuration(configuration: &Configuration) -> Option<Ongoing> {
    let ready = condition(&configuration.status.conditions, "Ready")?;
    let is_single = configuration.metadata.label(labels::CLUSTER).is_none();
    let is_ongoing = is_single && !ready.is_true() && configuration.is_under_way();
    is_ongoing.then(|| Ongoing {
        object: configuration.reference(),
        layer: Layer::Nico,
        message: format!("is being applied: {}", Condition::words(ready)),
        since: ready.last_transition_time,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rollouts_drains_and_maintenance_are_told_and_what_is_done_is_not() {
        let cluster = |name: &str, rolling: &str, paused: bool| {
            json!({
                "apiVersion": "nico.homystack.com/v1alpha1", "kind": "KubernetesCluster",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"paused": paused},
                "status": {
                    "conditions": [{"type": "RollingOut", "status": rolling}],
                    "rollout": {"updated": 2, "total": 5, "message": "w-01 is drained"},
                },
            })
        };
        let machine = |name: &str, maintenance: bool| {
            json!({
                "apiVersion": "nio.homystack.com/v1alpha1", "kind": "Machine",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"maintenance": maintenance},
            })
        };
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "w-01", "annotations": {labels::DRAINING_SINCE: "soon"}},
        });
        let objects = vec![
            machine("resting", true),
            machine("working", false),
            node,
            cluster("rolling", "True", false),
            cluster("paused", "False", true),
            cluster("done", "False", false),
        ];
        let (world, _) = World::default().with_objects(objects);
        let told: Vec<String> = of(&world)
            .iter()
            .map(|one| format!("{}: {}", one.object, one.message))
            .collect();
        let expected = [
            "KubernetesCluster default/paused: is paused: nothing new is begun",
            "KubernetesCluster default/rolling: a rollout runs, 2 of 5 machines are done: \
             w-01 is drained",
            "Node w-01: NICO empties it, for its machine is changed next",
            "Machine default/resting: is in maintenance: NICO leaves it alone",
        ];
        assert_eq!(told, expected);
    }
}
