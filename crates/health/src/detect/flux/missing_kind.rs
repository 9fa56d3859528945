//! Something is applied whose kind the cluster does not know.

use super::failure::failures;
use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "missing-kind",
    layer: Layer::Flux,
    finds: "A Kustomization or HelmRelease applies objects of a kind whose definition is not installed, or not yet.",
    severity: "critical",
    fix: "install the definitions first: make this depend on what brings them",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for failure in failures(scene) {
        if failure.story.contains("no matches for kind") {
            // What brings definitions is often something that this depends on, or that fails itself.
            failure
                .issue(found, "applies a kind that the cluster does not know")
                .suspects(failure.object.dependencies())
                .suspects(failure.suspects(scene));
        }
    }
}
