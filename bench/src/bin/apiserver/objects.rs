//! The objects that are written.

use bytes::Bytes;
use serde_json::{Value, json};

/// The namespace of ConfigMaps.
pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// The size of a ConfigMap, in bytes.
const CONFIG_MAP_SIZE: usize = 1000;
/// More filler than a ConfigMap needs.
const FILLER: &str = match std::str::from_utf8(&[b'x'; CONFIG_MAP_SIZE]) {
    Ok(text) => text,
    Err(_) => panic!("the filler is ASCII"),
};
/// The size of a Node, in bytes.
const NODE_SIZE: usize = 10_000;

/// A ConfigMap of 1 KB; the marker is easy to find in it. Put together as text: whoever writes
/// shares the cores with the server.
pub fn config_map(name: &str, marker: &str) -> Bytes {
    let text = |filler: &str| {
        format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}","labels":{{"app":"bench"}}}},"data":{{"marker":"{marker}","filler":"{filler}"}}}}"#
        )
    };
    let filler = CONFIG_MAP_SIZE.saturating_sub(text("").len());
    text(&FILLER[..filler]).into()
}

/// A Node of 10 KB, as kubelets write them: most of it is the list of images. The counter makes
/// versions of a Node differ.
pub fn node(number: usize, counter: usize) -> Bytes {
    let name = format!("node-{number:05}");
    let conditions = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"].map(|condition| {
        json!({
            "type": condition,
            "status": if condition == "Ready" { "True" } else { "False" },
            "reason": "KubeletHasEnough",
            "message": "kubelet has enough of everything",
            "lastHeartbeatTime": "2026-01-01T00:00:00Z",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    });
    let images: Vec<Value> = (0..38)
        .map(|image| {
            let digest = format!("{number:032x}{image:032x}");
            json!({
                "names": [
                    format!("registry.example.com/library/image-{image}@sha256:{digest}"),
                    format!("registry.example.com/library/image-{image}:v1.{image}.0"),
                ],
                "sizeBytes": 12_345_678 + image,
            })
        })
        .collect();
    let resources = json!({"cpu": "32", "memory": "131072Mi", "pods": "110"});
    padded(NODE_SIZE, |filler| {
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": {
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                    "topology.kubernetes.io/zone": format!("zone-{}", number % 3),
                },
                "annotations": {
                    "bench/counter": counter.to_string(),
                    "bench/filler": filler,
                },
            },
            "spec": {"podCIDR": "10.0.0.0/24", "providerID": format!("bench://{name}")},
            "status": {
                "addresses": [
                    {"type": "InternalIP", "address": "192.0.2.1"},
                    {"type": "Hostname", "address": name},
                ],
                "capacity": resources,
                "allocatable": resources,
                "conditions": conditions,
                "images": images,
                "nodeInfo": {
                    "machineID": format!("{number:032x}"),
                    "systemUUID": format!("{number:032x}"),
                    "bootID": format!("{number:032x}"),
                    "kernelVersion": "6.12.0",
                    "osImage": "NixOS",
                    "containerRuntimeVersion": "containerd://2.1.0",
                    "kubeletVersion": "v1.36.0",
                    "kubeProxyVersion": "",
                    "operatingSystem": "linux",
                    "architecture": "amd64",
                },
            },
        })
    })
}

/// The object with a filler that brings it to this size.
fn padded(size: usize, object: impl Fn(&str) -> Value) -> Bytes {
    let bare = object("").to_string().len();
    let filler = "x".repeat(size.saturating_sub(bare));
    object(&filler).to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_have_the_size_that_the_table_says() {
        let map = config_map("a", "1");
        assert_eq!(map.len(), CONFIG_MAP_SIZE);
        let map: Value = serde_json::from_slice(&map).unwrap();
        assert_eq!(
            (&map["metadata"]["name"], &map["data"]["marker"]),
            (&json!("a"), &json!("1"))
        );
        assert_eq!(node(1, 1).len(), NODE_SIZE);
        assert_eq!(node(9999, 9).len(), NODE_SIZE);
    }
}
