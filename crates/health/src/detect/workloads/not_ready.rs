//! A Pod that runs and does not serve.

use crate::detect::{Detector, Found, Scene};
use crate::facts::meta::condition;
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "pod-not-ready",
    layer: Layer::Workloads,
    finds: "A Pod runs and is not ready for long.",
    severity: "critical",
    fix: "look at its readiness probe and its log",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for pod in super::alive(scene.world) {
        let since = pod.not_ready_since();
        if pod.status.phase != "Running"
            || pod.is_ready()
            || !scene.lasts(since, scene.thresholds.not_ready)
        {
            continue;
        }
        let reference = pod.reference();
        let events = scene.index.events(&reference);
        let probe = events.iter().find(|event| event.reason == "Unhealthy");
        let ready = condition(&pod.status.conditions, "Ready");
        let why = probe
            .map(|event| event.message.as_str())
            .or(ready.map(crate::facts::meta::Condition::words));
        let message = format!(
            "runs and does not serve: {}",
            why.unwrap_or("it does not say why")
        );
        let node = ObjectRef::new("Node", "", &pod.spec.node_name);
        found
            .critical(reference, message)
            .since(since)
            .suspects([node]);
    }
}
