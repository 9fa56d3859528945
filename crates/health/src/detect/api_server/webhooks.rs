//! A webhook that must answer before anything is written, and cannot.

use crate::detect::{Detector, Found, Scene};
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "webhook-without-backend",
    layer: Layer::ApiServer,
    finds: "A webhook with failurePolicy Fail is served by a Service without ready endpoints: what it is asked about cannot be written.",
    severity: "critical",
    fix: "bring back what serves the webhook; only if it is gone for good, delete the configuration",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    let configurations = scene.world.validating_webhooks.iter();
    for configuration in configurations.chain(&scene.world.mutating_webhooks) {
        for webhook in &configuration.webhooks {
            let Some(service) = &webhook.client_config.service else {
                continue;
            };
            let is_needed = webhook.failure_policy.as_deref() != Some("Ignore");
            let ready = scene
                .index
                .ready_endpoints(&service.namespace, &service.name);
            // Of another namespace than the one that was asked about nothing is known.
            let is_known = scene.world.endpoints.is_known() && scene.world.namespace.is_none();
            if !is_needed || !is_known || ready.unwrap_or(0) > 0 {
                continue;
            }
            let metadata = &configuration.metadata;
            let object = ObjectRef::new(configuration.kind, "", &metadata.name);
            let (namespace, name) = (&service.namespace, &service.name);
            let message = format!(
                "webhook {} must answer before anything is written, and nothing is behind its Service {namespace}/{name}",
                webhook.name
            );
            let service = ObjectRef::new("Service", namespace, name);
            found
                .critical(object, message)
                .suspects(behind(scene, namespace, name))
                .suspects([service]);
        }
    }
}

/// What should be behind a Service.
fn behind(scene: &Scene<'_>, namespace: &str, name: &str) -> Vec<ObjectRef> {
    let mut services = scene.world.services.iter();
    let service =
        services.find(|one| one.metadata.namespace == namespace && one.metadata.name == name);
    let selector = service.map(|service| &service.spec.selector);
    selector.map_or(vec![], |selector| {
        let workloads = scene.index.workloads_selected(namespace, selector);
        workloads
            .map(crate::facts::meta::Object::reference)
            .collect()
    })
}
