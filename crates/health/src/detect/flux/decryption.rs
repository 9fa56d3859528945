//! A Kustomization whose encrypted files cannot be read.

use super::words::{failure, story, suspects};
use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "decryption-failed",
    layer: Layer::Flux,
    finds: "A Kustomization cannot decrypt its files: all that it keeps is frozen.",
    severity: "critical",
    fix: "put the key that the files are encrypted for into the Secret of spec.decryption, or encrypt them anew; never force",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for object in scene.index.all_flux() {
        let Some(ready) = failure(object) else {
            continue;
        };
        let story = story(object);
        if !(ready.reason == "BuildFailed" && story.contains("decrypt")) {
            continue;
        }
        let suspects = suspects(scene, object, &story);
        found
            .critical(
                object.reference(),
                format!("cannot decrypt its files: {story}"),
            )
            .since(ready.last_transition_time)
            .suspects(suspects);
    }
}
