//! A HelmRelease that is not tried again by itself.

use super::words::{failure, story, suspects};
use crate::detect::{Detector, Found, Scene};
use crate::facts::meta::condition;
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "helm-retries-exhausted",
    layer: Layer::Flux,
    finds: "A HelmRelease has been tried as often as it may be. A new commit alone may not help.",
    severity: "critical",
    fix: "correct the values or the chart, then `nico flux reconcile` it; with --force a chart of the same version is tried again",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for release in &scene.world.helm_releases {
        let Some(ready) = failure(release) else {
            continue;
        };
        let stalled =
            condition(&release.status.conditions, "Stalled").filter(|stalled| stalled.is_true());
        let is_exhausted = |reason: &str| matches!(reason, "RetriesExceeded" | "RetriesExhausted");
        let is_over = stalled.is_some_and(|stalled| is_exhausted(&stalled.reason))
            || story(release).contains("retries exhausted");
        if !is_over {
            continue;
        }
        let story = story(release);
        let suspects = suspects(scene, release, &story);
        let mut installed = super::installed(scene, &release.reference());
        installed.extend(suspects);
        found
            .critical(
                release.reference(),
                format!("is not tried again by itself: {story}"),
            )
            .since(ready.last_transition_time)
            .suspects(installed);
    }
}
