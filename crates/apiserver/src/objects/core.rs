//! Rules of small core kinds.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::registry::Kind;
use crate::status::Cause;

use super::kinds::{fields, items_mut, remove, set_default, text};

/// `stringData` goes into `data`; the type is Opaque unless said otherwise.
pub fn secret_defaults(secret: &mut Value) {
    if let Some(Value::Object(plain)) = secret.get("stringData").cloned() {
        for (key, value) in plain {
            let encoded = BASE64_STANDARD.encode(text(&value));
            set_default(secret, "data", json!({}));
            secret["data"][key] = encoded.into();
        }
    }
    remove(secret, "stringData");
    set_default(secret, "type", "Opaque".into());
}

/// The usual ways of a Service. No address is given out: nothing would answer there.
pub fn service_defaults(service: &mut Value) {
    set_default(service, "spec", json!({}));
    let spec = &mut service["spec"];
    set_default(spec, "type", "ClusterIP".into());
    set_default(spec, "sessionAffinity", "None".into());
    if spec["type"] != "ExternalName" {
        set_default(spec, "internalTrafficPolicy", "Cluster".into());
    }
    for port in items_mut(spec.get_mut("ports")) {
        set_default(port, "protocol", "TCP".into());
        let number = port["port"].clone();
        set_default(port, "targetPort", number);
    }
    set_default(service, "status", json!({"loadBalancer": {}}));
}

/// What a Node can give out is what it has, unless its status says otherwise.
pub fn node_defaults(node: &mut Value) {
    set_default(node, "spec", json!({}));
    set_default(node, "status", json!({}));
    if let Some(capacity) = node["status"].get("capacity").cloned() {
        set_default(&mut node["status"], "allocatable", capacity);
    }
}

/// Every Namespace has its name as a label.
pub fn namespace_defaults(namespace: &mut Value) {
    let name = text(&namespace["metadata"]["name"]).to_owned();
    if name.is_empty() {
        return;
    }
    set_default(&mut namespace["metadata"], "labels", json!({}));
    set_default(
        &mut namespace["metadata"]["labels"],
        "kubernetes.io/metadata.name",
        name.into(),
    );
}

/// A Namespace is active, and gone only when its content is.
pub fn before_create_namespace(namespace: &mut Value) {
    namespace_defaults(namespace);
    namespace["spec"] = json!({"finalizers": ["kubernetes"]});
    namespace["status"] = json!({"phase": "Active"});
}

/// `spec.finalizers` change only through the finalize subresource.
pub fn before_update_namespace(namespace: &mut Value, old: &Value, subresource: Option<&str>) {
    if subresource != Some("finalize") {
        namespace["spec"] = old["spec"].clone();
    }
    if !namespace["metadata"]["deletionTimestamp"].is_null() {
        set_default(namespace, "status", json!({}));
        namespace["status"]["phase"] = "Terminating".into();
    }
}

/// The reporting fields of core events are always written.
pub fn event_defaults(event: &mut Value) {
    set_default(event, "reportingComponent", "".into());
    set_default(event, "reportingInstance", "".into());
}

/// An event lives in the namespace of what it is about (`default` for what has none); events of
/// the new API also need a time, an action and a reporter.
pub fn validate_event(kind: &Kind, event: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (about, field) = match kind.group.as_str() {
        "" => (&event["involvedObject"], "involvedObject.namespace"),
        _ => (&event["regarding"], "regarding.namespace"),
    };
    let own = text(&event["metadata"]["namespace"]);
    let namespace = text(&about["namespace"]);
    let allowed =
        namespace == own || namespace.is_empty() && matches!(own, "" | "default" | "kube-system");
    if !allowed {
        let why = "does not match event.namespace";
        causes.push(Cause::invalid(field, &namespace.into(), why));
    }
    if kind.group.is_empty() {
        return causes;
    }
    if event["eventTime"].is_null() && event["deprecatedFirstTimestamp"].is_null() {
        causes.push(Cause::required("eventTime", ""));
    }
    if event["deprecatedFirstTimestamp"].is_null() {
        for required in [
            "reportingController",
            "reportingInstance",
            "action",
            "reason",
        ] {
            if text(&event[required]).is_empty() {
                causes.push(Cause::required(required, ""));
            }
        }
    }
    if text(&event["note"]).len() > 1024 {
        causes.push(Cause::invalid(
            "note",
            &event["note"],
            "can have at most 1024 characters",
        ));
    }
    causes
}

