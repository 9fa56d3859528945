//! The rules for schemas of sets and keyed lists (`x-kubernetes-list-type`).

use serde_json::{Map, Value};

use super::cause::Cause;
use super::path::{child, key};

const LIST_TYPE: &str = "x-kubernetes-list-type";
const MAP_KEYS: &str = "x-kubernetes-list-map-keys";

/// Checks what a schema says about the list that it describes.
pub(super) fn check(schema: &Map<String, Value>, at: &str, causes: &mut Vec<Cause>) {
    let list_type = schema.get(LIST_TYPE);
    let keys: Vec<&str> = schema
        .get(MAP_KEYS)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if let Some(list_type) = list_type {
        let detail = "must be array if x-kubernetes-list-type is specified";
        require_type(schema, at, "array", detail, causes);
        if !matches!(list_type.as_str(), Some("atomic" | "map" | "set")) {
            let known = ["atomic", "map", "set"].map(str::to_owned);
            causes.push(Cause::not_supported(
                child(at, LIST_TYPE),
                list_type,
                &known,
            ));
        }
    }
    let named = list_type.and_then(Value::as_str);
    if !keys.is_empty() && named != Some("map") {
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        causes.push(match list_type {
            None => Cause::required(child(at, LIST_TYPE), detail),
            Some(list_type) => Cause::invalid(child(at, LIST_TYPE), list_type, detail),
        });
    }
    let items = schema.get("items").and_then(Value::as_object);
    match (named, items) {
        (Some("map"), items) => check_keyed_list(&keys, items, at, causes),
        (Some("set"), Some(items)) => check_set(items, at, causes),
        _ => {}
    }
}

/// Complains if the schema has another type than `wanted`.
pub(super) fn require_type(
    schema: &Map<String, Value>,
    at: &str,
    wanted: &str,
    detail: &str,
    causes: &mut Vec<Cause>,
) {
    match schema.get("type").and_then(Value::as_str) {
        Some(found) if found == wanted => {}
        None | Some("") => causes.push(Cause::required(child(at, "type"), detail)),
        Some(other) => causes.push(Cause::invalid(child(at, "type"), &other.into(), detail)),
    }
}

fn check_keyed_list(
    keys: &[&str],
    items: Option<&Map<String, Value>>,
    at: &str,
    causes: &mut Vec<Cause>,
) {
    if keys.is_empty() {
        let detail = "must not be empty if x-kubernetes-list-type is map";
        causes.push(Cause::required(child(at, MAP_KEYS), detail));
    }
    let items_at = child(at, "items");
    let Some(items) = items else {
        let detail = "must have a schema if x-kubernetes-list-type is map";
        causes.push(Cause::required(items_at, detail));
        return;
    };
    let item_type = items.get("type").cloned().unwrap_or(Value::from(""));
    if item_type != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        causes.push(Cause::invalid(child(&items_at, "type"), &item_type, detail));
        return;
    }
    for (position, name) in keys.iter().enumerate() {
        let all_keys = || Value::from(keys.to_vec());
        if keys[..position].contains(name) {
            let detail = "must not contain duplicate entries";
            causes.push(Cause::invalid(child(at, MAP_KEYS), &all_keys(), detail));
        }
        match items
            .get("properties")
            .and_then(|properties| properties.get(name))
        {
            Some(property) => check_key(name, property, items, &items_at, causes),
            None => {
                let detail = "entries must all be names of item properties";
                causes.push(Cause::invalid(child(at, MAP_KEYS), &all_keys(), detail));
            }
        }
    }
}

/// A key is a scalar that every item has.
fn check_key(
    name: &str,
    property: &Value,
    items: &Map<String, Value>,
    items_at: &str,
    causes: &mut Vec<Cause>,
) {
    let at = key(&child(items_at, "properties"), name);
    let named = property.get("type").and_then(Value::as_str);
    if let Some(composite @ ("array" | "object")) = named {
        let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
        causes.push(Cause::invalid(
            child(&at, "type"),
            &composite.into(),
            detail,
        ));
    }
    if property.get("nullable") == Some(&Value::Bool(true)) {
        let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
        causes.push(Cause::forbidden(child(&at, "nullable"), detail));
    }
    let required = items
        .get("required")
        .and_then(Value::as_array)
        .is_some_and(|required| required.iter().any(|field| field == name));
    if !required && property.get("default").is_none() {
        let detail = "this property is in x-kubernetes-list-map-keys, so it must have a \
                      default or be a required property";
        causes.push(Cause::required(child(&at, "default"), detail));
    }
}

/// Items of a set are scalars or have one owner as a whole.
fn check_set(items: &Map<String, Value>, at: &str, causes: &mut Vec<Cause>) {
    let at = child(at, "items");
    if items.get("nullable") == Some(&Value::Bool(true)) {
        let detail = "cannot be nullable when x-kubernetes-list-type is \"set\"";
        causes.push(Cause::forbidden(child(&at, "nullable"), detail));
    }
    let named = items.get("type").and_then(Value::as_str);
    let (name, unset_is_fine) = match named {
        Some("array") => (LIST_TYPE, true),
        Some("object") => ("x-kubernetes-map-type", false),
        _ => return,
    };
    let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
    match items.get(name) {
        Some(Value::String(atomic)) if atomic == "atomic" => {}
        Some(other) => causes.push(Cause::invalid(child(&at, name), other, detail)),
        None if unset_is_fine => {}
        None => causes.push(Cause::required(child(&at, name), detail)),
    }
}
