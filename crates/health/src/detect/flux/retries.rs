//! A HelmRelease that is not tried again by itself.

use super::failure::{Failure, failures};
use crate::detect::{Detector, Found, Scene};
use crate::facts::meta::{Condition, condition};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "helm-retries-exhausted",
    layer: Layer::Flux,
    finds: "A HelmRelease has been tried as often as it may be. A new commit alone may not help.",
    severity: "critical",
    fix: "correct the values or the chart, then `nico flux reconcile` it; with --force a chart of the same version is tried again",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for failure in failures(scene).filter(is_given_up) {
        failure
            .issue(found, "is not tried again by itself")
            .suspects(super::installed(scene, &failure.object.reference()))
            .suspects(failure.suspects(scene));
    }
}

fn is_given_up(failure: &Failure<'_>) -> bool {
    let is_exhausted = |stalled: &Condition| {
        let reason = stalled.reason.as_str();
        stalled.is_true() && matches!(reason, "RetriesExceeded" | "RetriesExhausted")
    };
    let conditions = &failure.object.status().conditions;
    failure.is_of_a_release()
        && (condition(conditions, "Stalled").is_some_and(is_exhausted)
            || failure.story.contains("retries exhausted"))
}
