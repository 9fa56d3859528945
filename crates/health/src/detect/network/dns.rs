//! The cluster has too few servers for names.

use crate::detect::{Detector, Found, Scene};
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "dns-degraded",
    layer: Layer::Network,
    finds: "Fewer than two Pods of the cluster's DNS are ready, or none.",
    severity: "warning for one of several, critical for none",
    fix: "look at the Pods with the label k8s-app=kube-dns in kube-system",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    let pods: Vec<_> = scene
        .world
        .pods
        .iter()
        .filter(|pod| pod.metadata.namespace == "kube-system" && !pod.is_over())
        .filter(|pod| pod.metadata.label("k8s-app") == Some("kube-dns"))
        .collect();
    let mut services = scene.world.services.iter();
    let has_service = services.any(|service| {
        service.metadata.namespace == "kube-system" && service.metadata.name == "kube-dns"
    });
    let ready = pods.iter().filter(|pod| pod.is_ready()).count();
    let is_missing = pods.is_empty() && has_service && scene.world.pods.is_known();
    if !is_missing && (ready == pods.len()) {
        return;
    }
    let object = ObjectRef::new("Service", "kube-system", "kube-dns");
    let workloads = pods.iter().filter_map(|pod| crate::index::workload_of(pod));
    let suspects: Vec<ObjectRef> = pods
        .iter()
        .filter(|pod| !pod.is_ready())
        .map(|pod| pod.reference())
        .chain(workloads)
        .collect();
    let issue = match ready {
        0 => found.critical(
            object,
            "no server of the cluster's DNS is ready: names cannot be resolved",
        ),
        1 if pods.len() > 1 => found.warning(
            object,
            format!("1 of {} servers of the cluster's DNS is ready", pods.len()),
        ),
        _ => return,
    };
    issue.suspects(suspects);
}
