//! What differs between two versions of an object.

use serde_json::{Map, Value};

use super::field_set::FieldSet;
use super::items;
use super::path::PathElement;
use crate::schema::{ListType, MergeType};

/// The fields that differ between two versions of an object.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// Fields that only the new version has.
    pub(super) added: FieldSet,
    /// Fields that have another value.
    pub(super) modified: FieldSet,
    /// Fields that only the old version has.
    pub(super) removed: FieldSet,
}

/// How one value differs as a whole.
#[derive(Clone, Copy)]
enum Change {
    Added,
    Modified,
    Removed,
}

impl Comparison {
    /// Whether nothing differs.
    pub(super) fn is_same(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// Forgets the fields of `ignored` and all that is in them.
    pub(super) fn without(self, ignored: &FieldSet) -> Self {
        Self {
            added: self.added.difference_with_all_under(ignored),
            modified: self.modified.difference_with_all_under(ignored),
            removed: self.removed.difference_with_all_under(ignored),
        }
    }

    fn note(&mut self, element: &PathElement, change: Option<Change>, within: Comparison) {
        self.added.insert_under(element, within.added);
        self.modified.insert_under(element, within.modified);
        self.removed.insert_under(element, within.removed);
        match change {
            Some(Change::Added) => self.added.insert(element.clone()),
            Some(Change::Modified) => self.modified.insert(element.clone()),
            Some(Change::Removed) => self.removed.insert(element.clone()),
            None => {}
        }
    }
}

/// Compares two versions of an object.
pub(super) fn compare(old: &Value, new: &Value, merge_type: &MergeType) -> Comparison {
    compare_value(Some(old), Some(new), merge_type).1
}

/// How a value differs as a whole, and what differs within it.
fn compare_value(
    old: Option<&Value>,
    new: Option<&Value>,
    merge_type: &MergeType,
) -> (Option<Change>, Comparison) {
    if old.is_some() && old == new {
        return (None, Comparison::default());
    }
    let presence = match (old, new) {
        (None, Some(_)) => Some(Change::Added),
        (Some(_), None) => Some(Change::Removed),
        _ => None,
    };
    match (old.unwrap_or(&Value::Null), new.unwrap_or(&Value::Null)) {
        (Value::Object(old), Value::Object(new)) if is_merged_map(old, new, merge_type) => {
            (presence, compare_fields(old, new, merge_type))
        }
        (Value::Null, Value::Object(new)) if is_merged_map(&Map::new(), new, merge_type) => {
            (presence, compare_fields(&Map::new(), new, merge_type))
        }
        (Value::Object(old), Value::Null) if is_merged_map(old, &Map::new(), merge_type) => {
            (presence, compare_fields(old, &Map::new(), merge_type))
        }
        (Value::Array(old), Value::Array(new)) if is_merged_list(old, new, merge_type) => {
            (presence, compare_items(old, new, merge_type))
        }
        (Value::Null, Value::Array(new)) if is_merged_list(&[], new, merge_type) => {
            (presence, compare_items(&[], new, merge_type))
        }
        (Value::Array(old), Value::Null) if is_merged_list(old, &[], merge_type) => {
            (presence, compare_items(old, &[], merge_type))
        }
        (one, other) => {
            let change = presence.or_else(|| (one != other).then_some(Change::Modified));
            (change, compare_kinds(one, other, merge_type))
        }
    }
}

/// A value that became one of another kind: all that was in it is gone, all that is in it
/// is new.
fn compare_kinds(old: &Value, new: &Value, merge_type: &MergeType) -> Comparison {
    let composite = |value: &Value| value.is_object() || value.is_array();
    let same_kind = old.is_object() == new.is_object() && old.is_array() == new.is_array();
    if same_kind || !(composite(old) || composite(new)) || old.is_null() || new.is_null() {
        return Comparison::default();
    }
    Comparison {
        added: compare_value(None, Some(new), merge_type).1.added,
        modified: FieldSet::default(),
        removed: compare_value(Some(old), None, merge_type).1.removed,
    }
}

fn is_merged_map(
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    merge_type: &MergeType,
) -> bool {
    !merge_type.atomic_map && (!old.is_empty() || !new.is_empty())
}

fn is_merged_list(old: &[Value], new: &[Value], merge_type: &MergeType) -> bool {
    merge_type.list != ListType::Atomic && (!old.is_empty() || !new.is_empty())
}

fn compare_fields(
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    merge_type: &MergeType,
) -> Comparison {
    let mut comparison = Comparison::default();
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    for name in new.keys().chain(gone) {
        let (change, within) = compare_value(old.get(name), new.get(name), merge_type.field(name));
        if change.is_some() || !within.is_same() {
            comparison.note(&PathElement::field(name), change, within);
        }
    }
    comparison
}

fn compare_items(old: &[Value], new: &[Value], merge_type: &MergeType) -> Comparison {
    let mut comparison = Comparison::default();
    let old_elements = items::elements(&merge_type.list, old).unwrap_or_default();
    let new_elements = items::elements(&merge_type.list, new).unwrap_or_default();
    let gone = old_elements
        .iter()
        .filter(|element| !new_elements.contains(element));
    for element in new_elements.iter().chain(gone) {
        let find = |elements: &[PathElement]| elements.iter().position(|other| other == element);
        let old = find(&old_elements).map(|position| &old[position]);
        let new = find(&new_elements).map(|position| &new[position]);
        let (change, within) = compare_value(old, new, merge_type.element());
        comparison.note(element, change, within);
    }
    comparison
}
