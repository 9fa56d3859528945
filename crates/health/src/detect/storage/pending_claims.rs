//! A claim that gets no volume.

use crate::detect::{Detector, Found, Scene};
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "claim-pending",
    layer: Layer::Storage,
    finds: "A PersistentVolumeClaim is Pending, its class is missing, or provisioning fails. One that waits for its first Pod is healthy.",
    severity: "critical",
    fix: "name a StorageClass that exists, or look at its provisioner",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for claim in scene
        .world
        .claims
        .iter()
        .filter(|claim| claim.status.phase == "Pending")
    {
        let metadata = &claim.metadata;
        let since = metadata.creation_timestamp;
        if !scene.lasts(since, scene.thresholds.pending) {
            continue;
        }
        let reference = claim.reference();
        let events = scene.index.events(&reference);
        let failure = events
            .iter()
            .find(|event| event.reason == "ProvisioningFailed");
        let classes = &scene.world.storage_classes;
        let class = claim
            .spec
            .storage_class_name
            .as_deref()
            .filter(|name| !name.is_empty());
        let found_class = classes
            .iter()
            .find(|one| Some(one.metadata.name.as_str()) == class);
        let is_default = |one: &&crate::facts::platform::StorageClass| {
            one.metadata
                .annotation("storageclass.kubernetes.io/is-default-class")
                == Some("true")
        };
        let has_default = classes.iter().any(|one| is_default(&one));
        let is_used = scene.world.pods.iter().any(|pod| {
            pod.metadata.namespace == metadata.namespace
                && pod.claims().any(|name| name == metadata.name)
        });
        let waits = found_class.or(classes.iter().find(is_default).filter(|_| class.is_none()));
        let waits = waits.is_some_and(|one| one.volume_binding_mode == "WaitForFirstConsumer");
        let message = match (class, failure) {
            (Some(class), _) if found_class.is_none() && classes.is_known() => {
                format!("there is no StorageClass {class}")
            }
            (None, _) if !has_default && classes.is_known() => {
                "names no StorageClass, and the cluster has no default one".to_owned()
            }
            (_, Some(event)) => format!("no volume can be made: {}", event.message),
            _ if waits && !is_used => continue,
            _ => "has no volume".to_owned(),
        };
        found
            .critical(reference, message)
            .since(since)
            .suspects(class.map(|class| ObjectRef::new("StorageClass", "", class)));
    }
}
