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
