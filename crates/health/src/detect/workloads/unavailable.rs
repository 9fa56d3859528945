//! A workload with too few Pods.

use crate::detect::{Detector, Found, Scene};
use crate::facts::meta::condition;
use crate::facts::workload::Workload;
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "workload-unavailable",
    layer: Layer::Workloads,
    finds: "A Deployment, StatefulSet or DaemonSet has fewer Pods that serve than it should, for long.",
    severity: "critical when none serves, otherwise a warning",
    fix: "look at its Pods",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for workload in scene.index.all_workloads() {
        let (wanted, serving) = (workload.wanted(), workload.serving());
        if serving >= wanted || workload.spec.paused || !workload.is_observed() {
            continue;
        }
        let reference = workload.reference();
        let Some(why) = lasting(scene, workload) else {
            continue;
        };
        let pods = scene.index.pods_of(&reference);
        let lost: Vec<ObjectRef> = pods
            .iter()
            .filter(|pod| !pod.is_ready())
            .map(|pod| pod.reference())
            .collect();
        let nodes: Vec<ObjectRef> = pods
            .iter()
            .filter(|pod| !pod.is_ready() && !pod.spec.node_name.is_empty())
            .map(|pod| ObjectRef::new("Node", "", &pod.spec.node_name))
            .collect();
        let message = format!("{serving} of {wanted} Pods serve{why}");
        let issue = match serving {
            0 => found.critical(reference, message),
            _ => found.warning(reference, message),
        };
        issue.suspects(lost).suspects(nodes);
    }
}

/// Whether the lack is more than what a rollout brings with it, and what is said of it.
fn lasting(scene: &Scene<'_>, workload: &Workload) -> Option<String> {
    let conditions = &workload.status.conditions;
    let threshold = scene.thresholds.not_ready;
    let progressing = condition(conditions, "Progressing");
    if let Some(given_up) = progressing.filter(|one| one.reason == "ProgressDeadlineExceeded") {
        return Some(format!(": {}", given_up.words()));
    }
    if let Some(available) = condition(conditions, "Available") {
        let is_long =
            available.is_false() && scene.lasts(available.last_transition_time, threshold);
        return is_long.then(String::new);
    }
    if !scene.lasts(workload.metadata.creation_timestamp, threshold) {
        return None;
    }
    let pods = scene.index.pods_of(&workload.reference());
    let is_young = |since| !scene.lasts(since, threshold);
    let is_rolling = pods.iter().any(|pod| {
        pod.metadata.deletion_timestamp.is_some() || is_young(pod.metadata.creation_timestamp)
    });
    let is_waiting = pods
        .iter()
        .filter(|pod| !pod.is_ready())
        .all(|pod| is_young(pod.not_ready_since()));
    let has_all = u32::try_from(pods.len()).unwrap_or(u32::MAX) >= workload.wanted();
    let is_passing = is_rolling || (has_all && is_waiting);
    (!is_passing).then(String::new)
}
