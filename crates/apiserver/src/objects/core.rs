//! Rules of small core kinds.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::status::Cause;

use super::values::{fields, items, remove, set_default, text};
use super::{finalizers, names};

/// The most that a ConfigMap or a Secret holds, in bytes.
const DATA_LIMIT: usize = 1024 * 1024;

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

/// Every Namespace has its name as a label, whatever it was given there.
pub fn namespace_defaults(namespace: &mut Value) {
    let name = text(&namespace["metadata"]["name"]).to_owned();
    if name.is_empty() {
        return;
    }
    set_default(&mut namespace["metadata"], "labels", json!({}));
    namespace["metadata"]["labels"]["kubernetes.io/metadata.name"] = name.into();
}

/// A Namespace is active, and gone only when its content is.
pub fn before_create_namespace(namespace: &mut Value) {
    namespace_defaults(namespace);
    let mut held: Vec<Value> = items(&namespace["spec"]["finalizers"]).cloned().collect();
    if !held
        .iter()
        .any(|finalizer| finalizer == finalizers::NAMESPACE)
    {
        held.push(finalizers::NAMESPACE.into());
    }
    namespace["spec"] = json!({"finalizers": held});
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

/// Finalizers of a Namespace have a domain, but for its own.
pub fn validate_namespace(namespace: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for finalizer in items(&namespace["spec"]["finalizers"]) {
        let name = text(finalizer);
        for why in names::qualified(name) {
            causes.push(Cause::invalid("spec.finalizers", finalizer, why));
        }
        if !name.contains('/') && name != finalizers::NAMESPACE {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            causes.push(Cause::invalid("spec.finalizers", finalizer, why));
        }
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
    let texts = fields(&map["data"]).map(|(_, value)| text(value).len());
    let bytes = fields(&map["binaryData"]).map(|(_, value)| decoded_length(value));
    if texts.chain(bytes).sum::<usize>() > DATA_LIMIT {
        causes.push(Cause::too_long("", DATA_LIMIT));
    }
    causes
}

/// How many bytes a text in base 64 stands for.
fn decoded_length(value: &Value) -> usize {
    let text = text(value).trim_end_matches('=');
    text.len() * 3 / 4
}

/// Keys of `data`, and what the types of secrets demand.
pub fn validate_secret(secret: &Value) -> Vec<Cause> {
    let mut causes: Vec<Cause> = fields(&secret["data"])
        .flat_map(|(key, _)| config_key("data", key))
        .collect();
    let size: usize = fields(&secret["data"])
        .map(|(_, value)| decoded_length(value))
        .sum();
    if size > DATA_LIMIT {
        causes.push(Cause::too_long("data", DATA_LIMIT));
    }
    let required: &[&str] = match text(&secret["type"]) {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        _ => &[],
    };
    for key in required {
        let field = format!("data[{key}]");
        match secret["data"].get(*key) {
            None => causes.push(Cause::required(field, "")),
            Some(value) if key.starts_with(".docker") && !holds_json(value) => {
                let shown = "<secret contents redacted>".into();
                causes.push(Cause::invalid(field, &shown, "it is no JSON"));
            }
            Some(_) => {}
        }
    }
    let account = "kubernetes.io/service-account.name";
    if text(&secret["type"]) == "kubernetes.io/service-account-token"
        && text(&secret["metadata"]["annotations"][account]).is_empty()
    {
        let field = format!("metadata.annotations[{account}]");
        causes.push(Cause::required(field, ""));
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

/// Whether a text in base 64 stands for JSON.
fn holds_json(value: &Value) -> bool {
    let bytes = BASE64_STANDARD.decode(text(value)).unwrap_or_default();
    serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok()
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
