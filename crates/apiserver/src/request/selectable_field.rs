//! Which fields a kind offers to field selectors, and what they are compared with.
//!
//! Each kind that offers more than its name and namespace says so in words of its own when it is
//! asked for something else; all others share one refusal.

use serde_json::Value;

use crate::registry::Kind;
use crate::status::Status;
use crate::table::json_path;

const NAME: &str = "metadata.name";
const NAMESPACE: &str = "metadata.namespace";

/// What a built-in kind offers, the namespace included if it does.
struct Offer {
    fields: &'static [&'static str],
    refusal: fn(&str) -> String,
}

fn not_supported(field: &str) -> String {
    format!("field label not supported: {field}")
}

const PODS: &[&str] = &[
    NAMESPACE,
    "spec.host",
    "spec.hostNetwork",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.nominatedNodeName",
    "status.phase",
    "status.podIP",
    "status.podIPs",
];
const CORE_EVENTS: &[&str] = &[
    NAMESPACE,
    "involvedObject.apiVersion",
    "involvedObject.fieldPath",
    "involvedObject.kind",
    "involvedObject.name",
    "involvedObject.namespace",
    "involvedObject.resourceVersion",
    "involvedObject.uid",
    "reason",
    "reportingComponent",
    "source",
    "type",
];
const EVENTS: &[&str] = &[
    NAMESPACE,
    "reason",
    "regarding.apiVersion",
    "regarding.fieldPath",
    "regarding.kind",
    "regarding.name",
    "regarding.namespace",
    "regarding.resourceVersion",
    "regarding.uid",
    "reportingController",
    "type",
];

fn offer(kind: &Kind) -> Offer {
    let fields: &[&str] = match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => PODS,
        ("", "Node") => &["spec.unschedulable"],
        ("", "Namespace") => &["status.phase"],
        ("", "Secret") => &[NAMESPACE, "type"],
        ("", "Service") => &[NAMESPACE, "spec.clusterIP", "spec.type"],
        ("", "ReplicationController") | ("apps", "ReplicaSet") => &[NAMESPACE, "status.replicas"],
        ("", "Event") => CORE_EVENTS,
        ("events.k8s.io", "Event") => EVENTS,
        ("certificates.k8s.io", "CertificateSigningRequest") => &["spec.signerName"],
        ("batch", "Job") => {
            return Offer {
                fields: &[NAMESPACE, "status.successful"],
                refusal: |field| format!("field label {field:?} not supported for Job"),
            };
        }
        ("resource.k8s.io", "ResourceSlice") => {
            return Offer {
                fields: &["spec.driver", "spec.nodeName"],
                refusal: |field| {
                    let kind = "resource.k8s.io/v1, Kind=ResourceSlice";
                    format!("field label not supported for {kind}: {field}")
                },
            };
        }
        // Also for kinds without namespaces, whose namespace is empty.
        _ => {
            return Offer {
                fields: &[NAMESPACE],
                refusal: |field| {
                    let known = format!("only {NAME:?}, {NAMESPACE:?}");
                    format!("{field:?} is not a known field selector: {known}")
                },
            };
        }
    };
    Offer {
        fields,
        refusal: not_supported,
    }
}

/// Whether objects of the kind can be selected by a field.
///
/// # Errors
/// 400 if not.
pub fn check(kind: &Kind, field: &str) -> Result<(), Status> {
    let refusal = if let Some(custom) = kind.custom() {
        let mut offered = custom.selectable.iter();
        let is_offered = field == NAMESPACE && kind.namespaced
            || offered.any(|path| path.strip_prefix('.') == Some(field));
        (!is_offered).then(|| not_supported(field))
    } else {
        let offer = offer(kind);
        (!offer.fields.contains(&field)).then(|| (offer.refusal)(field))
    };
    match refusal {
        Some(refusal) if field != NAME => Err(Status::bad_request(refusal)),
        _ => Ok(()),
    }
}

