//! A cluster that is not what it should be, or whose rollout stands still.

use crate::detect::{Detector, Found, Scene};
use crate::facts::meta::{condition, gist};
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "cluster-not-ready",
    layer: Layer::Nico,
    finds: "A KubernetesCluster is not Ready for long, or its rollout stopped or waits. One that rolls out or is paused is healthy.",
    severity: "critical when a rollout stopped or the cluster is not Ready, a warning while a rollout waits",
    fix: "`nico status` shows the machines, `nico plan` what would be done next",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for cluster in scene
        .world
        .clusters
        .iter()
        .filter(|cluster| cluster.is_observed())
    {
        let conditions = &cluster.status.conditions;
        let metadata = &cluster.metadata;
        let rolling = condition(conditions, "RollingOut");
        let ready = condition(conditions, "Ready").filter(|ready| !ready.is_true());
        let stop = rolling
            .filter(|one| matches!(one.reason.as_str(), "NodeFailed" | "VersionChangeRefused"));
        let wait = rolling
            .filter(|one| matches!(one.reason.as_str(), "DrainBlocked" | "ClusterNotHealthy"));
        let is_rolling = rolling.is_some_and(crate::facts::meta::Condition::is_true);
        let (severity, why, what) = match (stop, wait, ready) {
            (Some(stop), _, _) => (
                crate::issue::Severity::Critical,
                stop,
                "the rollout stopped",
            ),
            (_, Some(wait), _) => (crate::issue::Severity::Warning, wait, "the rollout waits"),
            (_, _, Some(ready)) if !is_rolling && !cluster.spec.paused => {
                if !scene.lasts(ready.last_transition_time, scene.thresholds.starting) {
                    continue;
                }
                (crate::issue::Severity::Critical, ready, "is not Ready")
            }
            _ => continue,
        };
        let message = format!("{what} ({}): {}", why.reason, gist(why.words()));
        let is_own = |namespace: &String, label: Option<&str>| {
            *namespace == metadata.namespace && label == Some(metadata.name.as_str())
        };
        let machines = scene.world.machines.iter().filter(|one| {
            is_own(
                &one.metadata.namespace,
                one.metadata.label(nico_api::labels::CLUSTER),
            )
        });
        let configurations = scene.world.configurations.iter().filter(|one| {
            is_own(
                &one.metadata.namespace,
                one.metadata.label(nico_api::labels::CLUSTER),
            )
        });
        let suspects: Vec<ObjectRef> = configurations
            .map(crate::facts::meta::Object::reference)
            .chain(machines.map(crate::facts::meta::Object::reference))
            .collect();
        let issue = found.add(severity, cluster.reference(), message);
        issue.since(why.last_transition_time).suspects(suspects);
    }
}
