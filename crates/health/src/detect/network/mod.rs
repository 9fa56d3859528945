//! Networking and DNS.

mod agents;
mod attachments;
mod dns;
mod services;

use super::Detector;

/// In the order in which they are asked.
pub(super) const DETECTORS: &[&Detector] = &[
    &dns::DETECTOR,
    &agents::DETECTOR,
    &attachments::DETECTOR,
    &services::DETECTOR,
];
