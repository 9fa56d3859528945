//! Controllers of Flux that are not of one version.

use crate::detect::{Detector, Found, Scene};
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "flux-version-skew",
    layer: Layer::Flux,
    finds: "Controllers of Flux carry different versions.",
    severity: "warning",
    fix: "finish the upgrade of Flux",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    let mut versions: Vec<(&str, &str)> = super::controllers(scene.world)
        .filter_map(|controller| {
            let metadata = &controller.metadata;
            metadata
                .label("app.kubernetes.io/part-of")
                .filter(|whole| *whole == "flux")?;
            let version = metadata.label("app.kubernetes.io/version")?;
            Some((version, metadata.name.as_str()))
        })
        .collect();
    versions.sort_unstable();
    let (Some((first, _)), Some((last, _))) = (versions.first(), versions.last()) else {
        return;
    };
    if first == last {
        return;
    }
    let told: Vec<String> = versions
        .iter()
        .map(|(version, name)| format!("{name} {version}"))
        .collect();
    let object = ObjectRef::new("Flux", "", "controllers");
    found.warning(
        object,
        format!("the controllers differ: {}", told.join(", ")),
    );
}
