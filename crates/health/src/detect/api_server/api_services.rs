//! A part of the API that an extension serves is away.

use crate::detect::{Detector, Found, Scene};
use crate::facts::meta::condition;
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "api-service-unavailable",
    layer: Layer::ApiServer,
    finds: "An APIService says that it is not available: its part of the API is away, and namespaces cannot be removed.",
    severity: "critical",
    fix: "bring back what serves it, or remove the APIService if nothing is to serve it any more",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for service in &scene.world.api_services {
        let Some(available) = condition(&service.status.conditions, "Available") else {
            continue;
        };
        if available.is_true() {
            continue;
        }
        let behind = service.spec.service.as_ref();
        let behind = behind.map(|one| ObjectRef::new("Service", &one.namespace, &one.name));
        found
            .critical(
                service.reference(),
                format!("this part of the API is away: {}", available.words()),
            )
            .since(available.last_transition_time)
            .suspects(behind);
    }
}
