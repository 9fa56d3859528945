//! Something is not applied because a webhook does not answer.

use super::failure::failures;
use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "webhook-call-failed",
    layer: Layer::Flux,
    finds: "A Kustomization or HelmRelease is not applied because a webhook does not answer.",
    severity: "critical",
    fix: "bring back what serves the webhook",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for failure in
        failures(scene).filter(|failure| failure.story.contains("failed calling webhook"))
    {
        failure.tell(scene, found, "a webhook does not answer");
    }
}
