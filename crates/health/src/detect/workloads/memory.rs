//! A container that needs more memory than it may have.

use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "pod-out-of-memory",
    layer: Layer::Workloads,
    finds: "A container was ended for want of memory lately.",
    severity: "critical while it is not running again, otherwise a warning",
    fix: "raise the limit, or find what needs the memory",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for pod in super::alive(scene.world) {
        let killed = pod.containers().find_map(|container| {
            let states = [&container.state, &container.last_state].into_iter();
            let mut ends = states.filter_map(|state| state.terminated.as_ref());
            let end = ends.find(|end| end.reason == "OOMKilled")?;
            Some((container, end))
        });
        let Some((container, end)) = killed else {
            continue;
        };
        let is_down = container.state.waiting.is_some() || container.state.terminated.is_some();
        if !is_down && !scene.is_recent(end.finished_at, scene.thresholds.recent_restart) {
            continue;
        }
        let message = format!(
            "container {} was ended for want of memory ({} restarts)",
            container.name, container.restart_count
        );
        let issue = match is_down {
            true => found.critical(pod.reference(), message),
            false => found.warning(pod.reference(), message),
        };
        let pressed = crate::issue::ObjectRef::new("Node", "", &pod.spec.node_name);
        issue.since(end.finished_at).suspects([pressed]);
    }
}
