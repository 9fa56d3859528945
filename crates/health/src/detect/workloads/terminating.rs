//! A Pod that is to be gone and is not.

use crate::detect::{Detector, Found, Scene};
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "pod-stuck-terminating",
    layer: Layer::Workloads,
    finds: "A Pod is being deleted for longer than its grace period and a while.",
    severity: "warning",
    fix: "see whether its Node answers and which finalizers it has; delete it by force only when its Node is surely off",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for pod in &scene.world.pods {
        // The time of deletion has the grace period in it.
        let Some(since) = pod.metadata.deletion_timestamp else {
            continue;
        };
        if !scene.lasts(Some(since), scene.thresholds.terminating) {
            continue;
        }
        let held = match pod.metadata.finalizers.join(", ").as_str() {
            "" => String::new(),
            finalizers => format!(", held by {finalizers}"),
        };
        let message = format!("should be gone{held}");
        let node = ObjectRef::new("Node", "", &pod.spec.node_name);
        found
            .warning(pod.reference(), message)
            .since(Some(since))
            .suspects([node]);
    }
}
