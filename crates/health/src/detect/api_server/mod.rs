//! The API server, etcd, and what the API server calls.

mod api_services;
mod etcd;
mod readiness;
mod terminating;
mod webhooks;

use super::Detector;

/// In the order in which they are asked.
pub(super) const DETECTORS: &[&Detector] = &[
    &readiness::DETECTOR,
    &etcd::DETECTOR,
    &api_services::DETECTOR,
    &webhooks::DETECTOR,
    &terminating::DETECTOR,
];
