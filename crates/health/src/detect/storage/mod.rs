//! Volumes.

mod attachments;
mod filling;
mod longhorn;
mod lost_claims;
mod pending_claims;

use super::Detector;

/// In the order in which they are asked.
pub(super) const DETECTORS: &[&Detector] = &[
    &lost_claims::DETECTOR,
    &pending_claims::DETECTOR,
    &attachments::DETECTOR,
    &longhorn::DETECTOR,
    &filling::DETECTOR,
];
