//! What Pods say of themselves, and how they come from templates.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::objects;

/// The name of an object.
pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The uid of an object.
pub fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

/// Whether an object is being deleted.
pub fn is_terminating(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// The owner reference of the controller of an object.
pub fn controller(object: &Value) -> Option<&Value> {
    let mut references = object["metadata"]["ownerReferences"].as_array()?.iter();
    references.find(|reference| reference["controller"] == true)
}

/// The Node that a Pod is on; none if it has no place yet.
pub fn node(pod: &Value) -> Option<&str> {
    pod["spec"]["nodeName"]
        .as_str()
        .filter(|node| !node.is_empty())
}

/// `Pending`, `Running`, `Succeeded` or `Failed`.
pub fn phase(pod: &Value) -> &str {
    pod["status"]["phase"].as_str().unwrap_or_default()
}

/// Whether a Pod has run to its end.
pub fn is_over(pod: &Value) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether a Pod counts as a replica.
pub fn is_active(pod: &Value) -> bool {
    !is_over(pod) && !is_terminating(pod)
}

/// Whether a Pod is Ready.
pub fn is_ready(pod: &Value) -> bool {
    objects::is_true(&pod["status"], "Ready")
}

/// Since when a Pod is Ready.
pub fn ready_since(pod: &Value) -> Option<Timestamp> {
    let ready = objects::condition(&pod["status"], "Ready")?;
    ready["lastTransitionTime"].as_str()?.parse().ok()
}

/// How long it takes until a Pod has been Ready for `min_ready` seconds: zero if it has; none if
/// it is not Ready.
pub fn available_in(pod: &Value, min_ready: i64, now: Timestamp) -> Option<Duration> {
    if !is_ready(pod) {
        return None;
    }
    if min_ready <= 0 {
        return Some(Duration::ZERO);
    }
    let end = ready_since(pod)? + SignedDuration::from_secs(min_ready);
    Some(end.duration_since(now).try_into().unwrap_or(Duration::ZERO))
}

/// Whether a Pod has been Ready for long enough.
pub fn is_available(pod: &Value, min_ready: i64, now: Timestamp) -> bool {
    available_in(pod, min_ready, now) == Some(Duration::ZERO)
}

/// What owns Pods or ReplicaSets.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// `apps/v1`.
    pub api_version: &'static str,
    /// `ReplicaSet`.
    pub kind: &'static str,
    /// The object.
    pub object: &'a Value,
}

impl Owner<'_> {
    /// The owner reference of a controller.
    pub fn reference(&self) -> Value {
        json!({
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": self.object["metadata"]["name"],
            "uid": self.object["metadata"]["uid"],
            "controller": true,
            "blockOwnerDeletion": true,
        })
    }

    /// A Pod of the owner's template.
    pub fn pod(&self, name: &str) -> Value {
        let template = &self.object["spec"]["template"];
        let mut metadata = json!({
            "name": name,
            "ownerReferences": [self.reference()],
        });
        for field in ["labels", "annotations", "finalizers"] {
            if let Some(value) = template["metadata"].get(field) {
                metadata[field] = value.clone();
            }
        }
        json!({
            "kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": template["spec"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_available_once_it_has_been_ready_for_long_enough() {
        let pod = json!({"status": {"conditions": [{"type": "Ready", "status": "True",
            "lastTransitionTime": "2001-01-01T00:00:00Z"}]}});
        let at = |second: i64| {
            let ready: Timestamp = "2001-01-01T00:00:00Z".parse().unwrap();
            ready + SignedDuration::from_secs(second)
        };
        assert_eq!(available_in(&pod, 0, at(0)), Some(Duration::ZERO));
        assert_eq!(available_in(&pod, 10, at(4)), Some(Duration::from_secs(6)));
        assert!(is_available(&pod, 10, at(10)));
        assert_eq!(available_in(&json!({}), 0, at(0)), None);
    }
}
