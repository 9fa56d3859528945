//! A store of Secrets that cannot be read.

use super::unready;
use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "secret-store-not-ready",
    layer: Layer::Platform,
    finds: "A SecretStore or ClusterSecretStore is not Ready: Secrets keep their old values, and nothing looks broken.",
    severity: "critical",
    fix: "look at its credentials, its quota, and the way to it",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    let stores = scene.world.cluster_secret_stores.iter();
    for store in stores.chain(&scene.world.secret_stores) {
        let made = store.metadata.creation_timestamp;
        let Some((since, why)) = unready(scene, made, &store.status.conditions) else {
            continue;
        };
        let message = format!("Secrets cannot be read from it: {why}");
        found.critical(store.reference(), message).since(since);
    }
}
