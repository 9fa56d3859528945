//! An object of NICO that nobody looks at.

use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "nico-not-followed",
    layer: Layer::Nico,
    finds: "The operator has not looked at the newest spec of an object of NICO for long.",
    severity: "critical",
    fix: "see that the operator runs, leads, and may read the object",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    let world = scene.world;
    let machines = world.machines.iter().map(|one| {
        (
            one.reference(),
            one.is_observed(),
            one.metadata.changed_at(),
        )
    });
    let configurations = world.configurations.iter();
    let configurations = configurations.map(|one| {
        (
            one.reference(),
            one.is_observed(),
            one.metadata.changed_at(),
        )
    });
    let clusters = world.clusters.iter().map(|one| {
        (
            one.reference(),
            one.is_observed(),
            one.metadata.changed_at(),
        )
    });
    for (object, is_observed, changed) in machines.chain(configurations).chain(clusters) {
        if is_observed || !scene.lasts(changed, scene.thresholds.flux_progressing) {
            continue;
        }
        found
            .critical(object, "the operator has not looked at its newest spec")
            .since(changed);
    }
}
