//! An issuer that issues nothing.

use super::unready;
use crate::detect::{Detector, Found, Scene};
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
        let Some((since, why)) = unready(scene, made, &issuer.status.conditions) else {
            continue;
        };
        let message = format!("issues no certificates: {why}");
        found.critical(issuer.reference(), message).since(since);
    }
}
