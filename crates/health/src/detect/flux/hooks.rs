//! A HelmRelease that waits for a hook, which waits for the release.

use super::failure::{Failure, failures};
use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "helm-hook-stuck",
    layer: Layer::Flux,
    finds: "A HelmRelease waits for a hook Job, or for Pods whose init containers wait for that Job.",
    severity: "critical",
    fix: "run the Job outside of hooks (many charts have useHelmHooks or the like), then retry",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for failure in
        failures(scene).filter(|failure| failure.is_of_a_release() && is_stuck(scene, failure))
    {
        failure.tell(scene, found, "a hook of the chart does not end");
    }
}

/// The chart's own words, or Pods that wait in an init container while nothing else is wrong.
fn is_stuck(scene: &Scene<'_>, failure: &Failure<'_>) -> bool {
    let story = &failure.story;
    let has_timed_out = ["timed out", "timeout", "deadline exceeded"]
        .iter()
        .any(|words| story.contains(words));
    if !has_timed_out {
        return false;
    }
    let is_hook = ["pre-install", "post-install", "pre-upgrade", "post-upgrade"];
    if is_hook.iter().any(|words| story.contains(words)) {
        return true;
    }
    let installed = super::installed(scene, &failure.object.reference());
    let mut pods = installed
        .iter()
        .flat_map(|workload| scene.index.pods_of(workload));
    pods.any(|pod| {
        pod.status.phase == "Pending"
            && pod.status.init_container_statuses.iter().any(|init| {
                init.state.terminated.is_none()
                    && init.state.waiting.is_none()
                    && init.restart_count == 0
            })
    })
}
