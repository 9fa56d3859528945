//! Pods that may not even be made.

use crate::detect::{Detector, Found, Scene};
use crate::facts::meta::condition;
use crate::facts::workload::Workload;
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "replicas-refused",
    layer: Layer::Workloads,
    finds: "Pods of a workload are refused when they are made: Pod security, quota, a webhook.",
    severity: "critical",
    fix: "allow what the Pods need (label of the namespace, quota), or let them need less",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for workload in scene.index.all_workloads() {
        if workload.serving() >= workload.wanted() {
            continue;
        }
        let failure =
            condition(&workload.status.conditions, "ReplicaFailure").filter(|one| one.is_true());
        let told = failure.map(|one| (one.words().to_owned(), one.last_transition_time));
        let Some((why, since)) = told.or_else(|| event(scene, workload)) else {
            continue;
        };
        let issue = found.critical(
            workload.reference(),
            format!("its Pods may not be made: {why}"),
        );
        issue.since(since);
        if why.contains("violates PodSecurity") {
            let namespace = &workload.metadata.namespace;
            issue.fix(format!(
                "let the Pods need less, or label namespace {namespace} with pod-security.kubernetes.io/enforce: privileged"
            ));
        }
        let services = super::called(&why);
        issue.suspects(services);
    }
}

/// What was said when a Pod was made last, by the workload or its newest ReplicaSet.
fn event(scene: &Scene<'_>, workload: &Workload) -> Option<(String, Option<jiff::Timestamp>)> {
    let own = &workload.metadata;
    let events = scene.world.events.iter().filter(|event| {
        let about = &event.involved_object;
        let is_own = about.kind == workload.kind && about.name == own.name;
        let is_replica_set = workload.kind == "Deployment"
            && about.kind == "ReplicaSet"
            && about
                .name
                .rsplit_once('-')
                .is_some_and(|(name, _)| name == own.name);
        event.reason == "FailedCreate"
            && about.namespace == own.namespace
            && (is_own || is_replica_set)
    });
    let event = events
        .filter(|event| scene.is_recent(event.last_seen(), scene.thresholds.recent_restart))
        .max_by_key(|event| event.last_seen())?;
    Some((event.message.clone(), event.last_seen()))
}
