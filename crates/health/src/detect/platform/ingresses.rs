//! An Ingress that its controller does not serve.

use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;
use std::collections::BTreeSet;

pub(super) static DETECTOR: Detector = Detector {
    id: "ingress-without-address",
    layer: Layer::Platform,
    finds: "An Ingress has no address, though others of its class have one.",
    severity: "warning",
    fix: "see what its controller says of it",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    let has_address =
        |one: &&crate::facts::network::Ingress| !one.status.load_balancer.ingress.is_empty();
    let served: BTreeSet<&str> = scene
        .world
        .ingresses
        .iter()
        .filter(has_address)
        .map(|one| one.spec.ingress_class_name.as_str())
        .collect();
    for ingress in scene.world.ingresses.iter().filter(|one| !has_address(one)) {
        let since = ingress.metadata.creation_timestamp;
        let class = ingress.spec.ingress_class_name.as_str();
        if served.contains(class) && scene.lasts(since, scene.thresholds.starting) {
            let message = format!("has no address, though others of class {class} have one");
            found.warning(ingress.reference(), message).since(since);
        }
    }
}
