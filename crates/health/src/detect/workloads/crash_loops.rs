//! A container that ends again and again.

use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "pod-crash-looping",
    layer: Layer::Workloads,
    finds: "A container is in CrashLoopBackOff, init containers and sidecars among them.",
    severity: "critical",
    fix: "look at the log of its last run: `kubectl logs --previous`",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for pod in super::alive(scene.world) {
        const SURELY: u32 = 5;
        let Some((container, _)) = pod.waiting(&["CrashLoopBackOff"]).next() else {
            continue;
        };
        let since = pod.not_ready_since();
        // The pauses before the fifth restart take longer than two minutes.
        if container.restart_count < SURELY && !scene.lasts(since, scene.thresholds.crash_loop) {
            continue;
        }
        let how = container
            .last_state
            .terminated
            .as_ref()
            .map_or(String::new(), |end| {
                format!(", last with exit code {} ({})", end.exit_code, end.reason)
            });
        let probes = scene.index.events(&pod.reference());
        let probe = probes.iter().find(|event| event.reason == "Unhealthy");
        let probe = probe.map_or(String::new(), |event| format!("; {}", event.message));
        let message = format!(
            "container {} ends again and again: {} restarts{how}{probe}",
            container.name, container.restart_count
        );
        found.critical(pod.reference(), message).since(since);
    }
}
