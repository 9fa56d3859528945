//! A Node that is to be empty, and a Pod that may not go.

use crate::detect::{Detector, Found, Scene};
use crate::facts::pod::is_selected;
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "drain-blocked",
    layer: Layer::Nodes,
    finds: "A cordoned Node still has Pods whose PodDisruptionBudget lets none go.",
    severity: "warning",
    fix: "give the workload one more replica, or loosen its PodDisruptionBudget until the Node is empty",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for node in scene
        .world
        .nodes
        .iter()
        .filter(|node| node.spec.unschedulable)
    {
        let since = super::cordoned_since(node);
        if !scene.lasts(since, scene.thresholds.cordoned) {
            continue;
        }
        let held = scene
            .index
            .pods_on(&node.metadata.name)
            .iter()
            .find_map(|pod| {
                let mut budgets = scene.world.disruption_budgets.iter();
                let budget = budgets.find(|budget| {
                    budget.metadata.namespace == pod.metadata.namespace
                        && budget.status.disruptions_allowed == 0
                        && budget.status.expected_pods > 0
                        && is_selected(&pod.metadata.labels, &budget.spec.selector.match_labels)
                })?;
                Some((pod, budget))
            });
        let Some((pod, budget)) = held else {
            continue;
        };
        let message = format!(
            "is cordoned, and {} may not go: {} allows no disruption",
            pod.reference(),
            budget.reference(),
        );
        let workload = crate::index::workload_of(pod);
        let object = ObjectRef::new("Node", "", &node.metadata.name);
        found
            .warning(object, message)
            .since(since)
            .suspects(workload);
    }
}
