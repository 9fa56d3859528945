//! A Pod whose containers are started often.

use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "pod-restarting",
    layer: Layer::Workloads,
    finds: "Containers of a Pod were started often, and lately.",
    severity: "warning",
    fix: "look at the log of its last run: `kubectl logs --previous`",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for pod in super::alive(scene.world) {
        let last = pod
            .containers()
            .filter_map(|one| one.last_state.terminated.as_ref());
        let last = last.max_by_key(|end| end.finished_at);
        let Some(end) =
            last.filter(|end| scene.is_recent(end.finished_at, scene.thresholds.recent_restart))
        else {
            continue;
        };
        let restarts = pod.restarts();
        if restarts > scene.thresholds.restarts {
            let message = format!(
                "{restarts} restarts, the last after exit code {} ({})",
                end.exit_code, end.reason
            );
            found.warning(pod.reference(), message);
        }
    }
}
