//! Any other failure to apply.

use super::failure::failures;
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
    // Sources have a detector of their own.
    for failure in failures(scene).filter(|failure| !failure.is_of_a_source()) {
        failure.tell(scene, found, "is not applied");
    }
}
