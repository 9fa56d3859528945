//! A volume of Longhorn without enough copies, or without any.

use crate::detect::{Detector, Found, Scene};
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "longhorn-volume",
    layer: Layer::Storage,
    finds: "A volume of Longhorn is faulted, degraded or attaching for long.",
    severity: "critical for faulted, otherwise a warning",
    fix: "look at the volume's replicas and the Nodes and instance managers that hold them",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for volume in &scene.world.longhorn_volumes {
        let status = &volume.status;
        let changed = status
            .conditions
            .iter()
            .filter_map(|one| one.last_transition_time)
            .max();
        let claim = &status.kubernetes_status;
        let of_claim = match claim.pvc_name.as_str() {
            "" => String::new(),
            name => format!(" of claim {}/{name}", claim.namespace),
        };
        let degraded = status.last_degraded_at.parse().ok().or(changed);
        let object = ObjectRef::new("Volume", &volume.metadata.namespace, &volume.metadata.name);
        match (status.robustness.as_str(), status.state.as_str()) {
            ("faulted", _) => {
                found
                    .critical(
                        object,
                        format!("the volume{of_claim} has no usable copy left"),
                    )
                    .since(changed);
            }
            ("degraded", _) if scene.lasts(degraded, scene.thresholds.volume_degraded) => {
                found
                    .warning(
                        object,
                        format!("the volume{of_claim} has fewer copies than wanted"),
                    )
                    .since(degraded);
            }
            (_, "attaching") if scene.lasts(changed, scene.thresholds.volume_attaching) => {
                found
                    .warning(
                        object,
                        format!("the volume{of_claim} is being attached and does not get there"),
                    )
                    .since(changed);
            }
            _ => {}
        }
    }
}
