//! Removing what a schema does not describe.

use serde_json::{Map, Value};

use super::node::Node;
use super::path;

/// What every resource has, whatever its schema says.
const RESOURCE_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// The fields of `ObjectMeta`.
const METADATA_FIELDS: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Removes what the schema does not describe and gives the paths, sorted. The metadata of
/// the root are not looked at.
pub(super) fn prune(root: &Node, object: &mut Value) -> Vec<String> {
    let mut removed = Vec::new();
    if let Value::Object(fields) = object {
        prune_fields(Some(root), fields, "", true, &mut removed);
    }
    removed.sort();
    removed
}

/// Prunes a value that is not a resource of its own.
pub(super) fn prune_default(node: &Node, value: &mut Value) -> Vec<String> {
    let mut removed = Vec::new();
    prune_value(Some(node), value, "", &mut removed);
    removed
}

/// Prunes a value; without a schema, objects lose all their fields.
fn prune_value(node: Option<&Node>, value: &mut Value, at: &str, removed: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let resource = node.is_some_and(|node| node.embedded_resource);
            prune_fields(node, fields, at, resource, removed);
            if resource && let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
                let kept = |name: &str| METADATA_FIELDS.contains(&name);
                remove_fields(metadata, kept, &path::child(at, "metadata"), removed);
            }
        }
        Value::Array(items) => {
            let item_node = node.and_then(|node| node.items.as_deref());
            if item_node.is_none() && node.is_some_and(|node| node.preserve_unknown_fields) {
                return;
            }
            for (position, item) in items.iter_mut().enumerate() {
                prune_value(item_node, item, &path::index(at, position), removed);
            }
        }
        _ => {}
    }
}

fn prune_fields(
    node: Option<&Node>,
    fields: &mut Map<String, Value>,
    at: &str,
    resource: bool,
    removed: &mut Vec<String>,
) {
    let of_resource = |name: &str| resource && RESOURCE_FIELDS.contains(&name);
    let described = |name: &str| {
        node.is_some_and(|node| {
            node.properties.contains_key(name) || node.additional_properties.is_some()
        })
    };
    if !node.is_some_and(|node| node.preserve_unknown_fields) {
        remove_fields(
            fields,
            |name| of_resource(name) || described(name),
            at,
            removed,
        );
    }
    for (name, value) in fields.iter_mut() {
        if !of_resource(name) && described(name) {
            let field = node.and_then(|node| node.field(name));
            prune_value(field, value, &path::child(at, name), removed);
        }
    }
}

fn remove_fields(
    fields: &mut Map<String, Value>,
    kept: impl Fn(&str) -> bool,
    at: &str,
    removed: &mut Vec<String>,
) {
    fields.retain(|name, _| {
        let keep = kept(name);
        if !keep {
            removed.push(path::child(at, name));
        }
        keep
    });
}
