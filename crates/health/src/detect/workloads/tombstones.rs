//! Failed Pods that nobody takes away.

use crate::detect::{Detector, Found, Scene};
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "failed-pods-left",
    layer: Layer::Workloads,
    finds: "Many Pods that were evicted or lost with their Node were left behind. They are no outage.",
    severity: "warning",
    fix: "delete them: `kubectl delete pods -A --field-selector status.phase=Failed`",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    let left = scene
        .world
        .pods
        .iter()
        .filter(|pod| super::is_tombstone(pod))
        .count();
    if left > scene.thresholds.failed_pods {
        let object = ObjectRef::new("Pods", "", "failed");
        found.warning(
            object,
            format!("{left} Pods that were evicted or lost are left behind"),
        );
    }
}
