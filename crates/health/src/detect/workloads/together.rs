//! Copies that are lost together.

use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "replicas-on-one-node",
    layer: Layer::Workloads,
    finds: "All Pods of a workload in a critical namespace are on one Node, though there are others.",
    severity: "warning",
    fix: "spread them: topologySpreadConstraints or anti-affinity",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    let schedulable = scene
        .world
        .nodes
        .iter()
        .filter(|node| !node.spec.unschedulable)
        .count();
    if schedulable < 2 {
        return;
    }
    let is_critical = |namespace: &String| scene.thresholds.critical_namespaces.contains(namespace);
    for workload in scene.index.all_workloads() {
        if workload.kind == "DaemonSet" || !is_critical(&workload.metadata.namespace) {
            continue;
        }
        let reference = workload.reference();
        let pods = scene.index.pods_of(&reference);
        let ready: Vec<_> = pods.iter().filter(|pod| pod.is_ready()).collect();
        let Some(first) = ready.first().filter(|_| ready.len() >= 2) else {
            continue;
        };
        let node = &first.spec.node_name;
        if ready.iter().all(|pod| pod.spec.node_name == *node) {
            let message = format!("all {} Pods are on Node {node}", ready.len());
            found.warning(reference, message);
        }
    }
}
