//! A machine that does not run what it should.

use crate::detect::{Detector, Found, Scene};
use crate::facts::meta::{condition, gist};
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "configuration-failed",
    layer: Layer::Nico,
    finds: "A NixosConfiguration failed. What is under way, staged, or waits for a machine in maintenance is healthy.",
    severity: "critical when nothing more is tried or a rollout failed on it, a warning while it is tried again",
    fix: "correct it and push: a new commit starts anew, as does a new value of the annotation nio.homystack.com/reconcile-at",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for configuration in &scene.world.configurations {
        let conditions = &configuration.status.conditions;
        let metadata = &configuration.metadata;
        let ready = condition(conditions, "Ready").filter(|ready| !ready.is_true());
        let Some(ready) = ready.filter(|_| configuration.is_observed()) else {
            continue;
        };
        if configuration.is_under_way() {
            continue;
        }
        let machine = ObjectRef::new(
            "Machine",
            &metadata.namespace,
            &configuration.spec.machine_ref.name,
        );
        let (name, reason) = (&machine.name, &ready.reason);
        let why = gist(ready.words());
        let message = format!("machine {name} does not get what it should have ({reason}): {why}");
        let issue = match configuration.is_given_up() {
            true => found.critical(configuration.reference(), message),
            false => found.warning(configuration.reference(), message),
        };
        issue.since(ready.last_transition_time).suspects([machine]);
    }
}
