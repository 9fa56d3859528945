//! The columns of every kind.

use crate::registry::Kind;
use crate::registry::custom::Column;

/// Headings with their priorities, as `kubectl get` shows them.
type Headings = &'static [(&'static str, i64)];

const NAME_AND_AGE: Headings = &[("Age", 0)];

/// The columns of a kind. The name comes first, but for events, where hardly anybody wants it.
pub fn columns(kind: &Kind) -> Vec<Column> {
    let mut name = Column {
        name: "Name".to_owned(),
        kind: "string".to_owned(),
        format: "name".to_owned(),
        description: "Name must be unique within a namespace.".to_owned(),
        priority: 0,
        json_path: String::new(),
    };
    if let Some(custom) = kind.custom() {
        return std::iter::once(name)
            .chain(custom.columns.iter().cloned())
            .collect();
    }
    let others = headings(&kind.group, &kind.kind)
        .iter()
        .map(|(heading, priority)| Column {
            name: (*heading).to_owned(),
            kind: value_kind(&kind.kind, heading).to_owned(),
            format: String::new(),
            description: String::new(),
            priority: *priority,
            json_path: String::new(),
        });
    if names_come_last(kind) {
        name.priority = 1;
        others.chain(std::iter::once(name)).collect()
    } else {
        std::iter::once(name).chain(others).collect()
    }
}

/// Whether the name is the last column.
pub fn names_come_last(kind: &Kind) -> bool {
    kind.kind == "Event" && kind.custom().is_none()
}

fn value_kind(kind: &str, heading: &str) -> &'static str {
    match (kind, heading) {
        (_, "Created At") => "date",
        ("ReplicaSet" | "ReplicationController", "Desired" | "Current" | "Ready")
        | ("DaemonSet", "Desired" | "Current" | "Ready" | "Up-to-date" | "Available")
        | (_, "Active" | "Allowed Disruptions" | "Value" | "Drivers" | "Webhooks") => "integer",
        (_, "Suspend" | "Global-Default" | "Attached") => "boolean",
        _ => "string",
    }
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
            ("VolumeAttributesClass", 0),
            ("Reason", 0),
            ("Age", 0),
            ("VolumeMode", 1),
        ],
        ("", "PersistentVolumeClaim") => &[
            ("Status", 0),
            ("Volume", 0),
            ("Capacity", 0),
            ("Access Modes", 0),
            ("StorageClass", 0),
            ("VolumeAttributesClass", 0),
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
            ("Containers", 1),
            ("Images", 1),
            ("Selector", 1),
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
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => &[
            ("Role", 0),
            ("Age", 0),
            ("Users", 1),
            ("Groups", 1),
            ("ServiceAccounts", 1),
        ],
        ("storage.k8s.io", "StorageClass") => &[
            ("Provisioner", 0),
            ("ReclaimPolicy", 0),
            ("VolumeBindingMode", 0),
            ("AllowVolumeExpansion", 0),
            ("Age", 0),
        ],
        ("scheduling.k8s.io", "PriorityClass") => &[
            ("Value", 0),
            ("Global-Default", 0),
            ("Age", 0),
            ("PreemptionPolicy", 0),
        ],
        ("networking.k8s.io", "IngressClass") => {
            &[("Controller", 0), ("Parameters", 0), ("Age", 0)]
        }
        ("networking.k8s.io", "NetworkPolicy") => &[("Pod-Selector", 0), ("Age", 0)],
        ("autoscaling", _) => &[
            ("Reference", 0),
            ("Targets", 0),
            ("MinPods", 0),
            ("MaxPods", 0),
            ("Replicas", 0),
            ("Age", 0),
        ],
        ("certificates.k8s.io", _) => &[
            ("Age", 0),
            ("SignerName", 0),
            ("Requestor", 0),
            ("RequestedDuration", 0),
            ("Condition", 0),
        ],
        ("apps", "ControllerRevision") => &[("Controller", 0), ("Revision", 0), ("Age", 0)],
        ("", "ResourceQuota") => &[("Request", 0), ("Limit", 0), ("Age", 0)],
        ("", "PodTemplate") => &[("Containers", 0), ("Images", 0), ("Pod Labels", 0)],
        ("node.k8s.io", "RuntimeClass") => &[("Handler", 0), ("Age", 0)],
        ("storage.k8s.io", "VolumeAttachment") => &[
            ("Attacher", 0),
            ("PV", 0),
            ("Node", 0),
            ("Attached", 0),
            ("Age", 0),
        ],
        ("storage.k8s.io", "CSINode") => &[("Drivers", 0), ("Age", 0)],
        ("discovery.k8s.io", "EndpointSlice") => &[
            ("AddressType", 0),
            ("Ports", 0),
            ("Endpoints", 0),
            ("Age", 0),
        ],
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
        ) => &[("Webhooks", 0), ("Age", 0)],
        ("", "LimitRange") | ("apiextensions.k8s.io" | "rbac.authorization.k8s.io", _) => {
            &[("Created At", 0)]
        }
        _ => NAME_AND_AGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns_of(group: &str, plural: &str) -> Vec<(String, String, i64)> {
        let kind = crate::registry::Registry::new()
            .find(group, "v1", plural)
            .unwrap();
        let columns = columns(&kind).into_iter();
        columns.map(|c| (c.name, c.kind, c.priority)).collect()
    }

    #[test]
    fn names_come_first_but_for_events() {
        let first = |group, plural| columns_of(group, plural)[0].0.clone();
        assert_eq!(first("", "pods"), "Name");
        for group in ["", "events.k8s.io"] {
            let columns = columns_of(group, "events");
            assert_eq!(columns[0].0, "Last Seen");
            assert_eq!(
                columns.last(),
                Some(&("Name".to_owned(), "string".to_owned(), 1))
            );
        }
    }

    #[test]
    fn numbers_and_switches_say_what_they_are() {
        let kinds = |group, plural| -> Vec<String> {
            let columns = columns_of(group, plural).into_iter();
            columns.map(|(_, kind, _)| kind).take(4).collect()
        };
        let integers = ["string", "integer", "integer", "integer"];
        assert_eq!(kinds("apps", "replicasets"), integers);
        assert_eq!(kinds("apps", "deployments"), ["string"; 4]);
        assert_eq!(kinds("batch", "cronjobs")[3], "boolean");
    }
}
