//! Nodes that became Ready at the same time, though they are old.

use crate::detect::{Detector, Found, Scene, words};
use crate::facts::meta::condition;
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "nodes-restarted-together",
    layer: Layer::Nodes,
    finds: "Two or more Nodes that are not new became Ready within minutes of each other lately.",
    severity: "warning",
    fix: "look for what they share: power, a switch, a hypervisor, an upgrade of all at once",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    let window = scene.thresholds.restarted_together;
    let mut back: Vec<_> = scene
        .world
        .nodes
        .iter()
        .filter_map(|node| {
            let ready =
                condition(&node.status.conditions, "Ready").filter(|ready| ready.is_true())?;
            let since = ready
                .last_transition_time
                .filter(|since| scene.is_recent(Some(*since), window))?;
            let made = node.metadata.creation_timestamp?;
            // A Node that is new has not restarted.
            (since.duration_since(made) > window.0).then_some((since, &node.metadata.name))
        })
        .collect();
    back.sort();
    let (Some((first, name)), true) = (back.first(), back.len() >= 2) else {
        return;
    };
    let names: Vec<&str> = back.iter().map(|(_, name)| name.as_str()).collect();
    let message = format!(
        "{} became Ready within {}: {}",
        back.len(),
        words(window.0),
        names.join(", ")
    );
    found
        .warning(ObjectRef::new("Node", "", *name), message)
        .since(Some(*first));
}
