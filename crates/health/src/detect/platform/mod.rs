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

use super::Detector;

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