/// A Lease lasts.
pub fn validate_lease(lease: &Value) -> Vec<Cause> {
    let spec = &lease["spec"];
    let mut causes = Vec::new();
    if spec["leaseDurationSeconds"]
        .as_i64()
        .is_some_and(|seconds| seconds <= 0)
    {
        causes.push(Cause::invalid(
            "spec.leaseDurationSeconds",
            &spec["leaseDurationSeconds"],
            "must be greater than 0",
        ));
    }
    if spec["leaseTransitions"]
        .as_i64()
        .is_some_and(|count| count < 0)
    {
        causes.push(Cause::invalid(
            "spec.leaseTransitions",
            &spec["leaseTransitions"],
            "must be greater than or equal to 0",
        ));
    }
    causes
}

/// Keys of `data` and `binaryData`.
pub fn validate_config_map(map: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (key, _) in fields(&map["data"]) {
        causes.extend(config_key("data", key));
        if map["binaryData"].get(key).is_some() {
            let why = "duplicate of key present in binaryData";
            causes.push(Cause::invalid(
                format!("data[{key}]"),
                &key.as_str().into(),
                why,
            ));
        }
    }
    for (key, _) in fields(&map["binaryData"]) {
        causes.extend(config_key("binaryData", key));
    }
    causes
}

/// Keys of `data`, and what the types of secrets demand.
pub fn validate_secret(secret: &Value) -> Vec<Cause> {
    let mut causes: Vec<Cause> = fields(&secret["data"])
        .flat_map(|(key, _)| config_key("data", key))
        .collect();
    let required: &[&str] = match text(&secret["type"]) {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        _ => &[],
    };
    for key in required {
        if secret["data"].get(*key).is_none() {
            causes.push(Cause::required(format!("data[{key}]"), ""));
        }
    }
    if text(&secret["type"]) == "kubernetes.io/basic-auth"
        && secret["data"].get("username").is_none()
        && secret["data"].get("password").is_none()
    {
        causes.push(Cause::required("data[username]", ""));
        causes.push(Cause::required("data[password]", ""));
    }
    causes
}

fn config_key(field: &str, key: &str) -> Vec<Cause> {
    let mut problems = Vec::new();
    if key.len() > 253 {
        problems.push("must be no more than 253 bytes".to_owned());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if key.is_empty() || !key.chars().all(plain) {
        problems.push(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. \
             'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is \
             '[-._a-zA-Z0-9]+')"
                .to_owned(),
        );
    }
    if matches!(key, "." | "..") {
        problems.push(format!("must not be '{key}'"));
    } else if key.starts_with("..") {
        problems.push("must not start with '..'".to_owned());
    }
    let field = format!("{field}[{key}]");
    problems
        .into_iter()
        .map(|why| Cause::invalid(field.clone(), &key.into(), why))
        .collect()
}

/// Immutable ConfigMaps and Secrets stay as they are, and so does the type of a Secret.
pub fn validate_immutable_data(object: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if object["type"] != old["type"] {
        causes.push(Cause::invalid(
            "type",
            &object["type"],
            "field is immutable",
        ));
    }
    if old["immutable"] != true {
        return causes;
    }
    let why = "field is immutable when `immutable` is set";
    if object["immutable"] != true {
        causes.push(Cause::forbidden("immutable", why));
    }
    for field in ["data", "binaryData"] {
        if object[field] != old[field] {
            causes.push(Cause::forbidden(field, why));
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn string_data_wins_over_data_and_is_not_kept() {
        let mut secret = json!({"data": {"a": "YQ=="}, "stringData": {"a": "wins", "b": "bee"}});
        secret_defaults(&mut secret);
        assert_eq!(
            secret,
            json!({"data": {"a": "d2lucw==", "b": "YmVl"}, "type": "Opaque"})
        );
    }

    #[test]
    fn only_metadata_of_immutable_maps_may_change() {
        let old = json!({"immutable": true, "data": {"a": "1"}});
        assert!(validate_immutable_data(&old, &old).is_empty());
        let changed = json!({"immutable": true, "data": {"a": "2"}});
        assert_eq!(validate_immutable_data(&changed, &old)[0].field, "data");
        let thawed = json!({"data": {"a": "1"}});
        assert_eq!(validate_immutable_data(&thawed, &old)[0].field, "immutable");
    }
}
