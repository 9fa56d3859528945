//! A Service that nothing answers for.

use crate::detect::{Detector, Found, Scene};
use crate::facts::meta::Object;
use crate::facts::workload::Workload;
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "service-without-endpoints",
    layer: Layer::Network,
    finds: "A Service selects Pods and none of them takes requests, though the workload behind it should run.",
    severity: "warning",
    fix: "make the Pods behind it ready, or correct the selector of the Service",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    if !scene.world.endpoints.is_known() {
        return;
    }
    for service in scene.index.services_without_endpoints() {
        let metadata = &service.metadata;
        if !scene.lasts(metadata.creation_timestamp, scene.thresholds.not_ready) {
            continue;
        }
        let workloads = scene
            .index
            .workloads_selected(&metadata.namespace, &service.spec.selector);
        let workloads: Vec<&Workload> = workloads.collect();
        let pods = scene.world.pods.iter();
        let pods: Vec<_> = pods
            .filter(|pod| {
                pod.is_selected_by(&metadata.namespace, &service.spec.selector) && !pod.is_over()
            })
            .collect();
        let is_scaled_down = !workloads.is_empty() && workloads.iter().all(|one| one.wanted() == 0);
        // Selectors of operators name a leader or a primary that an idle operator does not have.
        if is_scaled_down || (workloads.is_empty() && pods.is_empty()) {
            continue;
        }
        // Pods that just came up get their turn.
        if pods.iter().any(|pod| pod.is_ready())
            || pods
                .iter()
                .any(|pod| !scene.lasts(pod.not_ready_since(), scene.thresholds.not_ready))
        {
            continue;
        }
        let suspects: Vec<ObjectRef> = pods
            .iter()
            .map(|pod| pod.reference())
            .chain(workloads.into_iter().map(Object::reference))
            .collect();
        let message = format!("no Pod behind it takes requests ({} selected)", pods.len());
        found
            .warning(service.reference(), message)
            .suspects(suspects);
    }
}
