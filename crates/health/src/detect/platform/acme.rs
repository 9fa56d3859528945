//! A proof of a domain that fails or does not come.

use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "acme-step-stuck",
    layer: Layer::Platform,
    finds: "An Order or Challenge of cert-manager failed, or is pending for long.",
    severity: "warning",
    fix: "see that the domain's records, or the path for the proof, can be reached from outside",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    let steps = scene.world.challenges.iter();
    for step in steps.chain(&scene.world.orders) {
        let since = step.metadata.creation_timestamp;
        let why = match step.status.reason.as_str() {
            "" => String::new(),
            why => format!(": {why}"),
        };
        let domain = match step.spec.dns_name.as_str() {
            "" => String::new(),
            name => format!(" for {name}"),
        };
        let message = match step.status.state.as_str() {
            "invalid" | "errored" | "expired" => format!("is {}{domain}{why}", step.status.state),
            "pending" | "processing" | ""
                if scene.lasts(since, scene.thresholds.certificate_not_ready) =>
            {
                format!("is pending{domain}{why}")
            }
            _ => continue,
        };
        found.warning(step.reference(), message).since(since);
    }
}
