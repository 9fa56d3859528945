//! Filling in defaults and dropping nulls that a schema does not allow.

use serde_json::Value;

use super::node::Node;

/// Fills in the defaults of fields that are missing, or `null` where that is not allowed;
/// other nulls that are not allowed are dropped.
pub(super) fn apply_defaults(node: &Node, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, property) in &node.properties {
                if let Some(default) = &property.default
                    && fields
                        .get(name)
                        .is_none_or(|value| is_refused_null(value, property))
                {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in fields.iter_mut() {
                if let Some(field) = node.field(name) {
                    default_null(field, value);
                    apply_defaults(field, value);
                }
            }
            fields.retain(|name, value| {
                !node
                    .field(name)
                    .is_some_and(|field| is_refused_null(value, field))
            });
        }
        Value::Array(items) => {
            if let Some(node) = &node.items {
                for item in items {
                    default_null(node, item);
                    apply_defaults(node, item);
                }
            }
        }
        _ => {}
    }
}

/// Puts the default in place of a `null` that is not allowed.
fn default_null(node: &Node, value: &mut Value) {
    if let Some(default) = &node.default
        && is_refused_null(value, node)
    {
        *value = default.clone();
    }
}

fn is_refused_null(value: &Value, node: &Node) -> bool {
    value.is_null() && !node.nullable
}
