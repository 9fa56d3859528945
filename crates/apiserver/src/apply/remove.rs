//! Taking fields out of an object.

use serde_json::{Map, Value};

use super::field_set::FieldSet;
use super::items;
use super::path::PathElement;
use crate::schema::MergeType;

/// The object without the fields of `set`. Of what loses all that it had, `null` is left, so
/// that it still counts as a field.
pub(super) fn remove(value: &Value, set: &FieldSet, merge_type: &MergeType) -> Value {
    remove_from(value, set, merge_type).unwrap_or_else(|| Value::Object(Map::new()))
}

/// What is left of a value; nothing if all of it was removed.
fn remove_from(value: &Value, set: &FieldSet, merge_type: &MergeType) -> Option<Value> {
    match value {
        Value::Object(fields) if !merge_type.atomic_map => {
            let rest: Map<_, _> = fields
                .iter()
                .filter_map(|(name, value)| {
                    let rest = keep(value, &PathElement::field(name), set, || {
                        merge_type.field(name)
                    })?;
                    Some((name.clone(), rest))
                })
                .collect();
            (!rest.is_empty()).then_some(Value::Object(rest))
        }
        Value::Array(list) => {
            let elements = items::elements(&merge_type.list, list)?;
            let rest: Vec<_> = elements
                .iter()
                .zip(list)
                .filter_map(|(element, item)| keep(item, element, set, || merge_type.element()))
                .collect();
            (!rest.is_empty()).then_some(Value::Array(rest))
        }
        other => Some(other.clone()),
    }
}

/// What is left of the value behind one step; nothing if it is removed itself.
fn keep<'a, Type: AsRef<MergeType> + 'a>(
    value: &Value,
    element: &PathElement,
    set: &FieldSet,
    merge_type: impl FnOnce() -> &'a Type,
) -> Option<Value> {
    if set.contains(element) {
        return None;
    }
    match set.under(element) {
        Some(within) => {
            let rest = remove_from(value, within, merge_type().as_ref());
            Some(rest.unwrap_or(Value::Null))
        }
        None => Some(value.clone()),
    }
}
