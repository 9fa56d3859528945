//! A controller of Flux that does not run.

use crate::detect::{Detector, Found, Scene};
use crate::facts::meta::Object;
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "flux-controller-down",
    layer: Layer::Flux,
    finds: "A controller of Flux (or the Flux operator) has no available Pod: what it keeps is not kept.",
    severity: "critical",
    fix: "look at its Pod; nothing that it keeps is applied until it runs",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for controller in super::controllers(scene.world) {
        if controller.wanted() == 0 || controller.serving() > 0 || !controller.is_observed() {
            continue;
        }
        let reference = controller.reference();
        let pods = scene.index.pods_of(&reference);
        let since = pods.iter().filter_map(|pod| pod.not_ready_since()).min();
        if !scene.lasts(since, scene.thresholds.crash_loop) {
            continue;
        }
        let pods: Vec<_> = pods.iter().map(|pod| Object::reference(*pod)).collect();
        found
            .critical(reference, "this controller of Flux does not run")
            .since(since)
            .suspects(pods);
    }
}
