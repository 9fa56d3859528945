//! A Job that failed and was not made good.

use crate::detect::{Detector, Found, Scene};
use crate::facts::meta::condition;
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "job-failed",
    layer: Layer::Workloads,
    finds: "A Job failed lately, and no later one of its CronJob was done.",
    severity: "warning",
    fix: "look at the log of its Pods",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for job in &scene.world.jobs {
        let failed = condition(&job.status.conditions, "Failed").filter(|failed| failed.is_true());
        let Some(failed) = failed else { continue };
        let when = failed.last_transition_time;
        let owner = job.metadata.controller();
        let is_made_good = owner.is_some_and(|owner| {
            scene.world.jobs.iter().any(|other| {
                let is_of_same = other.metadata.namespace == job.metadata.namespace
                    && other
                        .metadata
                        .controller()
                        .is_some_and(|one| one.name == owner.name && one.kind == owner.kind);
                is_of_same && other.status.completion_time > when
            })
        });
        if !is_made_good && scene.is_recent(when, scene.thresholds.failed_job) {
            let reference = job.reference();
            let pods: Vec<_> = scene
                .index
                .pods_of(&reference)
                .iter()
                .map(|pod| pod.reference())
                .collect();
            let message = format!("failed: {}", failed.words());
            found.warning(reference, message).since(when).suspects(pods);
        }
    }
}
