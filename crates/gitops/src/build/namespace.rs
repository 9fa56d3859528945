//! The `namespace` field: moves objects, and what in them names their namespace.

use crate::source::Location;
use crate::yaml::Node;

use super::field_paths::{at_path, split};
use super::object::{Object, text_at};

/// Kinds of Kubernetes that have no namespace. A kind that is not built in counts as one that has.
const CLUSTER_SCOPED: [&str; 29] = [
    "APIService",
    "CSIDriver",
    "CSINode",
    "CertificateSigningRequest",
    "ClusterRole",
    "ClusterRoleBinding",
    "ClusterTrustBundle",
    "ComponentStatus",
    "CustomResourceDefinition",
    "DeviceClass",
    "FlowSchema",
    "IPAddress",
    "IngressClass",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PriorityClass",
    "PriorityLevelConfiguration",
    "RuntimeClass",
    "SelfSubjectReview",
    "ServiceCIDR",
    "StorageClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
    "VolumeAttachment",
];

/// Whether objects of this kind stand in a namespace.
pub(crate) fn is_namespaced(object: &Object) -> bool {
    let is_built_in = is_built_in(object);
    !(is_built_in && CLUSTER_SCOPED.contains(&object.kind()))
}

/// Whether the kind is one of Kubernetes' own.
pub(crate) fn is_built_in(object: &Object) -> bool {
    let group = object.group();
    let is_reserved = group.ends_with(".k8s.io") && !group.contains("x-k8s.io");
    let own = ["", "apps", "autoscaling", "batch", "policy", "extensions"].contains(&group);
    own || is_reserved && !OTHER_PROJECTS.contains(&group)
}

/// Groups below `k8s.io` that are no part of Kubernetes itself.
const OTHER_PROJECTS: [&str; 3] = [
    "gateway.networking.k8s.io",
    "snapshot.storage.k8s.io",
    "metrics.k8s.io",
];

/// Sets the namespace, which was written at `at`.
pub(super) fn set(object: &mut Object, namespace: &str, at: Location) {
    if object.kind() == "Namespace" && object.group().is_empty() {
        object.rename(namespace.to_owned(), at);
        return;
    }
    if is_namespaced(object) {
        object.move_to(namespace, at);
    }
    let path = match object.kind() {
        "RoleBinding" | "ClusterRoleBinding" => return set_default_subjects(object, namespace, at),
        "APIService" => "spec/service/namespace",
        "CustomResourceDefinition" => "spec/conversion/webhook/clientConfig/service/namespace",
        _ => return,
    };
    at_path(&mut object.node, &split(path), None, &mut |node| {
        *node = text_at(namespace, at);
    });
}

/// Of the subjects of a binding, kustomize only moves the service account `default`.
fn set_default_subjects(object: &mut Object, namespace: &str, at: Location) {
    at_path(
        &mut object.node,
        &["subjects".to_owned()],
        None,
        &mut |subject: &mut Node| {
            if subject.text_of("name") == Some("default") {
                subject.set(&["namespace"], text_at(namespace, at));
            }
        },
    );
}
