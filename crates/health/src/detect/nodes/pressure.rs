//! A Node that is short of something, or on which something else is wrong.

use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "node-pressure",
    layer: Layer::Nodes,
    finds: "A Node has another condition that holds: memory, disk or PID pressure, no network, or what a problem detector says.",
    severity: "warning; critical for NetworkUnavailable and DiskPressure",
    fix: "free what the Node is short of, or empty the Node",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for node in &scene.world.nodes {
        let wrong: Vec<_> = node
            .status
            .conditions
            .iter()
            .filter(|condition| condition.kind != "Ready" && condition.is_true())
            .filter(|condition| !is_good(&condition.kind))
            .collect();
        let Some(first) = wrong.first() else {
            continue;
        };
        let told: Vec<String> = wrong
            .iter()
            .map(|condition| format!("{}: {}", condition.kind, condition.words()))
            .collect();
        let is_critical = |kind: &str| matches!(kind, "NetworkUnavailable" | "DiskPressure");
        let message = told.join("; ");
        let issue = match wrong.iter().any(|condition| is_critical(&condition.kind)) {
            true => found.critical(node.reference(), message),
            false => found.warning(node.reference(), message),
        };
        issue.since(first.last_transition_time);
    }
}

/// Conditions of extensions that are good when they hold.
fn is_good(kind: &str) -> bool {
    ["Ready", "Healthy", "Available", "Complete", "Enabled"]
        .iter()
        .any(|end| kind.ends_with(end))
}
