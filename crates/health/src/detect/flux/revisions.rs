//! A Kustomization that is Ready, at an old commit.

use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "stale-revision",
    layer: Layer::Flux,
    finds: "A Kustomization is Ready with an older revision than its source has, for longer than its interval and timeout.",
    severity: "warning",
    fix: "`nico flux reconcile kustomization NS/NAME --with-source`, and see whether the webhook receiver works",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for kustomization in &scene.world.kustomizations {
        let applied = &kustomization.status.last_applied_revision;
        if kustomization.spec.suspend || applied.is_empty() {
            continue;
        }
        let source = kustomization
            .spec
            .source_ref
            .of(&kustomization.metadata.namespace);
        let artifact = scene
            .index
            .flux(&source)
            .and_then(|source| source.status().artifact.as_ref());
        let Some(artifact) = artifact.filter(|artifact| artifact.revision != *applied) else {
            continue;
        };
        let object: &dyn crate::facts::flux::FluxObject = kustomization;
        let allowed = crate::thresholds::Span(object.interval().saturating_add(object.timeout()));
        let Some(since) = artifact
            .last_update_time
            .filter(|since| scene.age(*since) > allowed.0)
        else {
            continue;
        };
        let message = format!(
            "has {applied} applied, and {source} has {}",
            artifact.revision,
        );
        let suspects = super::controller_of(scene.world, "Kustomization");
        found
            .warning(kustomization.reference(), message)
            .since(Some(since))
            .suspects(suspects);
    }
}
