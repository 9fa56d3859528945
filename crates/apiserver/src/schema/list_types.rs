//! Sets and keyed lists hold every entry once.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::cause::Cause;
use super::merge_type::{ListKey, ListType};
use super::node::Node;
use super::path;

/// Finds entries that occur twice; each is reported once, at its second place.
pub(super) fn duplicates(root: &Node, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    find(root, object, "", &mut causes);
    causes
}

fn find(node: &Node, value: &Value, at: &str, causes: &mut Vec<Cause>) {
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
            match &node.list_type {
                ListType::Atomic => {}
                ListType::Set => report(items.clone(), at, causes),
                ListType::Map(keys) => {
                    report(
                        items.iter().map(|item| keys_of(item, keys)).collect(),
                        at,
                        causes,
                    );
                }
            }
            if let Some(item_node) = &node.items {
                for (position, item) in items.iter().enumerate() {
                    find(item_node, item, &path::index(at, position), causes);
                }
            }
        }
        _ => {}
    }
}

/// The values of the keys that an item has.
fn keys_of(item: &Value, keys: &[ListKey]) -> Value {
    let present = |key: &ListKey| Some((key.name.clone(), item.get(&key.name)?.clone()));
    Value::Object(keys.iter().filter_map(present).collect::<Map<_, _>>())
}

fn report(identities: Vec<Value>, at: &str, causes: &mut Vec<Cause>) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (position, identity) in identities.into_iter().enumerate() {
        let times = seen.entry(identity.to_string()).or_default();
        *times += 1;
        if *times == 2 {
            causes.push(Cause::duplicate(path::index(at, position), &identity));
        }
    }
}
