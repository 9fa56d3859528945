//! A volume that fills up. Seen only when the kubelets were asked.

use crate::detect::{Detector, Found, Scene};
use crate::facts::closer::Portion;
use crate::issue::{Layer, Severity};

pub(super) static DETECTOR: Detector = Detector {
    id: "volume-filling",
    layer: Layer::Storage,
    finds: "With `--closer`: the volume of a claim is nearly full, in bytes or in inodes.",
    severity: "a warning from `volumeWarningPercent`, critical from `volumeCriticalPercent`",
    fix: "make the claim larger if its class allows that, or remove what is not needed",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for volume in &scene.world.closer.volumes {
        let thresholds = scene.thresholds;
        let (bytes, inodes) = (volume.bytes.percent(), volume.inodes.percent());
        let percent = bytes.max(inodes);
        let severity = match percent {
            full if full >= thresholds.volume_critical_percent => Severity::Critical,
            full if full >= thresholds.volume_warning_percent => Severity::Warning,
            _ => continue,
        };
        let of = match bytes >= inodes {
            true => in_bytes(volume.bytes),
            false => format!(
                "{} of {} inodes",
                volume.inodes.used, volume.inodes.capacity
            ),
        };
        let message = format!("{percent} % of the volume is used: {of}");
        found.add(severity, volume.claim.clone(), message);
    }
}

/// A portion in the largest unit in which the whole is at least 1.
fn in_bytes(portion: Portion) -> String {
    const UNITS: &[(&str, u64)] = &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20)];
    let unit = UNITS.iter().find(|(_, size)| portion.capacity >= *size);
    let (unit, size) = unit.copied().unwrap_or(("B", 1));
    let in_unit = |bytes: u64| bytes as f64 / size as f64;
    let (used, all) = (in_unit(portion.used), in_unit(portion.capacity));
    format!("{used:.1} of {all:.1} {unit}")
}
