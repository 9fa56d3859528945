//! What could not be read, and for which layers that matters.

use std::collections::BTreeMap;

use crate::collect;
use crate::issue::Layer;
use crate::needs::looked_at;
use crate::report::Gap;
use crate::world::{Kind, Outcome, World};

/// What could not be read, by the layers that are not known for it: a kind's own, and the others
/// that look at it.
pub(super) fn of(world: &World, layers: &[Layer]) -> BTreeMap<Layer, Vec<Gap>> {
    let mut gaps: BTreeMap<Layer, Vec<Gap>> = BTreeMap::new();
    let mut add = |layer: Layer, what: String, why: String, is_absent: bool| {
        let gap = Gap {
            what,
            why,
            is_absent,
        };
        gaps.entry(layer).or_default().push(gap);
    };
    if let Some(Err(why)) = &world.checks {
        let what = "the API server's own checks".to_owned();
        add(Layer::ApiServer, what, why.clone(), false);
    }
    if let Some(namespace) = missing_namespace(world) {
        let workloads = layers.iter().find(|layer| **layer == Layer::Workloads);
        if let Some(layer) = workloads.or(layers.first()) {
            let what = format!("namespace {namespace}");
            add(*layer, what, "is not there".to_owned(), false);
        }
    }
    for (kind, outcome, _) in world.outcomes() {
        let what = format!("{} objects", kind.name);
        if let Some(why) = collect::reason(outcome) {
            let is_absent = is_absent(kind, outcome);
            if !is_absent {
                for layer in layers.iter().filter(|layer| looks_at(**layer, kind, world)) {
                    add(*layer, what.clone(), why.clone(), false);
                }
            }
            add(kind.layer, what, why, is_absent);
        }
        if let Outcome::Known { malformed } = outcome {
            for object in malformed {
                let name = object.split(": ").next().unwrap_or_default();
                let what = format!("{} {name}", kind.name);
                add(kind.layer, what, "cannot be understood".to_owned(), false);
            }
        }
    }
    for unread in &world.closer.unread {
        add(unread.layer, unread.what.clone(), unread.why.clone(), false);
    }
    gaps
}

/// The namespace that is asked about, when it is known that there is none of that name: nothing
/// in it is no sign of health.
fn missing_namespace(world: &World) -> Option<&str> {
    let asked = world.namespace.as_deref()?;
    let is_known = matches!(world.namespaces.outcome, Outcome::Known { .. });
    let mut names = world.namespaces.iter().map(|one| &one.metadata.name);
    (is_known && !names.any(|name| name == asked)).then_some(asked)
}

/// No cluster has every kind that there is; a built-in one that is missing is in doubt.
fn is_absent(kind: &Kind, outcome: &Outcome) -> bool {
    *outcome == Outcome::Absent && !kind.is_built_in
}

/// Whether a layer that is not the kind's own looks at it.
fn looks_at(layer: Layer, kind: &Kind, world: &World) -> bool {
    layer != kind.layer && looked_at(layer, world).contains(&kind.name)
}
