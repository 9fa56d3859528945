//! An issuer that issues nothing.

use crate::detect::{Detector, Found, Scene};
use crate::facts::meta::condition;
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "issuer-not-ready",
    layer: Layer::Platform,
    finds: "An Issuer or ClusterIssuer of cert-manager is not Ready.",
    severity: "critical",
    fix: "look at its account, its credentials, and the way to it",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    let issuers = scene.world.cluster_issuers.iter();
    for issuer in issuers.chain(&scene.world.issuers) {
        let Some(ready) =
            condition(&issuer.status.conditions, "Ready").filter(|ready| ready.is_false())
        else {
            continue;
        };
        let message = format!("issues no certificates: {}", ready.words());
        found
            .critical(issuer.reference(), message)
            .since(ready.last_transition_time);
    }
}
