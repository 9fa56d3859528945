//! An object of Flux that says neither yes nor no.

use crate::detect::{Detector, Found, Scene};
use crate::facts::meta::condition;
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "flux-not-progressing",
    layer: Layer::Flux,
    finds: "An object of Flux has been neither ready nor failed for long, or its controller does not look at it.",
    severity: "warning",
    fix: "see that its controller runs and reaches the API server",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for object in scene.index.all_flux() {
        if object.is_suspended() || object.deleted_at().is_some() || is_static(object) {
            continue;
        }
        let ready = condition(&object.status().conditions, "Ready");
        let (since, what) = match ready {
            Some(ready) if !object.is_current(ready) => (
                object.changed_at(),
                "its controller has not looked at its newest spec",
            ),
            Some(ready) if ready.status == "Unknown" || ready.reason == "Progressing" => {
                (ready.last_transition_time, "is neither ready nor failed")
            }
            Some(_) => continue,
            None => (object.changed_at(), "its controller has never looked at it"),
        };
        let threshold = scene.thresholds.flux_progressing.0;
        let threshold = threshold.saturating_add(object.timeout());
        if !scene.lasts(since, crate::thresholds::Span(threshold)) {
            continue;
        }
        let reference = object.reference();
        let mut suspects = super::controller_of(scene.world, &reference.kind);
        suspects.extend(object.source());
        suspects.extend(super::installed(scene, &reference));
        found
            .warning(reference, what)
            .since(since)
            .suspects(suspects);
    }
}

/// A HelmRepository of type `oci` has no status.
fn is_static(object: &dyn crate::facts::flux::FluxObject) -> bool {
    object.reference().kind == "HelmRepository" && object.status().conditions.is_empty()
}
