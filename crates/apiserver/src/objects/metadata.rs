//! Validation of `metadata`, the same for all kinds.

use serde_json::{Map, Value};

use crate::registry::Kind;
use crate::status::Cause;

use super::values::items;
use super::{finalizers, names};

/// Finalizers that need no domain.
const STANDARD_FINALIZERS: &[&str] = &[
    finalizers::CUSTOM_RESOURCES,
    finalizers::FOREGROUND,
    finalizers::NAMESPACE,
    finalizers::ORPHAN,
];
/// The most that all annotations of an object may have, in bytes.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// What is wrong with the metadata of an object.
pub fn validate_metadata(kind: &Kind, metadata: &Value) -> Vec<Cause> {
    let mut causes = name(kind, metadata);
    causes.extend(validate_maps_and_owners(metadata));
    for (index, finalizer) in items(&metadata["finalizers"]).enumerate() {
        let finalizer = finalizer.as_str().unwrap_or_default();
        let field = format!("metadata.finalizers[{index}]");
        causes.extend(problems(&field, finalizer, names::qualified(finalizer)));
        if wants_domains(kind)
            && !finalizer.contains('/')
            && !STANDARD_FINALIZERS.contains(&finalizer)
        {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            causes.push(Cause::invalid(field, &finalizer.into(), why));
        }
    }
    causes
}

/// Custom resources, their definitions and Leases take finalizers without a domain.
fn wants_domains(kind: &Kind) -> bool {
    kind.custom().is_none()
        && !matches!(
            kind.group.as_str(),
            "apiextensions.k8s.io" | "coordination.k8s.io"
        )
}

/// What an update adds to the problems of the metadata. Kubernetes checks metadata more than
/// once, for built-in kinds once more than for custom resources, and reports what it finds each
/// time.
pub fn validate_metadata_update(kind: &Kind, old: &Value, new: &Value) -> Vec<Cause> {
    let (old, new) = (&old["metadata"], &new["metadata"]);
    let repeated = if kind.custom().is_some() { 2 } else { 3 };
    let again = validate_maps_and_owners(new);
    let mut causes: Vec<Cause> = Vec::new();
    for _ in 0..repeated {
        causes.extend(again.iter().cloned());
    }
    let added = validate_added_finalizers(old, new);
    causes.extend(added.iter().cloned().chain(added.clone()));
    causes
}

fn validate_maps_and_owners(metadata: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        causes.extend(problems("metadata.labels", key, names::qualified(key)));
        let value = value.as_str().unwrap_or_default();
        causes.extend(problems(
            "metadata.labels",
            value,
            names::label_value(value),
        ));
    }
    causes.extend(annotations(metadata));
    causes.extend(owners(metadata));
    causes
}

/// Nothing new may hold an object that is being deleted.
fn validate_added_finalizers(old: &Value, new: &Value) -> Option<Cause> {
    if old["deletionTimestamp"].is_null() {
        return None;
    }
    let had: Vec<&Value> = items(&old["finalizers"]).collect();
    let added: Vec<String> = items(&new["finalizers"])
        .filter(|finalizer| !had.contains(finalizer))
        .map(Value::to_string)
        .collect();
    let why = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers \
         []string{{{}}}",
        added.join(", ")
    );
    (!added.is_empty()).then(|| Cause::forbidden("metadata.finalizers", why))
}

fn name(kind: &Kind, metadata: &Value) -> Vec<Cause> {
    let text = metadata["name"].as_str().unwrap_or_default();
    let prefix = metadata["generateName"].as_str().unwrap_or_default();
    let mut causes = Vec::new();
    if !prefix.is_empty() {
        // What follows makes a trailing dash good; the character before it goes unseen.
        let complete = match prefix.char_indices().rev().nth(1) {
            Some((last, _)) if prefix.ends_with('-') => format!("{}a", &prefix[..last]),
            _ => prefix.to_owned(),
        };
        let why = name_problems(kind, &complete);
        causes.extend(problems("metadata.generateName", prefix, why));
    }
    if text.is_empty() {
        let missing = if prefix.is_empty() {
            "name or generateName is required"
        } else {
            "name is required"
        };
        causes.push(Cause::required("metadata.name", missing));
        return causes;
    }
    causes.extend(problems("metadata.name", text, name_problems(kind, text)));
    causes
}

fn name_problems(kind: &Kind, name: &str) -> Vec<String> {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Namespace") => names::label(name),
        ("", "Service") => names::label_1035(name),
        // Recorders of events make names of anything; only the new group is strict.
        ("", "Event") | ("rbac.authorization.k8s.io" | "certificates.k8s.io", _) => {
            names::path_segment(name)
        }
        _ => names::subdomain(name),
    }
}

