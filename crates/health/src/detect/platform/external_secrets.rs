//! A Secret from elsewhere that is missing or old.

use crate::detect::{Detector, Found, Scene, words};
use crate::facts::meta::condition;
use crate::facts::platform::ExternalSecret;
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "external-secret-not-synced",
    layer: Layer::Platform,
    finds: "An ExternalSecret is not Ready, or was read longer ago than twice its interval.",
    severity: "critical when not Ready, a warning when old",
    fix: "see that its store is ready and has the key",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for secret in &scene.world.external_secrets {
        let ready = condition(&secret.status.conditions, "Ready");
        if let Some(ready) = ready.filter(|ready| ready.is_false()) {
            let message = format!("is not read: {}", ready.words());
            found
                .critical(secret.reference(), message)
                .since(ready.last_transition_time)
                .suspects([store(secret)]);
            continue;
        }
        let interval = secret.spec.refresh_interval.0;
        let Some(read) = secret.status.refresh_time.filter(|_| !interval.is_zero()) else {
            continue;
        };
        if scene.age(read) > interval * 2 {
            let message = format!(
                "was read {} ago, though it is to be read every {}",
                words(scene.age(read)),
                words(interval)
            );
            found
                .warning(secret.reference(), message)
                .since(Some(read))
                .suspects([store(secret)]);
        }
    }
}

fn store(secret: &ExternalSecret) -> ObjectRef {
    let reference = &secret.spec.secret_store_ref;
    match reference.kind.as_str() {
        "ClusterSecretStore" => ObjectRef::new("ClusterSecretStore", "", &reference.name),
        _ => ObjectRef::new("SecretStore", &secret.metadata.namespace, &reference.name),
    }
}
