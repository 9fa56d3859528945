//! Which rules belong to which kind.

use serde_json::{Value, json};

use crate::registry::Kind;
use crate::status::Cause;

use super::values::{put, remove, set_default};
use super::{
    access, admission, autoscaling, core, crd_rules, crds, events, limits, network_policies,
    networking, nodes, pods, services, storage, workload_rules, workloads,
};

/// Fills in what a version's defaults say. Does nothing the second time.
pub fn apply_defaults(kind: &Kind, object: &mut Value) {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => pods::pod_defaults(object),
        ("", "Secret") => core::secret_defaults(object),
        ("", "Service") => services::defaults(object),
        ("", "Node") => nodes::defaults(object),
        ("", "Namespace") => core::namespace_defaults(object),
        ("", "Event") => events::core_defaults(object),
        ("events.k8s.io", "Event") => events::defaults(object),
        ("", "PersistentVolume") => storage::volume_defaults(object),
        ("", "PersistentVolumeClaim") => storage::claim_defaults(object),
        ("storage.k8s.io", "StorageClass") => storage::class_defaults(object),
        ("storage.k8s.io", "CSIDriver") => storage::driver_defaults(object),
        ("", "LimitRange") => limits::range_defaults(object),
        ("scheduling.k8s.io", "PriorityClass") => limits::priority_defaults(object),
        ("", "Endpoints") => networking::endpoints_defaults(object),
        ("discovery.k8s.io", "EndpointSlice") => networking::slice_defaults(object),
        ("networking.k8s.io", "NetworkPolicy") => network_policies::defaults(object),
        ("admissionregistration.k8s.io", kind) => match kind.rsplit("Admission").next() {
            Some("Policy") => admission::policy_defaults(object),
            Some("PolicyBinding") => admission::binding_defaults(object),
            _ => admission::webhook_defaults(kind, object),
        },
        ("rbac.authorization.k8s.io", _) => access::defaults(kind, object),
        ("coordination.k8s.io", "Lease") => set_default(object, "spec", json!({})),
        ("apps" | "batch", _) | ("", "ReplicationController") => workloads::defaults(kind, object),
        ("autoscaling", _) => autoscaling::defaults(kind, object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => crds::defaults(object),
        _ => {}
    }
}

/// What the server itself puts into a new object, and what it does not take from the client.
pub fn before_create(kind: &Kind, object: &mut Value) {
    if kind.has_status() && !kind.behaviour.keeps_status_on_create {
        remove(object, "status");
    }
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => pods::before_create(object),
        ("", "Namespace") => core::before_create_namespace(object),
        ("", "Service") => services::before_create(object),
        ("", "ResourceQuota") | ("certificates.k8s.io", _) => object["status"] = json!({}),
        ("networking.k8s.io", "Ingress") => object["status"] = json!({"loadBalancer": {}}),
        ("", "PersistentVolume" | "PersistentVolumeClaim") => {
            object["status"] = json!({"phase": "Pending"});
        }
        ("apps" | "batch", _) | ("", "ReplicationController") => {
            workloads::before_create(kind, object);
        }
        ("autoscaling", _) => autoscaling::before_create(kind, object),
        ("policy", "PodDisruptionBudget") => {
            object["status"] = json!({
                "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0
            });
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => crds::before_create(object),
        _ => {}
    }
}

