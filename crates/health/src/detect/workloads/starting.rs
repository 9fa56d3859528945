//! A Pod that is on a Node and does not start.

use crate::detect::{Detector, Found, Scene};
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "pod-not-starting",
    layer: Layer::Workloads,
    finds: "A Pod is on a Node and does not get to run: network, volumes, init containers.",
    severity: "critical",
    fix: "look at the events of the Pod and at the kubelet of its Node",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for pod in super::alive(scene.world) {
        let since = pod.status.start_time.or(pod.metadata.creation_timestamp);
        let is_placed = !pod.spec.node_name.is_empty();
        if pod.status.phase != "Pending"
            || !is_placed
            || !scene.lasts(since, scene.thresholds.starting)
        {
            continue;
        }
        let reference = pod.reference();
        let events = scene.index.events(&reference);
        let why = match (
            events.first(),
            pod.containers().find_map(|one| one.state.waiting.as_ref()),
        ) {
            (Some(event), _) => event.message.clone(),
            (None, Some(waiting)) => format!("{} {}", waiting.reason, waiting.message),
            (None, None) => "its init containers do not end".to_owned(),
        };
        let mut suspects = vec![ObjectRef::new("Node", "", &pod.spec.node_name)];
        let agents = scene
            .world
            .daemon_sets
            .iter()
            .filter(|_| why.contains("network") || why.contains("cni"));
        suspects.extend(agents.map(crate::facts::meta::Object::reference));
        let namespace = &pod.metadata.namespace;
        suspects.extend(
            pod.claims()
                .map(|claim| ObjectRef::new("PersistentVolumeClaim", namespace, claim)),
        );
        let message = format!("does not start: {}", why.trim());
        found
            .critical(reference, message)
            .since(since)
            .suspects(suspects);
    }
}
