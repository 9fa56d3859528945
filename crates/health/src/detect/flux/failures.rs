//! Any other failure to apply.

use super::words::{failure, story, suspects};
use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "flux-not-applied",
    layer: Layer::Flux,
    finds: "A Kustomization or HelmRelease fails in another way.",
    severity: "critical",
    fix: "look at what Flux says; `nico flux why` shows the chain",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for object in scene.index.all_flux() {
        let Some(ready) = failure(object) else {
            continue;
        };
        let story = story(object);
        if is_source(&object.reference().kind) {
            continue;
        }
        let suspects = suspects(scene, object, &story);
        found
            .critical(object.reference(), format!("is not applied: {story}"))
            .since(ready.last_transition_time)
            .suspects(suspects);
    }
}

/// Sources have a detector of their own.
fn is_source(kind: &str) -> bool {
    !matches!(kind, "Kustomization" | "HelmRelease")
}
