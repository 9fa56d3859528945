//! Nodes that run different versions for longer than an upgrade takes.

use crate::detect::{Detector, Found, Scene};
use crate::facts::meta::condition;
use crate::facts::node::{Node, NodeInfo};
use crate::issue::{Layer, ObjectRef};

pub(super) static DETECTOR: Detector = Detector {
    id: "node-version-skew",
    layer: Layer::Nodes,
    finds: "Kubelets or operating systems of Nodes differ for longer than an upgrade takes.",
    severity: "warning",
    fix: "finish the upgrade",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    let is_rolling = scene.world.clusters.iter().any(|cluster| {
        condition(&cluster.status.conditions, "RollingOut")
            .is_some_and(crate::facts::meta::Condition::is_true)
    });
    if is_rolling {
        return;
    }
    differ(scene, found, "kubelet", |info| &info.kubelet_version);
    differ(scene, found, "operating system", |info| &info.os_image);
}

fn differ(scene: &Scene<'_>, found: &mut Found, what: &str, version: fn(&NodeInfo) -> &String) {
    let nodes = scene
        .world
        .nodes
        .iter()
        .filter(|node| !version(&node.status.node_info).is_empty());
    let nodes: Vec<&Node> = nodes.collect();
    let mut versions: Vec<&String> = nodes
        .iter()
        .map(|node| version(&node.status.node_info))
        .collect();
    versions.sort_unstable();
    versions.dedup();
    if versions.len() < 2 {
        return;
    }
    // Whoever became Ready last came with the newest step of an upgrade.
    let last = nodes.iter().filter_map(|node| {
        condition(&node.status.conditions, "Ready").and_then(|ready| ready.last_transition_time)
    });
    let last = last.max();
    if !scene.lasts(last, scene.thresholds.upgrade_window) {
        return;
    }
    let counts: Vec<String> = versions
        .iter()
        .map(|one| {
            let count = nodes
                .iter()
                .filter(|node| version(&node.status.node_info) == *one)
                .count();
            format!("{one} on {count}")
        })
        .collect();
    let object = ObjectRef::new("Nodes", "", what);
    found
        .warning(
            object,
            format!("versions of the {what} differ: {}", counts.join(", ")),
        )
        .since(last);
}
