//! An image that cannot be fetched.

use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "pod-image-pull",
    layer: Layer::Workloads,
    finds: "An image cannot be fetched, or its name is wrong.",
    severity: "critical",
    fix: "correct the image's name or tag, or the credentials of its registry",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for pod in super::alive(scene.world) {
        const REASONS: &[&str] = &[
            "ErrImagePull",
            "ImagePullBackOff",
            "InvalidImageName",
            "ErrImageNeverPull",
        ];
        let Some((container, waiting)) = pod.waiting(REASONS).next() else {
            continue;
        };
        let since = pod.not_ready_since();
        if !scene.lasts(since, scene.thresholds.pending) {
            continue;
        }
        let why = match waiting.message.as_str() {
            "" => &waiting.reason,
            message => message,
        };
        let message = format!(
            "container {}: its image cannot be fetched: {why}",
            container.name
        );
        found
            .critical(pod.reference(), message)
            .since(since)
            .suspects(super::dns(why));
    }
}
