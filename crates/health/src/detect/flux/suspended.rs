//! Something that was suspended and forgotten.

use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "suspended-for-long",
    layer: Layer::Flux,
    finds: "An object of Flux has been suspended for long. Younger ones, and those of unknown age, are healthy.",
    severity: "warning",
    fix: "`flux resume` it, or take it out of the repository",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for object in scene
        .index
        .all_flux()
        .filter(|object| object.is_suspended())
    {
        let since = object.suspended_at();
        if since.is_none() || !scene.lasts(since, scene.thresholds.suspended) {
            continue;
        }
        found
            .warning(object.reference(), "is suspended")
            .since(since);
    }
}
