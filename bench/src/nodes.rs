//! Nodes as real clusters have them.

use bytes::Bytes;
use serde_json::{Value, json};

/// The size of a Node, in bytes.
pub const SIZE: usize = 10_000;

/// The name of a Node.
pub fn name(number: usize) -> String {
    format!("node-{number:05}")
}

/// The range of a Node's pods: different for each of the first 49,152.
pub fn cidr(number: usize) -> String {
    format!("10.{}.{}.0/24", 64 + number / 256 % 192, number % 256)
}

/// A Node of 10 KB, as kubelets write them: most of it is the list of images. The counter makes
/// versions of a Node differ.
pub fn node(number: usize, counter: usize) -> Bytes {
    let (name, cidr) = (name(number), cidr(number));
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
    padded(SIZE, |filler| {
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
            "spec": {"podCIDR": cidr, "podCIDRs": [cidr], "providerID": format!("bench://{name}")},
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
    fn nodes_have_their_size_and_their_range() {
        assert_eq!(node(1, 1).len(), SIZE);
        let last: Value = serde_json::from_slice(&node(9999, 9)).unwrap();
        assert_eq!(node(9999, 9).len(), SIZE);
        assert_eq!(last["metadata"]["name"], "node-09999");
        assert_eq!(last["spec"]["podCIDRs"], json!(["10.103.15.0/24"]));
    }
}