/// What an update of the object (none) or of a subresource may not change is taken from the old
/// object.
pub fn before_update(kind: &Kind, object: &mut Value, old: &Value, subresource: Option<&str>) {
    match subresource {
        Some("status") if kind.custom().is_some() => {
            let status = object.get("status").cloned();
            let managed = object["metadata"].get("managedFields").cloned();
            let version = object["metadata"].get("resourceVersion").cloned();
            let mut kept = old.clone();
            put(&mut kept, "status", status);
            put(&mut kept["metadata"], "managedFields", managed);
            put(&mut kept["metadata"], "resourceVersion", version);
            *object = kept;
        }
        Some("status") => {
            for (key, value) in old.as_object().into_iter().flatten() {
                if !matches!(key.as_str(), "metadata" | "status") {
                    object[key] = value.clone();
                }
            }
            if let Some(map) = object.as_object_mut() {
                map.retain(|key, _| key == "status" || old.get(key).is_some());
            }
            let frozen: &[&str] = match kind.kind.as_str() {
                "Deployment" => &["labels", "ownerReferences", "finalizers"],
                _ => &["ownerReferences", "finalizers"],
            };
            for field in frozen {
                let was = old["metadata"].get(*field).cloned();
                put(&mut object["metadata"], field, was);
            }
        }
        // A binding also says in the status that it was done.
        Some("binding") => {}
        _ if kind.has_status() => put(object, "status", old.get("status").cloned()),
        _ => {}
    }
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Namespace") => core::before_update_namespace(object, old, subresource),
        ("", "Pod") => pods::before_update(object, old, subresource),
        ("", "Service") if subresource.is_none() => services::before_update(object, old),
        ("apiextensions.k8s.io", "CustomResourceDefinition") if subresource.is_none() => {
            crds::before_update(object, old);
        }
        _ => {}
    }
}

/// What is wrong with an object, metadata aside. `old` is what it was before an update.
pub fn validate(kind: &Kind, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "ConfigMap") => core::validate_config_map(object),
        ("", "Secret") => core::validate_secret(object),
        ("" | "events.k8s.io", "Event") => events::validate(kind, object, old),
        ("", "Namespace") => core::validate_namespace(object),
        ("", "Node") => nodes::validate(object),
        ("", "PersistentVolume") => storage::validate_volume(object),
        ("", "PersistentVolumeClaim") => storage::validate_claim(object),
        ("storage.k8s.io", "StorageClass") => storage::validate_class(object),
        ("", "LimitRange") => limits::validate_range(object),
        ("scheduling.k8s.io", "PriorityClass") => limits::validate_priority(object),
        ("discovery.k8s.io", "EndpointSlice") => networking::validate_slice(object),
        ("networking.k8s.io", "Ingress") => networking::validate_ingress(object),
        ("networking.k8s.io", "NetworkPolicy") => network_policies::validate(object),
        ("", "Service") => services::validate(object),
        ("", "Pod") => pods::validate(object, old),
        ("coordination.k8s.io", "Lease") => core::validate_lease(object),
        ("policy", "PodDisruptionBudget") => workloads::validate_budget(object),
        ("rbac.authorization.k8s.io", _) => access::validate(kind, object),
        ("apps" | "batch", _) | ("", "ReplicationController") => {
            workload_rules::validate(kind, object)
        }
        ("autoscaling", _) => autoscaling::validate(kind, object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => crd_rules::validate(object, old),
        _ => Vec::new(),
    }
}

/// What is wrong with a change of the object (none) or of a subresource.
pub fn validate_update(
    kind: &Kind,
    object: &Value,
    old: &Value,
    subresource: Option<&str>,
) -> Vec<Cause> {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "ConfigMap" | "Secret") => core::validate_immutable_data(object, old),
        // A binding sets what a Pod cannot change by itself.
        ("", "Pod") if subresource == Some("binding") => Vec::new(),
        ("", "Pod") => pods::validate_update(object, old, subresource),
        ("", "Node") => nodes::validate_update(object, old),
        ("", "Service") => services::validate_update(object, old),
        ("", "PersistentVolumeClaim") if subresource.is_none() => {
            storage::validate_claim_update(object, old)
        }
        ("storage.k8s.io", "StorageClass") => storage::validate_class_update(object, old),
        ("scheduling.k8s.io", "PriorityClass") => limits::validate_priority_update(object, old),
        ("discovery.k8s.io", "EndpointSlice") => networking::validate_slice_update(object, old)
            .into_iter()
            .collect(),
        ("rbac.authorization.k8s.io", _) => {
            access::validate_update(object, old).into_iter().collect()
        }
        ("apps" | "batch", _) => workload_rules::validate_update(kind, object, old),
        _ => Vec::new(),
    }
}
