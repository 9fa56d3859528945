//! What tells the items of a list apart.

use serde_json::Value;

use super::path::PathElement;
use crate::schema::{ListKey, ListType};

/// The steps to the items of a list; nothing for lists that are one value.
pub(super) fn elements(list: &ListType, items: &[Value]) -> Option<Vec<PathElement>> {
    match list {
        ListType::Atomic => None,
        ListType::Set => Some(items.iter().map(PathElement::value).collect()),
        ListType::Map(keys) => Some(items.iter().map(|item| key_element(item, keys)).collect()),
    }
}

/// The step to an item of a keyed list. A key that the item lacks counts with its default,
/// or not at all.
fn key_element(item: &Value, keys: &[ListKey]) -> PathElement {
    PathElement::key(keys.iter().filter_map(|key| {
        let value = item.get(&key.name).or(key.default.as_ref())?;
        Some((key.name.as_str(), value))
    }))
}
