//! Objects within objects (`x-kubernetes-embedded-resource`) say what they are.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::cause::Cause;
use super::node::Node;
use super::path;

static KIND: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$").expect("the pattern is valid")
});

/// Finds embedded resources without a usable `apiVersion` and `kind`. The root is not one.
pub(super) fn problems(root: &Node, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    find_within(root, object, "", &mut causes);
    causes
}

fn find(node: &Node, value: &Value, at: &str, causes: &mut Vec<Cause>) {
    if node.embedded_resource
        && let Value::Object(resource) = value
    {
        check(resource, at, causes);
    }
    find_within(node, value, at, causes);
}

fn find_within(node: &Node, value: &Value, at: &str, causes: &mut Vec<Cause>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let Some(property) = node.properties.get(name) {
                    find(property, value, &path::child(at, name), causes);
                } else if let Some(values) = node.field(name) {
                    find(values, value, &path::key(at, name), causes);
                }
            }
        }
        Value::Array(items) => {
            for (position, item) in items.iter().enumerate() {
                if let Some(node) = &node.items {
                    find(node, item, &path::index(at, position), causes);
                }
            }
        }
        _ => {}
    }
}

fn check(resource: &Map<String, Value>, at: &str, causes: &mut Vec<Cause>) {
    for name in ["apiVersion", "kind"] {
        let field = path::child(at, name);
        let Some(value) = resource.get(name) else {
            causes.push(Cause::required(field, "must not be empty"));
            continue;
        };
        let problem = match (name, value.as_str()) {
            (_, None) => "must be a string",
            (_, Some("")) => "must not be empty",
            ("apiVersion", Some(version)) if version.matches('/').count() > 1 => {
                "unexpected GroupVersion string"
            }
            ("kind", Some(kind)) if kind.len() > 63 || !KIND.is_match(kind) => {
                "may have mixed case, but should otherwise match: a DNS-1035 label must consist \
                 of lower case alphanumeric characters or '-', start with an alphabetic \
                 character, and end with an alphanumeric character"
            }
            _ => continue,
        };
        causes.push(Cause::invalid(field, value, problem));
    }
}
