//! A Kustomization whose removal removes all that it applied.

use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "kustomization-deleted",
    layer: Layer::Flux,
    finds: "A Kustomization with prune is being deleted: everything that it applied goes with it.",
    severity: "critical",
    fix: "if that is not meant: suspend what is below it at once (`flux suspend`), and restore the Kustomization",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for kustomization in &scene.world.kustomizations {
        let Some(since) = kustomization.metadata.deletion_timestamp else {
            continue;
        };
        // A suspended Kustomization leaves what it applied.
        if !kustomization.spec.prune || kustomization.spec.suspend {
            continue;
        }
        let count = kustomization.applied().count();
        let message = format!("is being deleted with all that it applied ({count} objects)");
        found
            .critical(kustomization.reference(), message)
            .since(Some(since));
    }
}
