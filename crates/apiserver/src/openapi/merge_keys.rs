//! Tells clients how lists of built-in kinds are merged: `kubectl apply` computes its patches by
//! these extensions.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::schema::{ListType, MergeType, PatchStrategy};

use super::schemas::REFERENCE;

/// Adds the extensions to the schema `root` and to those that it refers to.
pub fn annotate(schemas: &mut Map<String, Value>, root: &str, merge_type: &MergeType) {
    annotate_definition(schemas, root, merge_type, &mut BTreeSet::new());
}

fn annotate_definition(
    schemas: &mut Map<String, Value>,
    name: &str,
    merge_type: &MergeType,
    seen: &mut BTreeSet<String>,
) {
    if !seen.insert(name.to_owned()) {
        return;
    }
    let Some(properties) = schemas
        .get(name)
        .and_then(|schema| schema["properties"].as_object())
    else {
        return;
    };
    let fields: Vec<String> = properties.keys().cloned().collect();
    for field in fields {
        let merge_type = merge_type.field(&field);
        let Some(property) = schemas
            .get_mut(name)
            .and_then(|schema| schema["properties"].get_mut(&field))
        else {
            continue;
        };
        extend(property, merge_type);
        let places = [
            (&*property, merge_type),
            (&property["items"], merge_type.element()),
            (&property["additionalProperties"], merge_type.element()),
        ];
        let target = places.iter().find_map(|(place, merge_type)| {
            reference(place).map(|target| (target.to_owned(), *merge_type))
        });
        if let Some((target, merge_type)) = target {
            annotate_definition(schemas, &target, merge_type, seen);
        }
    }
}

fn reference(schema: &Value) -> Option<&str> {
    let plain = schema["$ref"].as_str();
    let wrapped = || schema["allOf"][0]["$ref"].as_str();
    plain.or_else(wrapped)?.strip_prefix(REFERENCE)
}

fn extend(property: &mut Value, merge_type: &MergeType) {
    if property["type"] == "array" {
        match &merge_type.list {
            ListType::Atomic => property["x-kubernetes-list-type"] = "atomic".into(),
            ListType::Set => property["x-kubernetes-list-type"] = "set".into(),
            ListType::Map(keys) => {
                let keys: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
                property["x-kubernetes-list-type"] = "map".into();
                property["x-kubernetes-list-map-keys"] = json!(keys);
            }
        }
    }
    if let Some(strategy) = merge_type.patch_strategy() {
        property["x-kubernetes-patch-strategy"] = strategy.into();
    }
    if let PatchStrategy::MergeByKey(key) = &merge_type.patch {
        property["x-kubernetes-patch-merge-key"] = key.as_str().into();
    }
}
