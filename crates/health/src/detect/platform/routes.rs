//! A route that its Gateway does not take.

use crate::detect::{Detector, Found, Scene};
use crate::facts::meta::condition;
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "route-not-accepted",
    layer: Layer::Platform,
    finds: "An HTTPRoute is not accepted by a Gateway, or names something that is not there.",
    severity: "critical",
    fix: "correct the route's parent, host name or backend",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for route in &scene.world.http_routes {
        let namespace = &route.metadata.namespace;
        let refused = route.status.parents.iter().find_map(|parent| {
            let mut kinds = ["Accepted", "ResolvedRefs"].into_iter();
            let one = kinds.find_map(|kind| {
                condition(&parent.conditions, kind).filter(|one| one.is_false())
            })?;
            Some((parent, one))
        });
        let Some((parent, condition)) = refused else {
            continue;
        };
        let home = parent.parent_ref.namespace.as_ref().unwrap_or(namespace);
        let gateway = ObjectRef::new("Gateway", home, &parent.parent_ref.name);
        let message = format!("does not work on {gateway}: {}", condition.words());
        found
            .critical(route.reference(), message)
            .since(condition.last_transition_time)
            .suspects([gateway]);
    }
}
