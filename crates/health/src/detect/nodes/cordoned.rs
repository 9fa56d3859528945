//! A Node that was cordoned and forgotten.

use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "node-cordoned",
    layer: Layer::Nodes,
    finds: "A Node is cordoned for long, and neither NICO drains it nor its Machine is in maintenance.",
    severity: "warning",
    fix: "`kubectl uncordon` it, or set `spec.maintenance` of its Machine if that is on purpose",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for node in scene
        .world
        .nodes
        .iter()
        .filter(|node| node.spec.unschedulable)
    {
        let since = super::cordoned_since(node);
        let metadata = &node.metadata;
        let by_nico = metadata.annotation(nico_api::labels::CORDONED) == Some("true");
        let machines = scene.world.machines.iter();
        let mut own = machines.filter(|machine| machine.metadata.name == metadata.name);
        let is_on_purpose = by_nico || own.any(|machine| machine.spec.maintenance);
        if is_on_purpose || !scene.lasts(since, scene.thresholds.cordoned) {
            continue;
        }
        found
            .warning(node.reference(), "is cordoned: no new Pod is put on it")
            .since(since);
    }
}
