//! A machine that is not reached.

use crate::detect::{Detector, Found, Scene};
use crate::facts::meta::{condition, gist};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "machine-not-reachable",
    layer: Layer::Nico,
    finds: "A Machine is not Ready. One in maintenance is healthy.",
    severity: "critical when it belongs to a cluster or carries a configuration, otherwise a warning",
    fix: "see that the machine is on and reachable; if its host key changed on purpose, trust the new one (docs/troubleshooting.md)",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for machine in scene
        .world
        .machines
        .iter()
        .filter(|one| !one.spec.maintenance)
    {
        let ready = condition(&machine.status.conditions, "Ready").filter(|ready| !ready.is_true());
        let Some(ready) = ready.filter(|_| machine.is_observed()) else {
            continue;
        };
        let reachable =
            condition(&machine.status.conditions, "Reachable").filter(|one| !one.is_true());
        let why = reachable.unwrap_or(ready);
        let is_used = machine.status.has_configuration
            || machine.metadata.label(nico_api::labels::CLUSTER).is_some();
        let what = match reachable {
            Some(_) => "is not reached",
            None => "is not ready",
        };
        let message = format!("{what} ({}): {}", why.reason, gist(why.words()));
        let issue = match is_used {
            true => found.critical(machine.reference(), message),
            false => found.warning(machine.reference(), message),
        };
        issue.since(why.last_transition_time);
    }
}
