//! More reads of a store than it allows in a day.

use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;
pub(super) static DETECTOR: Detector = Detector {
    id: "secret-reads-over-budget",
    layer: Layer::Platform,
    finds: "The ExternalSecrets of a store that counts reads (1Password) add up to more in a day than it allows.",
    severity: "warning",
    fix: "refresh less often, or read several keys at once",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    let stores = &scene.world.cluster_secret_stores;
    for store in stores.iter().chain(&scene.world.secret_stores) {
        if !store
            .spec
            .provider
            .keys()
            .any(|provider| provider.starts_with("onepassword"))
        {
            continue;
        }
        let mut sum = 0_u64;
        for secret in &scene.world.external_secrets {
            let reference = &secret.spec.secret_store_ref;
            let is_cluster = reference.kind == "ClusterSecretStore";
            let is_own = reference.name == store.metadata.name
                && is_cluster == (store.kind == "ClusterSecretStore")
                && (is_cluster || secret.metadata.namespace == store.metadata.namespace);
            let seconds = u64::try_from(secret.spec.refresh_interval.0.as_secs()).unwrap_or(0);
            if is_own && seconds > 0 {
                let count = (secret.spec.data.len() + secret.spec.data_from.len()) as u64;
                sum += count * 86_400_u64.div_ceil(seconds);
            }
        }
        let allowed = scene.thresholds.secret_reads_per_day;
        if sum > allowed {
            let message = format!("is read {sum} times a day, and {allowed} are allowed");
            found.warning(store.reference(), message);
        }
    }
}
