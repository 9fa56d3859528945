//! The columns of every kind.

use crate::registry::Kind;
use crate::registry::custom::Column;

/// Headings with their priorities, as `kubectl get` shows them.
type Headings = &'static [(&'static str, i64)];

const NAME_AND_AGE: Headings = &[("Age", 0)];

/// The columns of a kind. The first one is the name.
pub fn columns(kind: &Kind) -> Vec<Column> {
    let mut columns = vec![Column {
        name: "Name".to_owned(),
        kind: "string".to_owned(),
        format: "name".to_owned(),
        description: "Name must be unique within a namespace.".to_owned(),
        priority: 0,
        json_path: String::new(),
    }];
    if let Some(custom) = kind.custom() {
        columns.extend(custom.columns.iter().cloned());
        return columns;
    }
    columns.extend(
        headings(&kind.group, &kind.kind)
            .iter()
            .map(|(name, priority)| Column {
                name: (*name).to_owned(),
                kind: if *name == "Created At" {
                    "date"
                } else {
                    "string"
                }
                .to_owned(),
                format: String::new(),
                description: String::new(),
                priority: *priority,
                json_path: String::new(),
            }),
    );
    columns
}

/// The headings of a built-in kind after its name.
pub fn headings(group: &str, kind: &str) -> Headings {
    match (group, kind) {
        ("", "ConfigMap") => &[("Data", 0), ("Age", 0)],
        ("", "Secret") => &[("Type", 0), ("Data", 0), ("Age", 0)],
        ("", "ServiceAccount") => &[("Secrets", 0), ("Age", 0)],
        ("", "Namespace") => &[("Status", 0), ("Age", 0)],
        ("", "Endpoints") => &[("Endpoints", 0), ("Age", 0)],
        ("", "Node") => &[
            ("Status", 0),
            ("Roles", 0),
            ("Age", 0),
            ("Version", 0),
            ("Internal-IP", 1),
            ("External-IP", 1),
            ("OS-Image", 1),
            ("Kernel-Version", 1),
            ("Container-Runtime", 1),
        ],
        ("", "Pod") => &[
            ("Ready", 0),
            ("Status", 0),
            ("Restarts", 0),
            ("Age", 0),
            ("IP", 1),
            ("Node", 1),
            ("Nominated Node", 1),
            ("Readiness Gates", 1),
        ],
        ("", "Service") => &[
            ("Type", 0),
            ("Cluster-IP", 0),
            ("External-IP", 0),
            ("Port(s)", 0),
            ("Age", 0),
            ("Selector", 1),
        ],
        ("" | "events.k8s.io", "Event") => &[
            ("Last Seen", 0),
            ("Type", 0),
            ("Reason", 0),
            ("Object", 0),
            ("Subobject", 1),
            ("Source", 1),
            ("Message", 0),
            ("First Seen", 1),
            ("Count", 1),
        ],
        ("", "PersistentVolume") => &[
            ("Capacity", 0),
            ("Access Modes", 0),
            ("Reclaim Policy", 0),
            ("Status", 0),
            ("Claim", 0),
            ("StorageClass", 0),
            ("Age", 0),
            ("VolumeMode", 1),
        ],
        ("", "PersistentVolumeClaim") => &[
            ("Status", 0),
            ("Volume", 0),
            ("Capacity", 0),
            ("Access Modes", 0),
            ("StorageClass", 0),
            ("Age", 0),
            ("VolumeMode", 1),
        ],
        ("apps", "Deployment") => &[
            ("Ready", 0),
            ("Up-to-date", 0),
            ("Available", 0),
            ("Age", 0),
            ("Containers", 1),
            ("Images", 1),
            ("Selector", 1),
        ],
        ("apps", "ReplicaSet") | ("", "ReplicationController") => &[
            ("Desired", 0),
            ("Current", 0),
            ("Ready", 0),
            ("Age", 0),
            ("Containers", 1),
            ("Images", 1),
            ("Selector", 1),
        ],
        ("apps", "StatefulSet") => &[("Ready", 0), ("Age", 0), ("Containers", 1), ("Images", 1)],
        ("apps", "DaemonSet") => &[
            ("Desired", 0),
            ("Current", 0),
            ("Ready", 0),
            ("Up-to-date", 0),
            ("Available", 0),
            ("Node Selector", 0),
            ("Age", 0),
            ("Containers", 1),
            ("Images", 1),
            ("Selector", 1),
        ],
        ("batch", "Job") => &[
            ("Status", 0),
            ("Completions", 0),
            ("Duration", 0),
            ("Age", 0),
            ("Containers", 1),
            ("Images", 1),
            ("Selector", 1),
        ],
        ("batch", "CronJob") => &[
            ("Schedule", 0),
            ("Timezone", 0),
            ("Suspend", 0),
            ("Active", 0),
            ("Last Schedule", 0),
            ("Age", 0),
        ],
        ("coordination.k8s.io", "Lease") => &[("Holder", 0), ("Age", 0)],
        ("policy", "PodDisruptionBudget") => &[
            ("Min Available", 0),
            ("Max Unavailable", 0),
            ("Allowed Disruptions", 0),
            ("Age", 0),
        ],
        ("networking.k8s.io", "Ingress") => &[
            ("Class", 0),
            ("Hosts", 0),
            ("Address", 0),
            ("Ports", 0),
            ("Age", 0),
        ],
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            &[("Role", 0), ("Age", 0)]
        }
        ("storage.k8s.io", "StorageClass") => &[
            ("Provisioner", 0),
            ("ReclaimPolicy", 0),
            ("VolumeBindingMode", 0),
            ("AllowVolumeExpansion", 0),
            ("Age", 0),
        ],
        ("scheduling.k8s.io", "PriorityClass") => {
            &[("Value", 0), ("Global-Default", 0), ("Age", 0)]
        }
        ("apiextensions.k8s.io", _) | ("rbac.authorization.k8s.io", _) => &[("Created At", 0)],
        _ => NAME_AND_AGE,
    }
}
