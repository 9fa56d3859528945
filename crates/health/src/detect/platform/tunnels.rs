//! A tunnel into the cluster that does not run.

use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "tunnel-down",
    layer: Layer::Platform,
    finds: "No Pod of a tunnel (cloudflared) is ready.",
    severity: "critical",
    fix: "look at its log: token, and whether UDP 7844 gets out (else use the protocol http2)",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for workload in scene.index.all_workloads() {
        let is_off = workload.wanted() == 0 || workload.serving() > 0;
        if !workload.is_tunnel() || is_off || !workload.is_observed() {
            continue;
        }
        let reference = workload.reference();
        let pods = scene.index.pods_of(&reference);
        let since = pods.iter().filter_map(|pod| pod.not_ready_since()).min();
        if scene.lasts(since, scene.thresholds.crash_loop) {
            let pods: Vec<_> = pods.iter().map(|pod| pod.reference()).collect();
            found
                .critical(reference, "no Pod of the tunnel is ready: nothing comes in")
                .since(since)
                .suspects(pods);
        }
    }
}
