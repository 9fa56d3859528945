//! Tables: what `kubectl get` shows.

mod age;
mod cells;
mod columns;
pub mod json_path;

use serde_json::{Value, json};

use crate::answer;
use crate::registry::Kind;
use crate::registry::custom::Column;
use crate::status::Status;

/// Renders an object, or a list of objects, as a table.
///
/// `include` says what the rows carry beside their cells: `Metadata` (the default), `Object` or
/// `None`.
///
/// # Errors
/// 400 for another `include`.
pub fn render(
    kind: &Kind,
    value: &Value,
    include: Option<&str>,
    meta_version: &str,
) -> Result<Value, Status> {
    let include = include.unwrap_or("Metadata");
    if !["Metadata", "Object", "None"].contains(&include) {
        return Err(Status::bad_request(format!(
            "Unable to convert to Table as requested: includeObject: Invalid value: {include:?}: \
             must be 'Metadata', 'Object', 'None', or empty"
        )));
    }
    let objects = match value["items"].as_array() {
        Some(items) if value["kind"] == kind.list_kind.as_str() => items.as_slice(),
        _ => std::slice::from_ref(value),
    };
    let mut metadata = json!({});
    for field in ["resourceVersion", "continue", "remainingItemCount"] {
        let given = &value["metadata"][field];
        if !given.is_null() && given != "" {
            metadata[field] = given.clone();
        }
    }
    let now = jiff::Timestamp::now();
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let carried = match include {
                "Object" => with_type(kind, object),
                "None" => Value::Null,
                _ => answer::partial(object, meta_version),
            };
            json!({"cells": cells::cells(kind, object, now), "object": carried})
        })
        .collect();
    let columns: Vec<Value> = columns::columns(kind).iter().map(definition).collect();
    Ok(json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{meta_version}"),
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    }))
}

/// Items of lists do not say what they are.
fn with_type(kind: &Kind, object: &Value) -> Value {
    let mut object = object.clone();
    object["kind"] = kind.kind.as_str().into();
    object["apiVersion"] = kind.api_version().into();
    object
}

fn definition(column: &Column) -> Value {
    json!({
        "name": column.name,
        "type": column.kind,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    })
}
