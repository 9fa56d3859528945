//! A Pod that no Node takes.

use crate::detect::{Detector, Found, Scene};
use crate::facts::meta::condition;
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "pod-unschedulable",
    layer: Layer::Workloads,
    finds: "A Pod is Pending because no Node takes it.",
    severity: "critical",
    fix: "look at what the scheduler says: resources, taints, affinity, volumes",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for pod in super::alive(scene.world) {
        let scheduled = condition(&pod.status.conditions, "PodScheduled");
        let Some(refused) = scheduled.filter(|one| one.is_false() && pod.status.phase == "Pending")
        else {
            continue;
        };
        if !scene.lasts(refused.last_transition_time, scene.thresholds.pending) {
            continue;
        }
        let mut suspects: Vec<ObjectRef> = pod
            .claims()
            .map(|claim| ObjectRef::new("PersistentVolumeClaim", &pod.metadata.namespace, claim))
            .collect();
        let said = refused.words();
        if said.contains("unschedulable") || said.contains("untolerated taint") {
            let nodes = scene.world.nodes.iter();
            suspects.extend(nodes.map(crate::facts::meta::Object::reference));
        }
        let message = format!("no Node takes it: {said}");
        found
            .critical(pod.reference(), message)
            .since(refused.last_transition_time)
            .suspects(suspects);
    }
}
