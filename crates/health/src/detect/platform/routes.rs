//! A route that its Gateway does not take.

use crate::detect::{Detector, Found, Scene};
use crate::facts::meta::condition;
use crate::facts::network::HttpRoute;
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "route-not-accepted",
    layer: Layer::Platform,
    finds: "An HTTPRoute is not accepted by a Gateway, no Gateway looks at it, or it names something that is not there.",
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
            left_alone(scene, route, found);
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

/// Tells of a route to which none of its Gateways has said anything.
fn left_alone(scene: &Scene<'_>, route: &HttpRoute, found: &mut Found) {
    let metadata = &route.metadata;
    let made = metadata.creation_timestamp;
    let is_answered = !route.status.parents.is_empty() || route.spec.parent_refs.is_empty();
    if is_answered || !scene.lasts(made, scene.thresholds.pending) {
        return;
    }
    let parents: Vec<ObjectRef> = route
        .spec
        .parent_refs
        .iter()
        .map(|parent| {
            let home = parent.namespace.as_ref().unwrap_or(&metadata.namespace);
            ObjectRef::new("Gateway", home, &parent.name)
        })
        .collect();
    let names: Vec<String> = parents.iter().map(ToString::to_string).collect();
    let message = format!("nothing has been said to it by {}", names.join(", "));
    found
        .critical(route.reference(), message)
        .since(made)
        .suspects(parents);
}
