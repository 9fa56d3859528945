//! A Node whose kubelet says that it is not ready, or says nothing.

use crate::detect::{Detector, Found, Scene};
use crate::facts::meta::condition;
use crate::facts::node::Node;
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "node-not-ready",
    layer: Layer::Nodes,
    finds: "A Node is not Ready, or its kubelet is silent.",
    severity: "critical; a warning while NICO changes the machine",
    fix: "reach the machine: is it on, is its network there, does its kubelet run?",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for node in &scene.world.nodes {
        let ready = condition(&node.status.conditions, "Ready");
        if ready.is_some_and(crate::facts::meta::Condition::is_true) {
            continue;
        }
        let since = ready.and_then(|ready| ready.last_transition_time);
        let what = match ready.map(|ready| ready.status.as_str()) {
            Some("Unknown") => "its kubelet is silent",
            Some(_) => "is not Ready",
            None => "has never said that it is Ready",
        };
        let is_changed = is_in_hand(scene, node);
        let in_hand = match is_changed {
            true => "; NICO is changing this machine now",
            false => "",
        };
        let message = match ready.map_or("", |ready| ready.words()) {
            "" => format!("{what}{in_hand}"),
            why => format!("{what}{in_hand}: {why}"),
        };
        let issue = match is_changed {
            true => found.warning(node.reference(), message),
            false => found.critical(node.reference(), message),
        };
        issue
            .since(since)
            .suspects(machines(scene, &node.metadata.name));
        if is_changed {
            issue.fix("wait for the rollout; `nico status` shows where it is");
        }
    }
}

/// Whether a rollout has the machine of a Node in hand.
fn is_in_hand(scene: &Scene<'_>, node: &Node) -> bool {
    let is_drained = node
        .metadata
        .annotation(nico_api::labels::DRAINING_SINCE)
        .is_some();
    let configurations = scene.world.configurations.iter();
    let mut own = configurations.filter(|one| one.spec.machine_ref.name == node.metadata.name);
    let is_changing = own.any(|one| {
        one.metadata
            .annotation(nico_api::labels::CHANGING_SINCE)
            .is_some()
            && one
                .metadata
                .annotation(nico_api::labels::FAILED_ROLLOUT)
                .is_none()
    });
    is_drained || is_changing
}

/// The Machine that a Node runs on and what it runs: NICO names Nodes after their Machines.
fn machines(scene: &Scene<'_>, node: &str) -> Vec<ObjectRef> {
    let machines = scene
        .world
        .machines
        .iter()
        .filter(|one| one.metadata.name == node);
    let configurations = scene.world.configurations.iter();
    let configurations = configurations.filter(|one| one.spec.machine_ref.name == node);
    let machines = machines.map(crate::facts::meta::Object::reference);
    machines
        .chain(configurations.map(crate::facts::meta::Object::reference))
        .collect()
}
