//! A Secret or ConfigMap that is not there.

use crate::detect::{Detector, Found, Scene};
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "pod-config-missing",
    layer: Layer::Workloads,
    finds: "A Pod does not start because a Secret or ConfigMap, or a key of it, is missing.",
    severity: "critical",
    fix: "make the Secret or ConfigMap that is named",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for pod in super::alive(scene.world) {
        let since = pod.not_ready_since();
        if pod.is_ready() || !scene.lasts(since, scene.thresholds.pending) {
            continue;
        }
        let waiting = pod.waiting(&["CreateContainerConfigError"]).next();
        let told = waiting.map(|(_, waiting)| waiting.message.clone());
        let events = scene.index.events(&pod.reference());
        let mount = events
            .iter()
            .find(|event| event.reason == "FailedMount" && event.message.contains("not found"));
        let Some(why) = told.or_else(|| mount.map(|event| event.message.clone())) else {
            continue;
        };
        let secrets: Vec<ObjectRef> = scene
            .world
            .external_secrets
            .iter()
            .filter(|secret| secret.metadata.namespace == pod.metadata.namespace)
            .filter(|secret| why.contains(&format!("\"{}\"", secret.secret())))
            .map(crate::facts::meta::Object::reference)
            .collect();
        let message = format!("does not start: {why}");
        found
            .critical(pod.reference(), message)
            .since(since)
            .suspects(secrets);
    }
}
