//! Which fields an applied configuration claims.

use serde_json::Value;

use super::field_set::FieldSet;
use super::items;
use super::path::PathElement;
use crate::schema::{ListType, MergeType, UndeclaredFields};

/// The fields that a configuration claims by naming them.
pub(super) fn fields_of(value: &Value, merge_type: &MergeType) -> FieldSet {
    collect(value, merge_type).unwrap_or_default()
}

/// The fields within a value; nothing for a value that is a field by itself.
fn collect(value: &Value, merge_type: &MergeType) -> Option<FieldSet> {
    let mut set = FieldSet::default();
    match value {
        Value::Object(fields) if !merge_type.atomic_map => {
            for (name, value) in fields {
                let element = PathElement::field(name);
                let within = collect(value, merge_type.field(name));
                let empty = value.as_object().is_some_and(serde_json::Map::is_empty);
                let is_member = within.is_none() || empty || !merge_type.names_field(name);
                set.insert_under(&element, within.unwrap_or_default());
                if is_member {
                    set.insert(element);
                }
            }
        }
        Value::Array(list) => {
            let elements = items::elements(&merge_type.list, list)?;
            for (element, item) in elements.into_iter().zip(list) {
                let within = collect(item, merge_type.element());
                set.insert_under(&element, within.unwrap_or_default());
                set.insert(element);
            }
        }
        _ => return None,
    }
    Some(set)
}

/// Finds what makes a configuration impossible to apply: fields that the schema does not
/// have, list items without their keys, items that occur twice. Gives the first problem.
pub(super) fn problem(value: &Value, merge_type: &MergeType, at: &str) -> Option<String> {
    match value {
        Value::Object(fields) if !merge_type.atomic_map => {
            fields.iter().find_map(|(name, value)| {
                let at = format!("{at}.{name}");
                if merge_type.undeclared == UndeclaredFields::Refused
                    && !merge_type.fields.contains_key(name)
                {
                    return Some(format!("{at}: field not declared in schema"));
                }
                problem(value, merge_type.field(name), &at)
            })
        }
        Value::Array(list) => {
            let elements = items::elements(&merge_type.list, list)?;
            list.iter()
                .zip(&elements)
                .enumerate()
                .find_map(|(position, (item, element))| {
                    if let Some(missing) = missing_key(item, &merge_type.list) {
                        return Some(format!(
                            "{at}: element {position}: associative list with keys has an element \
                         that omits key field {missing:?} (and doesn't have default value)"
                        ));
                    }
                    if elements[..position].contains(element) {
                        return Some(format!("{at}: duplicate entries for key {element}"));
                    }
                    problem(item, merge_type.element(), &format!("{at}{element}"))
                })
        }
        _ => None,
    }
}

/// The first key of a keyed list that an item has no value for.
fn missing_key<'a>(item: &Value, list: &'a ListType) -> Option<&'a str> {
    let ListType::Map(keys) = list else {
        return None;
    };
    keys.iter()
        .find(|key| key.default.is_none() && item.get(&key.name).is_none())
        .map(|key| key.name.as_str())
}
