//! A Pod of which nothing is heard.

use crate::detect::{Detector, Found, Scene};
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "pod-unknown",
    layer: Layer::Workloads,
    finds: "A Pod is in phase Unknown: its Node does not answer.",
    severity: "warning, critical after the longer threshold",
    fix: "bring the Node back, or delete the Pod once the Node is surely off",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for pod in scene
        .world
        .pods
        .iter()
        .filter(|pod| pod.status.phase == "Unknown")
    {
        let since = pod.not_ready_since();
        if !scene.lasts(since, scene.thresholds.unknown_warning) {
            continue;
        }
        let message = "nothing is heard of it; it may be gone, and is counted as if it ran";
        let issue = match scene.lasts(since, scene.thresholds.unknown_critical) {
            true => found.critical(pod.reference(), message),
            false => found.warning(pod.reference(), message),
        };
        issue
            .since(since)
            .suspects([ObjectRef::new("Node", "", &pod.spec.node_name)]);
    }
}
