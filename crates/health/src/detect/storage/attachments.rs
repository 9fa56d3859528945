//! A volume that can be on one Node only, and is on another.

use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "volume-in-use-elsewhere",
    layer: Layer::Storage,
    finds: "A Pod waits for a volume that is attached to another Node (Multi-Attach).",
    severity: "critical",
    fix: "set the strategy of the workload to Recreate; if the other Node is dead, take it out of the cluster",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for pod in scene
        .world
        .pods
        .iter()
        .filter(|pod| !pod.is_over() && !pod.is_ready())
    {
        let reference = pod.reference();
        let events = scene.index.events(&reference);
        let event = events.iter().find(|event| {
            event.reason == "FailedAttachVolume" && event.message.contains("Multi-Attach")
        });
        let Some(event) = event else { continue };
        let message = format!("cannot start: {}", event.message);
        let claims = pod.claims().flat_map(|claim| {
            scene.world.pods.iter().filter(move |other| {
                other.metadata.name != pod.metadata.name
                    && other.metadata.namespace == pod.metadata.namespace
                    && other.claims().any(|name| name == claim)
            })
        });
        let nodes: Vec<_> = claims
            .map(|other| crate::issue::ObjectRef::new("Node", "", &other.spec.node_name))
            .collect();
        found
            .critical(reference, message)
            .since(pod.not_ready_since())
            .suspects(nodes);
    }
}
