//! NICO's own objects.

mod clusters;
mod configurations;
mod followed;
mod machines;

use super::Detector;

/// In the order in which they are asked.
pub(super) const DETECTORS: &[&Detector] = &[
    &machines::DETECTOR,
    &configurations::DETECTOR,
    &clusters::DETECTOR,
    &followed::DETECTOR,
];
