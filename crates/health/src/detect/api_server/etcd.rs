//! Members of etcd that run as Pods. Talos runs etcd outside of Pods: there are none, and nothing is said.

use crate::detect::{Detector, Found, Scene};
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "etcd-quorum",
    layer: Layer::ApiServer,
    finds: "Members of etcd that run as Pods are not ready.",
    severity: "warning while the quorum holds, critical without it",
    fix: "bring the member back before another one goes; never remove members of a cluster without quorum",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    let members: Vec<_> = scene
        .world
        .pods
        .iter()
        .filter(|pod| pod.metadata.namespace == "kube-system")
        .filter(|pod| pod.metadata.label("component") == Some("etcd"))
        .collect();
    let ready = members.iter().filter(|member| member.is_ready()).count();
    if ready == members.len() {
        return;
    }
    let quorum = members.len() / 2 + 1;
    let object = ObjectRef::new("Etcd", "kube-system", "etcd");
    let message = format!(
        "{ready} of {} members of etcd are ready, {quorum} are needed",
        members.len()
    );
    let issue = match ready < quorum {
        true => found.critical(object, message),
        false => found.warning(object, message),
    };
    let lost = members.iter().filter(|member| !member.is_ready());
    let nodes = lost.map(|member| ObjectRef::new("Node", "", &member.spec.node_name));
    issue.suspects(nodes.collect::<Vec<_>>());
}
