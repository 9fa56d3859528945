//! A HelmRelease that lost its rights when a failed upgrade was cleaned up.

use super::failure::{Failure, failures};
use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "helm-rights-lost",
    layer: Layer::Flux,
    finds: "A HelmRelease is forbidden to do what it did before, after an upgrade failed: the clean-up took its RBAC.",
    severity: "critical",
    fix: "roll back to the last good release, or apply its RBAC again, then retry",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for failure in failures(scene).filter(|failure| lost_its_rights(failure)) {
        failure.tell(
            scene,
            found,
            "may no longer do what it did before an upgrade failed",
        );
    }
}

fn lost_its_rights(failure: &Failure<'_>) -> bool {
    let mut history = failure.object.status().history.iter();
    failure.is_of_a_release()
        && failure.story.contains("forbidden")
        && history.any(|release| release.status == "failed")
}
