//! The fields of metadata that belong to the server: set once, counted, never changed by clients.

use serde_json::Value;

use crate::api;
use crate::registry::Kind;
use crate::status::{Cause, Status};
use crate::storage::Stored;

use super::sameness::same_fields;

/// Gives a new object its name, uid and times, and takes away what clients may not set.
pub fn prepare_metadata(kind: &Kind, namespace: Option<&str>, object: &mut Value) {
    let metadata = &mut object["metadata"];
    if let Some(map) = metadata.as_object_mut() {
        for field in [
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "generation",
            "resourceVersion",
            "namespace",
        ] {
            map.shift_remove(field);
        }
    }
    let name = metadata["name"].as_str().unwrap_or_default();
    let prefix = metadata["generateName"].as_str().unwrap_or_default();
    if name.is_empty() && !prefix.is_empty() {
        metadata["name"] = generated_name(prefix).into();
    }
    if let Some(map) = metadata.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    metadata["uid"] = uuid::Uuid::new_v4().to_string().into();
    metadata["creationTimestamp"] = api::now().into();
    if kind.behaviour.generation {
        metadata["generation"] = 1.into();
    }
}

/// A name of at most 63 characters: the prefix, cut, and five random characters.
fn generated_name(prefix: &str) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut name: String = prefix.chars().take(58).collect();
    name.extend((0..5).map(|_| {
        let index = rand::random_range(0..ALPHABET.len());
        char::from(ALPHABET[index])
    }));
    name
}

/// The uid that a client names must be that of the object.
///
/// # Errors
/// 409 if it is a precondition, else 422.
pub fn check_uid(kind: &Kind, old: &Value, new: &Value, precondition: bool) -> Result<(), Status> {
    let (given, is) = (&new["metadata"]["uid"], &old["metadata"]["uid"]);
    if given.as_str().is_none_or(str::is_empty) || given == is {
        return Ok(());
    }
    if precondition {
        let why =
            format!("Precondition failed: UID in precondition: {given}, UID in object meta: {is}");
        return Err(Status::conflict(kind.resource_name(), name_of(old), why));
    }
    // Kubernetes checks metadata twice and reports what it finds each time.
    let cause = Cause::invalid("metadata.uid", given, "field is immutable");
    let causes = vec![cause.clone(), cause];
    Err(Status::invalid(kind.kind_name(), name_of(old), causes))
}

/// The resourceVersion that a client names must be that of the object. Some kinds need one.
///
/// # Errors
/// 400, 409 or 422.
pub fn check_version(kind: &Kind, stored: &Stored, old: &Value, new: &Value) -> Result<(), Status> {
    let version = new["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default();
    if matches!(version, "" | "0") {
        if !kind.behaviour.update_needs_version {
            return Ok(());
        }
        let why = "must be specified for an update";
        let cause = Cause::invalid("metadata.resourceVersion", &0.into(), why);
        return Err(Status::invalid(
            kind.resource_name(),
            name_of(old),
            vec![cause],
        ));
    }
    if version.parse::<u64>().is_err() {
        let why = format!("strconv.ParseUint: parsing {version:?}: invalid syntax");
        return Err(Status::bad_request(why));
    }
    if version != stored.revision.to_string() {
        return Err(Status::stale(kind.resource_name(), name_of(old)));
    }
    Ok(())
}

/// What only the server sets stays as it was.
pub fn keep_system_fields(new: &mut Value, old: &Value) {
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
    ] {
        let was = old["metadata"].get(field).cloned();
        match (was, new["metadata"].as_object_mut()) {
            (Some(was), Some(metadata)) => {
                metadata.insert(field.to_owned(), was);
            }
            (None, Some(metadata)) => {
                metadata.shift_remove(field);
            }
            (_, None) => {}
        }
    }
    if let Some(metadata) = new["metadata"].as_object_mut() {
        metadata.shift_remove("selfLink");
        metadata.retain(|_, value| !value.is_null());
    }
}

/// The generation counts changes of the desired state: of everything but metadata and status
/// where the status is written separately, else of everything but metadata.
pub fn count_generation(kind: &Kind, new: &mut Value, old: &Value) {
    if !kind.behaviour.generation {
        return;
    }
    let ignored: &[&str] = if kind.has_status() {
        &["metadata", "status"]
    } else {
        &["metadata"]
    };
    if !same_fields(new, old, ignored) {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
        new["metadata"]["generation"] = (generation + 1).into();
    }
}

/// The name of an object; empty if it has none.
pub fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_fit_into_a_label() {
        let name = generated_name(&"x".repeat(80));
        assert_eq!(name.len(), 63);
        assert_ne!(generated_name("a-"), generated_name("a-"));
    }
}
