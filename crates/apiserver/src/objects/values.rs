//! The parts of JSON values, for rules that do not care whether they are there.

use serde_json::{Map, Value};

/// Sets a field that is not there.
pub(super) fn set_default(object: &mut Value, field: &str, value: Value) {
    if let Value::Object(map) = object {
        map.entry(field).or_insert(value);
    }
}

/// Sets or removes a field.
pub(super) fn put(object: &mut Value, field: &str, value: Option<Value>) {
    match value {
        Some(value) => object[field] = value,
        None => remove(object, field),
    }
}

/// Removes a field.
pub(super) fn remove(object: &mut Value, field: &str) {
    if let Value::Object(map) = object {
        map.shift_remove(field);
    }
}

/// The fields of an object; none if it is something else.
pub(super) fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// The items of a list; none if it is something else.
pub fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The items of a list, to change.
pub(super) fn items_mut(value: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    value.and_then(Value::as_array_mut).into_iter().flatten()
}

/// A text; empty if it is something else.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
