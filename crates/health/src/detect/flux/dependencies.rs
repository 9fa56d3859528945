//! Something waits for another object of Flux.

use super::failure::failures;
use crate::detect::{Detector, Found, Scene};
use crate::facts::flux::FluxObject;
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "dependency-not-ready",
    layer: Layer::Flux,
    finds: "A Kustomization or HelmRelease waits for one that is not ready.",
    severity: "critical",
    fix: "put right what it waits for",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for failure in failures(scene) {
        if failure.ready.reason != "DependencyNotReady" {
            continue;
        }
        let suspects = waits_for(scene, failure.object);
        let message = match suspects.first() {
            Some(first) if scene.index.flux(first).is_none() && is_read(scene, first) => {
                format!("waits for {first}, which does not exist")
            }
            Some(first) => format!("waits for {first}"),
            None => failure.story.clone(),
        };
        found
            .critical(failure.object.reference(), message)
            .since(failure.ready.last_transition_time)
            .suspects(suspects);
    }
}

fn is_read(scene: &Scene<'_>, dependency: &ObjectRef) -> bool {
    match dependency.kind.as_str() {
        "HelmRelease" => scene.world.helm_releases.is_known(),
        _ => scene.world.kustomizations.is_known(),
    }
}

/// The dependencies that are not ready: those that are missing, and those that fail, first.
fn waits_for(scene: &Scene<'_>, object: &dyn FluxObject) -> Vec<ObjectRef> {
    let mut dependencies = object.dependencies();
    dependencies.retain(|dependency| {
        let found = scene.index.flux(dependency);
        !found.is_some_and(|found| {
            found
                .ready()
                .is_some_and(crate::facts::meta::Condition::is_true)
        })
    });
    dependencies.sort_by_key(|dependency| {
        let found = scene.index.flux(dependency);
        let waits = found
            .and_then(|found| found.ready())
            .is_some_and(|ready| ready.reason == "DependencyNotReady");
        (found.is_some(), waits)
    });
    dependencies
}
