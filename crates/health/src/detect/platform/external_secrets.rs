//! A Secret from elsewhere that is missing or old.

use crate::detect::{Detector, Found, Scene, words};
use crate::facts::meta::condition;
use crate::facts::platform::ExternalSecret;
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "external-secret-not-synced",
    layer: Layer::Platform,
    finds: "An ExternalSecret is not Ready, was never looked at, or was read longer ago than twice its interval.",
    severity: "critical when not Ready, a warning when old or never looked at",
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
        let made = secret.metadata.creation_timestamp;
        let interval = secret.spec.refresh_interval.0;
        let (since, message) = match secret.status.refresh_time {
            Some(read) if !interval.is_zero() && scene.age(read) > interval.saturating_mul(2) => {
                let interval = words(interval);
                let message = format!("was not read, though it is to be read every {interval}");
                (Some(read), message)
            }
            None if ready.is_none() && scene.lasts(made, scene.thresholds.starting) => {
                (made, "nobody has looked at it".to_owned())
            }
            _ => continue,
        };
        found
            .warning(secret.reference(), message)
            .since(since)
            .suspects([store(secret)]);
    }
}

fn store(secret: &ExternalSecret) -> ObjectRef {
    let reference = &secret.spec.secret_store_ref;
    match reference.kind.as_str() {
        "ClusterSecretStore" => ObjectRef::new("ClusterSecretStore", "", &reference.name),
        _ => ObjectRef::new("SecretStore", &secret.metadata.namespace, &reference.name),
    }
}
