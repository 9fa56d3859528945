//! A tunnel whose Pods are ready and carry nothing. Seen only when their logs were read.

use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "tunnel-without-connection",
    layer: Layer::Platform,
    finds: "With `--closer`: the Pods of a tunnel (cloudflared) are ready, and the log of each says that all its connections are down.",
    severity: "critical",
    fix: "see whether UDP 7844 gets out (else use the protocol http2), and whether the tunnel's token is still valid",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    let workloads = scene.index.all_workloads();
    for workload in workloads.filter(|workload| workload.is_tunnel()) {
        let reference = workload.reference();
        let pods = scene.index.pods_of(&reference).iter();
        let known: Vec<bool> = pods
            .filter_map(|pod| scene.world.closer.tunnels.get(&pod.reference()).copied())
            .map(|has_connection| has_connection.unwrap_or(true))
            .collect();
        if !known.is_empty() && known.iter().all(|has_connection| !has_connection) {
            let message = "its Pods are ready and none has a connection: nothing comes in";
            found.critical(reference, message);
        }
    }
}
