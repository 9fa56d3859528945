//! Something is applied whose kind the cluster does not know.

use super::words::{failure, story, suspects};
use crate::detect::{Detector, Found, Scene};
use crate::facts::flux::FluxObject;
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "missing-kind",
    layer: Layer::Flux,
    finds: "A Kustomization or HelmRelease applies objects of a kind whose definition is not installed, or not yet.",
    severity: "critical",
    fix: "install the definitions first: make this depend on what brings them",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for object in scene.index.all_flux() {
        let Some(ready) = failure(object) else {
            continue;
        };
        let story = story(object);
        if !(story.contains("no matches for kind")) {
            continue;
        }
        let suspects = dependencies(scene, object, &story);
        found
            .critical(
                object.reference(),
                format!("applies a kind that the cluster does not know: {story}"),
            )
            .since(ready.last_transition_time)
            .suspects(suspects);
    }
}

/// What brings definitions is often something that this depends on, or that fails itself.
fn dependencies(scene: &Scene<'_>, object: &dyn FluxObject, story: &str) -> Vec<ObjectRef> {
    let mut all = object.dependencies();
    all.extend(suspects(scene, object, story));
    all
}
