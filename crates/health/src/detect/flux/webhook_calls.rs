//! Something is not applied because a webhook does not answer.

use super::words::{failure, story, suspects};
use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "webhook-call-failed",
    layer: Layer::Flux,
    finds: "A Kustomization or HelmRelease is not applied because a webhook does not answer.",
    severity: "critical",
    fix: "bring back what serves the webhook",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for object in scene.index.all_flux() {
        let Some(ready) = failure(object) else {
            continue;
        };
        let story = story(object);
        if !(story.contains("failed calling webhook")) {
            continue;
        }
        let suspects = suspects(scene, object, &story);
        found
            .critical(
                object.reference(),
                format!("a webhook does not answer: {story}"),
            )
            .since(ready.last_transition_time)
            .suspects(suspects);
    }
}
