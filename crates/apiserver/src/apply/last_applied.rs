//! The move from client-side to server-side `kubectl apply`.
//!
//! Client-side apply keeps what it applied in an annotation. When the same user applies on
//! the server for the first time, what the annotation says and the object still has does
//! not count as somebody else's. The annotation is kept up to date, so that the user can
//! go back.

use serde_json::{Map, Value};

use super::compare::compare;
use super::field_set::FieldSet;
use super::owned::fields_of;
use crate::schema::MergeType;

/// The manager that `kubectl apply --server-side` uses.
const KUBECTL: &str = "kubectl";

/// Where client-side apply keeps what it applied.
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The fields that the user of `manager` owns by client-side apply.
pub(super) fn fields_owned_by_client(
    manager: &str,
    live: &Value,
    merge_type: &MergeType,
) -> FieldSet {
    let configuration = annotation_of(live)
        .filter(|_| manager == KUBECTL)
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    let Some(configuration) = configuration else {
        return FieldSet::default();
    };
    let comparison = compare(&configuration, live, merge_type);
    fields_of(&configuration, merge_type)
        .difference(&comparison.modified)
        .difference(&comparison.added)
        .difference(&comparison.removed)
}

/// Writes the configuration into the annotation, if `object` has one.
pub(super) fn update_annotation(manager: &str, configuration: &Value, object: &mut Value) {
    if manager != KUBECTL || annotation_of(object).is_none() {
        return;
    }
    let mut configuration = configuration.clone();
    if let Some(annotations) = annotations_mut(&mut configuration) {
        annotations.shift_remove(ANNOTATION);
    }
    if let Some(annotations) = annotations_mut(object) {
        annotations.insert(
            ANNOTATION.to_owned(),
            Value::from(format!("{configuration}\n")),
        );
    }
}

fn annotation_of(object: &Value) -> Option<&str> {
    object
        .get("metadata")?
        .get("annotations")?
        .get(ANNOTATION)?
        .as_str()
}

fn annotations_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object
        .get_mut("metadata")?
        .get_mut("annotations")?
        .as_object_mut()
}
