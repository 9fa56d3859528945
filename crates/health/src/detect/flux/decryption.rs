//! A Kustomization whose encrypted files cannot be read.

use super::failure::failures;
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
    for failure in failures(scene).filter(|failure| {
        failure.ready.reason == "BuildFailed" && failure.story.contains("decrypt")
    }) {
        failure.tell(scene, found, "cannot decrypt its files");
    }
}
