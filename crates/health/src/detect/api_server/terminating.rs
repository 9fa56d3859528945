//! Namespaces and definitions that are to be gone and are not.

use crate::detect::{Detector, Found, Scene};
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "stuck-terminating",
    layer: Layer::ApiServer,
    finds: "A Namespace or CustomResourceDefinition is being deleted for long.",
    severity: "warning",
    fix: "find the objects with the finalizers that are named and let their controllers finish; take a finalizer away only when its controller is gone",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for namespace in &scene.world.namespaces {
        let Some(since) = namespace.metadata.deletion_timestamp else {
            continue;
        };
        if !scene.lasts(Some(since), scene.thresholds.terminating) {
            continue;
        }
        let holding = namespace
            .status
            .conditions
            .iter()
            .filter(|one| one.is_true());
        let why: Vec<&str> = holding.map(crate::facts::meta::Condition::words).collect();
        let message = format!("is being deleted: {}", or_unknown(&why.join("; ")));
        let unavailable = scene
            .world
            .api_services
            .iter()
            .map(crate::facts::meta::Object::reference);
        found
            .warning(namespace.reference(), message)
            .since(Some(since))
            .suspects(unavailable);
    }
    for definition in &scene.world.definitions {
        let Some(since) = definition.metadata.deletion_timestamp else {
            continue;
        };
        if !scene.lasts(Some(since), scene.thresholds.terminating) {
            continue;
        }
        let finalizers = definition.metadata.finalizers.join(", ");
        let message = match finalizers.as_str() {
            "" => "is being deleted: it is not said what holds it".to_owned(),
            finalizers => format!("is being deleted, held by {finalizers}"),
        };
        let object = ObjectRef::new("CustomResourceDefinition", "", &definition.metadata.name);
        found.warning(object, message).since(Some(since));
    }
}

fn or_unknown(text: &str) -> &str {
    match text {
        "" => "it is not said what holds it",
        text => text,
    }
}
