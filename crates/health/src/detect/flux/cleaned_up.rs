//! A HelmRelease that lost its rights when a failed upgrade was cleaned up.

use super::words::{failure, story, suspects};
use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "helm-rights-lost",
    layer: Layer::Flux,
    finds: "A HelmRelease is forbidden to do what it did before, after an upgrade failed: the clean-up took its RBAC.",
    severity: "critical",
    fix: "roll back to the last good release, or apply its RBAC again, then retry",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for object in scene.index.all_flux() {
        let Some(ready) = failure(object) else {
            continue;
        };
        let story = story(object);
        if !(object.reference().kind == "HelmRelease"
            && story.contains("forbidden")
            && object
                .status()
                .history
                .iter()
                .any(|release| release.status == "failed"))
        {
            continue;
        }
        let suspects = suspects(scene, object, &story);
        found
            .critical(
                object.reference(),
                format!("may no longer do what it did before an upgrade failed: {story}"),
            )
            .since(ready.last_transition_time)
            .suspects(suspects);
    }
}
