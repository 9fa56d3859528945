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
        let made = issuer.metadata.creation_timestamp;
        let (since, why) = match condition(&issuer.status.conditions, "Ready") {
            Some(ready) if !ready.is_true() => (ready.last_transition_time, ready.words()),
            None if scene.lasts(made, scene.thresholds.starting) => {
                (made, "nobody has looked at it")
            }
            _ => continue,
        };
        let message = format!("issues no certificates: {why}");
        found.critical(issuer.reference(), message).since(since);
    }
}