fn annotations(metadata: &Value) -> Vec<Cause> {
    let empty = Map::new();
    let annotations = metadata["annotations"].as_object().unwrap_or(&empty);
    let mut causes = Vec::new();
    let mut size = 0;
    for (key, value) in annotations {
        let lower = key.to_lowercase();
        causes.extend(problems(
            "metadata.annotations",
            key,
            names::qualified(&lower),
        ));
        size += key.len() + value.as_str().unwrap_or_default().len();
    }
    if size > ANNOTATIONS_LIMIT {
        causes.push(Cause::too_long("metadata.annotations", ANNOTATIONS_LIMIT));
    }
    causes
}

fn owners(metadata: &Value) -> Vec<Cause> {
    let field = |name: &str| format!("metadata.ownerReferences.{name}");
    let mut causes = Vec::new();
    let mut controllers = 0;
    for owner in items(&metadata["ownerReferences"]) {
        let text = |key: &str| owner[key].as_str().unwrap_or_default();
        if text("apiVersion").is_empty() {
            causes.push(Cause::invalid(
                field("apiVersion"),
                &"".into(),
                "version must not be empty",
            ));
        }
        for key in ["kind", "name", "uid"] {
            if text(key).is_empty() {
                causes.push(Cause::invalid(field(key), &"".into(), "must not be empty"));
            }
        }
        if text("apiVersion") == "v1" && text("kind") == "Event" {
            let why = "/v1, Kind=Event is disallowed from being an owner";
            causes.push(Cause::invalid("metadata.ownerReferences", owner, why));
        }
        controllers += usize::from(owner["controller"] == true);
    }
    if controllers > 1 {
        causes.push(Cause::invalid(
            "metadata.ownerReferences",
            &metadata["ownerReferences"],
            "Only one reference can have Controller set to true. Found \"true\" in references",
        ));
    }
    causes
}

/// Keeps one of each owner reference; returns what to warn of if there were more.
pub fn drop_repeated_owners(metadata: &mut Value) -> Option<String> {
    let owners = metadata.get_mut("ownerReferences")?.as_array_mut()?;
    let mut kept: Vec<Value> = Vec::new();
    let mut repeated: Vec<String> = Vec::new();
    for owner in std::mem::take(owners) {
        if kept.contains(&owner) {
            let uid = owner["uid"].as_str().unwrap_or_default();
            repeated.push(uid.to_owned());
        } else {
            kept.push(owner);
        }
    }
    *owners = kept;
    repeated.dedup();
    let warning = format!(
        ".metadata.ownerReferences contains duplicate entries; API server dedups owner references \
         in 1.20+, and may reject such requests as early as 1.24; please fix your requests; \
         duplicate UID(s) observed: [{}]",
        repeated.join(" ")
    );
    (!repeated.is_empty()).then_some(warning)
}

fn problems(field: &str, value: &str, problems: Vec<String>) -> impl Iterator<Item = Cause> {
    let value = Value::from(value);
    let field = field.to_owned();
    problems
        .into_iter()
        .map(move |problem| Cause::invalid(field.clone(), &value, problem))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn owners_are_kept_once() {
        let owner = |uid: &str| json!({"uid": uid, "name": "o"});
        let mut metadata = json!({"ownerReferences": [owner("1"), owner("2"), owner("1")]});
        let warning = drop_repeated_owners(&mut metadata).unwrap();
        assert!(warning.ends_with("observed: [1]"), "{warning}");
        assert_eq!(metadata["ownerReferences"], json!([owner("1"), owner("2")]));
        assert_eq!(drop_repeated_owners(&mut metadata), None);
    }

    #[test]
    fn a_prefix_of_names_is_judged_with_what_follows() {
        let registry = crate::registry::Registry::new();
        let maps = registry.find("", "v1", "configmaps").unwrap();
        let fields = |prefix: &str| -> Vec<String> {
            let metadata = json!({"generateName": prefix, "name": format!("{prefix}x")});
            let causes = validate_metadata(&maps, &metadata);
            causes.into_iter().map(|cause| cause.field).collect()
        };
        assert!(fields("a-").is_empty());
        assert_eq!(fields("AB-"), ["metadata.generateName", "metadata.name"]);
    }

    #[test]
    fn only_built_in_kinds_want_finalizers_with_a_domain() {
        let registry = crate::registry::Registry::new();
        let count = |group: &str, plural: &str| {
            let kind = registry.find(group, "v1", plural).unwrap();
            let metadata = json!({"name": "a", "finalizers": ["plain"]});
            validate_metadata(&kind, &metadata).len()
        };
        assert_eq!(count("", "configmaps"), 1);
        assert_eq!(count("coordination.k8s.io", "leases"), 0);
    }
}
