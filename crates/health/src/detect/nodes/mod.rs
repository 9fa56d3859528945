//! Nodes.

mod cordoned;
mod drain;
mod pressure;
mod readiness;
mod restarts;
mod versions;

use jiff::Timestamp;

use super::Detector;
use crate::facts::node::Node;

/// In the order in which they are asked.
pub(super) const DETECTORS: &[&Detector] = &[
    &readiness::DETECTOR,
    &pressure::DETECTOR,
    &drain::DETECTOR,
    &cordoned::DETECTOR,
    &restarts::DETECTOR,
    &versions::DETECTOR,
];

/// When a Node was cordoned, as its taint says.
fn cordoned_since(node: &Node) -> Option<Timestamp> {
    let mut taints = node.spec.taints.iter();
    let taint = taints.find(|taint| taint.key == "node.kubernetes.io/unschedulable")?;
    taint.time_added
}
