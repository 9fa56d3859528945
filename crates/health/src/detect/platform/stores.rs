//! A store of Secrets that cannot be read.

use crate::detect::{Detector, Found, Scene};
use crate::facts::meta::condition;
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
        let Some(ready) =
            condition(&store.status.conditions, "Ready").filter(|ready| !ready.is_true())
        else {
            continue;
        };
        let message = format!("Secrets cannot be read from it: {}", ready.words());
        found
            .critical(store.reference(), message)
            .since(ready.last_transition_time);
    }
}
