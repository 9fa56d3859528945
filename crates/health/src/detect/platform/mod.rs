//! Certificates, Secrets from elsewhere, gateways, tunnels.

mod acme;
mod certificates;
mod external_secrets;
mod gateways;
mod ingresses;
mod issuers;
mod routes;
mod secret_budget;
mod stores;
mod tunnel_connections;
mod tunnels;

use jiff::Timestamp;

use super::{Detector, Scene};
use crate::facts::meta::{Condition, condition};

/// In the order in which they are asked.
pub(super) const DETECTORS: &[&Detector] = &[
    &stores::DETECTOR,
    &external_secrets::DETECTOR,
    &secret_budget::DETECTOR,
    &issuers::DETECTOR,
    &acme::DETECTOR,
    &certificates::DETECTOR,
    &gateways::DETECTOR,
    &routes::DETECTOR,
    &ingresses::DETECTOR,
    &tunnels::DETECTOR,
    &tunnel_connections::DETECTOR,
];

/// Why something does not work, and since when: its controller says so, or says nothing though it
/// had the time. `made` is when the object was.
fn unready<'a>(
    scene: &Scene<'_>,
    made: Option<Timestamp>,
    conditions: &'a [Condition],
) -> Option<(Option<Timestamp>, &'a str)> {
    match condition(conditions, "Ready") {
        Some(ready) if ready.is_true() => None,
        Some(ready) => Some((ready.last_transition_time, ready.words())),
        None => scene
            .lasts(made, scene.thresholds.starting)
            .then_some((made, "nobody has looked at it")),
    }
}
