//! A claim whose volume is gone.

use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "claim-lost",
    layer: Layer::Storage,
    finds: "A PersistentVolumeClaim is Lost: its volume is gone.",
    severity: "critical",
    fix: "restore the volume from a backup under the same name, or delete the claim and restore the data",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for claim in scene
        .world
        .claims
        .iter()
        .filter(|claim| claim.status.phase == "Lost")
    {
        found.critical(claim.reference(), "the volume of this claim is gone");
    }
}