/// What a field of an object is compared with: text, and empty if it is missing.
pub fn value(object: &Value, field: &str) -> String {
    let field = match field {
        "source" => return source(object),
        "status.podIP" => return first_address(object),
        // It can be asked for, but no Pod has it.
        "status.podIPs" => return String::new(),
        "spec.host" => "spec.nodeName",
        "status.successful" => "status.succeeded",
        field => field,
    };
    match json_path::first(object, field) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
        None => match field {
            "spec.unschedulable" | "spec.hostNetwork" => "false".to_owned(),
            "status.succeeded" | "status.replicas" => "0".to_owned(),
            _ => String::new(),
        },
    }
}

/// A custom resource may have a field of that name, too.
fn source(object: &Value) -> String {
    let source = &object["source"];
    let component = source["component"].as_str().unwrap_or_default();
    match source.as_str() {
        Some(text) => text.to_owned(),
        None if component.is_empty() => value(object, "reportingComponent"),
        None => component.to_owned(),
    }
}

fn first_address(pod: &Value) -> String {
    let status = &pod["status"];
    let first = status["podIPs"][0]["ip"].as_str();
    let address = first.or_else(|| status["podIP"].as_str());
    address.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::registry::Registry;

    use super::*;

    fn refusal(group: &str, version: &str, plural: &str, field: &str) -> Option<String> {
        let kind = Registry::new().find(group, version, plural).unwrap();
        check(&kind, field).err().map(|status| status.message)
    }

    #[test]
    fn kinds_offer_what_those_of_kubernetes_offer() {
        for (group, version, plural, field, offered) in [
            ("", "v1", "pods", "spec.host", true),
            ("", "v1", "nodes", "metadata.name", true),
            ("", "v1", "nodes", "metadata.namespace", false),
            ("", "v1", "persistentvolumes", "metadata.namespace", true),
            ("events.k8s.io", "v1", "events", "regarding.name", true),
            ("events.k8s.io", "v1", "events", "source", false),
            ("batch", "v1", "cronjobs", "status.successful", false),
            (
                "resource.k8s.io",
                "v1",
                "resourceslices",
                "spec.driver",
                true,
            ),
            (
                "resource.k8s.io",
                "v1",
                "resourceslices",
                "spec.nodeName",
                true,
            ),
            (
                "resource.k8s.io",
                "v1",
                "resourceclaims",
                "spec.driver",
                false,
            ),
            (
                "storage.k8s.io",
                "v1",
                "volumeattachments",
                "metadata.name",
                true,
            ),
            (
                "storage.k8s.io",
                "v1",
                "volumeattachments",
                "spec.nodeName",
                false,
            ),
        ] {
            let refusal = refusal(group, version, plural, field);
            assert_eq!(refusal.is_none(), offered, "{plural} {field}: {refusal:?}");
        }
    }

    #[test]
    fn a_refusal_has_the_words_of_its_kind() {
        for (group, plural, words) in [
            ("", "pods", "field label not supported: a"),
            ("batch", "jobs", "field label \"a\" not supported for Job"),
            (
                "resource.k8s.io",
                "resourceslices",
                "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: a",
            ),
            (
                "apps",
                "deployments",
                "\"a\" is not a known field selector: only \"metadata.name\", \
                 \"metadata.namespace\"",
            ),
        ] {
            assert_eq!(refusal(group, "v1", plural, "a").as_deref(), Some(words));
        }
    }

    #[test]
    fn an_event_without_a_source_comes_from_its_reporter() {
        let old = json!({"source": {"component": "kubelet"}, "reportingComponent": ""});
        let new = json!({"source": {}, "reportingComponent": "operator"});
        assert_eq!(value(&old, "source"), "kubelet");
        assert_eq!(value(&new, "source"), "operator");
        assert_eq!(value(&json!({"source": "text"}), "source"), "text");
    }

    #[test]
    fn a_pod_is_selected_by_its_first_address() {
        let pod = json!({"status": {"podIP": "10.0.0.1", "podIPs": [
            {"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}});
        assert_eq!(value(&pod, "status.podIP"), "10.0.0.1");
        assert_eq!(value(&pod, "status.podIPs"), "");
        let pod = json!({"status": {"podIP": "10.0.0.1"}});
        assert_eq!(value(&pod, "status.podIP"), "10.0.0.1");
    }
}
