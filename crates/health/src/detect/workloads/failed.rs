//! A Pod that failed and is not replaced.

use crate::detect::{Detector, Found, Scene};
use crate::facts::meta::condition;
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "pod-failed",
    layer: Layer::Workloads,
    finds: "A Pod failed by itself. Pods of Jobs, evicted Pods and those of lost Nodes are not counted.",
    severity: "warning",
    fix: "look at its log, then delete it",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for pod in scene
        .world
        .pods
        .iter()
        .filter(|pod| pod.status.phase == "Failed")
    {
        if super::is_tombstone(pod) {
            continue;
        }
        let why = match (pod.status.reason.as_str(), pod.status.message.as_str()) {
            ("", "") => "it does not say why".to_owned(),
            (reason, message) => format!("{reason} {message}").trim().to_owned(),
        };
        let since =
            condition(&pod.status.conditions, "Ready").and_then(|ready| ready.last_transition_time);
        found
            .warning(pod.reference(), format!("failed: {why}"))
            .since(since);
    }
}
