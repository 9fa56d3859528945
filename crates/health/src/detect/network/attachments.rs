//! A Pod that wants further networks and did not get them.

use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "network-not-attached",
    layer: Layer::Network,
    finds: "A Pod asks for networks of Multus and its status does not name them.",
    severity: "critical",
    fix: "delete the Pod so that it is made anew, after the network agent is ready on its Node",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    const WANTED: &str = "k8s.v1.cni.cncf.io/networks";
    const GIVEN: &str = "k8s.v1.cni.cncf.io/network-status";
    for pod in scene
        .world
        .pods
        .iter()
        .filter(|pod| pod.status.phase == "Running")
    {
        let Some(wanted) = pod.metadata.annotation(WANTED) else {
            continue;
        };
        if !scene.lasts(pod.status.start_time, scene.thresholds.not_ready) {
            continue;
        }
        let given = names(pod.metadata.annotation(GIVEN).unwrap_or_default());
        let missing: Vec<String> = names(wanted)
            .into_iter()
            .filter(|name| !given.contains(name))
            .collect();
        if !missing.is_empty() {
            let message = format!("runs without the network {}", missing.join(", "));
            found
                .critical(pod.reference(), message)
                .since(pod.status.start_time);
        }
    }
}

/// The names in a list such as `a, b/c@net1`, or in the longer form in JSON. A namespace before a
/// name is left out: what is wanted need not say it.
fn names(networks: &str) -> Vec<String> {
    let bare = |network: &str| {
        let network = network.trim().split('@').next().unwrap_or_default();
        network.rsplit('/').next().unwrap_or_default().to_owned()
    };
    if let Ok(serde_json::Value::Array(networks)) = serde_json::from_str(networks) {
        let names = networks
            .iter()
            .filter_map(|network| network["name"].as_str());
        return names.map(bare).collect();
    }
    let names = networks.split(',').map(bare);
    names.filter(|name| !name.is_empty()).collect()
}
