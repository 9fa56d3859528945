//! A change of a field that cannot be changed.

use super::failure::failures;
use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "immutable-field",
    layer: Layer::Flux,
    finds: "A change is refused because a field cannot be changed (Job, selector, volume claim template).",
    severity: "critical",
    fix: "delete the object that is named so that it is made anew, if its data bears that; or take the change back",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for failure in failures(scene).filter(|failure| is_immutable(&failure.story)) {
        failure.tell(scene, found, "changes what cannot be changed");
    }
}

fn is_immutable(story: &str) -> bool {
    ["field is immutable", "updates to statefulset spec"]
        .iter()
        .any(|words| story.contains(words))
}
