//! What no list of objects says: how full volumes are, and whether a tunnel has connections.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;

use super::meta::null_is_default;
use crate::issue::{Layer, ObjectRef};

/// What was asked beside the lists.
#[derive(Clone, Debug, Default)]
pub struct Closer {
    /// Volumes of claims, as the kubelets of the Nodes that mount them say.
    pub volumes: Vec<VolumeUse>,
    /// Pods of tunnels by their references, and whether they have a connection; `None` where their
    /// log does not say.
    pub tunnels: BTreeMap<ObjectRef, Option<bool>>,
    /// What was not answered.
    pub unread: Vec<Unread>,
}

/// How full a volume is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeUse {
    /// The claim.
    pub claim: ObjectRef,
    /// Bytes that are used, and all.
    pub bytes: Portion,
    /// Inodes that are used, and all; 0 of 0 for file systems without.
    pub inodes: Portion,
}

/// A part of a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Portion {
    /// What is used.
    pub used: u64,
    /// All that there is.
    pub capacity: u64,
}

/// What was asked and not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The part of the cluster.
    pub layer: Layer,
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

/// What a kubelet says of its Pods (`/stats/summary`), as far as it is about volumes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Summary {
    #[serde(deserialize_with = "null_is_default")]
    pods: Vec<PodStats>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodStats {
    #[serde(rename = "volume", deserialize_with = "null_is_default")]
    volumes: Vec<VolumeStats>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct VolumeStats {
    pvc_ref: Option<ClaimReference>,
    used_bytes: u64,
    capacity_bytes: u64,
    inodes_used: u64,
    inodes: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ClaimReference {
    namespace: String,
    name: String,
}

impl Portion {
    /// How much is used, in percent, rounded down. 0 where there is nothing.
    pub fn percent(self) -> u64 {
        let percent = u128::from(self.used) * 100;
        let percent = percent.checked_div(u128::from(self.capacity)).unwrap_or(0);
        u64::try_from(percent).unwrap_or(u64::MAX)
    }
}

impl Summary {
    /// The volumes that are of claims.
    pub(crate) fn volumes(self) -> impl Iterator<Item = VolumeUse> {
        let volumes = self.pods.into_iter().flat_map(|pod| pod.volumes);
        volumes.filter_map(|volume| {
            let claim = volume.pvc_ref?;
            Some(VolumeUse {
                claim: ObjectRef::new("PersistentVolumeClaim", claim.namespace, claim.name),
                bytes: Portion {
                    used: volume.used_bytes,
                    capacity: volume.capacity_bytes,
                },
                inodes: Portion {
                    used: volume.inodes_used,
                    capacity: volume.inodes,
                },
            })
        })
    }
}

static CONNECTION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"connIndex"?[=:]\s*(\d+)"#).expect("the expression is written here and tried")
});

/// Whether a tunnel (cloudflared) has a connection to its other end, from the end of its log.
/// `None` when that says nothing of connections.
///
/// Each of its few connections has a number; what was said last of each counts.
pub fn has_connection(log: &str) -> Option<bool> {
    const UP: &[&str] = &["Registered tunnel connection"];
    const DOWN: &[&str] = &[
        "Connection terminated",
        "Failed to create new quic connection",
        "Failed to dial a quic connection",
        "Lost connection with the edge",
        "Register tunnel error",
        "Serve tunnel error",
        "Unable to establish connection with Cloudflare edge",
        "Unregistered tunnel connection",
        "failed to serve tunnel connection",
    ];
    let mut connections: BTreeMap<&str, bool> = BTreeMap::new();
    for line in log.lines() {
        let says = |words: &[&str]| words.iter().any(|words| line.contains(words));
        let number = CONNECTION.captures(line).and_then(|found| found.get(1));
        let number = number.map_or("", |number| number.as_str());
        if says(UP) {
            connections.insert(number, true);
        } else if says(DOWN) {
            connections.insert(number, false);
        }
    }
    (!connections.is_empty()).then(|| connections.values().any(|is_up| *is_up))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_has_a_connection_when_one_of_its_numbers_was_registered_last() {
        const UP_0: &str =
            "INF Registered tunnel connection connIndex=0 location=ams01 protocol=quic";
        const DOWN_0: &str = r#"ERR Failed to dial a quic connection error="timeout" connIndex=0"#;
        const DOWN_1: &str = r#"{"level":"error","connIndex":1,"message":"Serve tunnel error"}"#;
        for (log, expected) in [
            (vec![], None),
            (vec!["INF Starting metrics server"], None),
            (vec![DOWN_0, DOWN_1], Some(false)),
            (vec![DOWN_0, UP_0], Some(true)),
            (vec![UP_0, DOWN_1], Some(true)),
            (vec![UP_0, DOWN_0, DOWN_1], Some(false)),
        ] {
            assert_eq!(has_connection(&log.join("\n")), expected, "{log:?}");
        }
    }

    #[test]
    fn volumes_of_claims_are_taken_from_what_a_kubelet_says() {
        let text = r#"{"node": {"nodeName": "node-1"}, "pods": [
            {"podRef": {"name": "db-0", "namespace": "apps"}, "volume": [
                {"name": "token", "usedBytes": 1, "capacityBytes": 2},
                {"name": "data", "pvcRef": {"name": "data", "namespace": "apps"}, "usedBytes": 87,
                 "capacityBytes": 100, "inodesUsed": 3, "inodes": 10, "inodesFree": 7}]},
            {"podRef": {"name": "idle", "namespace": "apps"}}]}"#;
        let summary: Summary = serde_json::from_str(text).expect("it is understood");
        let volumes: Vec<VolumeUse> = summary.volumes().collect();
        let claim = ObjectRef::new("PersistentVolumeClaim", "apps", "data");
        assert_eq!(volumes.len(), 1);
        assert_eq!(volumes[0].claim, claim);
        assert_eq!(volumes[0].bytes.percent(), 87);
        assert_eq!(volumes[0].inodes.percent(), 30);
        assert_eq!(Portion::default().percent(), 0);
    }
}
