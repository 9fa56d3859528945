//! Merging an applied configuration into the live object.

use std::collections::VecDeque;

use serde_json::{Map, Value};

use super::items;
use super::path::PathElement;
use crate::schema::MergeType;

/// Merges `applied` into `live`: objects field by field, sets and keyed lists item by item,
/// everything else is taken from `applied`.
pub(super) fn merge(live: &Value, applied: &Value, merge_type: &MergeType) -> Value {
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) if !merge_type.atomic_map => {
            Value::Object(merge_fields(live, applied, merge_type))
        }
        (Value::Object(fields), Value::Null) if !merge_type.atomic_map && !fields.is_empty() => {
            live.clone()
        }
        (Value::Array(live), Value::Array(applied)) => {
            let steps = |list: &[Value]| items::elements(&merge_type.list, list);
            match (steps(live), steps(applied)) {
                (Some(live_steps), Some(applied_steps)) => Value::Array(merge_items(
                    &live_steps.into_iter().zip(live).collect::<Vec<_>>(),
                    &applied_steps.into_iter().zip(applied).collect::<Vec<_>>(),
                    merge_type.element(),
                )),
                _ => Value::Array(applied.clone()),
            }
        }
        (Value::Array(list), Value::Null)
            if !list.is_empty() && items::elements(&merge_type.list, list).is_some() =>
        {
            live.clone()
        }
        _ => applied.clone(),
    }
}

fn merge_fields(
    live: &Map<String, Value>,
    applied: &Map<String, Value>,
    merge_type: &MergeType,
) -> Map<String, Value> {
    let mut merged = live.clone();
    for (name, value) in applied {
        let value = match live.get(name) {
            Some(live) => merge(live, value, merge_type.field(name)),
            None => value.clone(),
        };
        merged.insert(name.clone(), value);
    }
    merged
}

/// Merges lists item by item. Applied items keep their order; live items that are not
/// applied stay where they are, as seen from the items that both lists have.
fn merge_items(
    live: &[(PathElement, &Value)],
    applied: &[(PathElement, &Value)],
    item_type: &MergeType,
) -> Vec<Value> {
    let find = |list: &[(PathElement, &Value)], element: &PathElement| {
        list.iter().position(|(other, _)| other == element)
    };
    let is_applied = |element: &PathElement| find(applied, element).is_some();
    let merged = |element: &PathElement, value: &Value| match find(live, element) {
        Some(position) => merge(live[position].1, value, item_type),
        None => value.clone(),
    };
    // Items of both lists, in the order of the applied one.
    let mut shared: VecDeque<&PathElement> = applied
        .iter()
        .map(|(element, _)| element)
        .filter(|element| find(live, element).is_some())
        .collect();
    let mut result = Vec::with_capacity(live.len() + applied.len());
    let mut live = live.iter().peekable();
    let mut applied = applied.iter().peekable();
    loop {
        match (live.peek(), applied.peek()) {
            (Some((old, _)), Some((new, value))) if old == new => {
                result.push(merged(new, value));
                shared.pop_front();
                live.next();
                applied.next();
            }
            // A shared item whose turn has not come.
            (Some((old, _)), Some(_))
                if is_applied(old) && shared.front().is_some_and(|next| *next != old) =>
            {
                live.next();
            }
            (Some((old, value)), _) if !is_applied(old) => {
                result.push((*value).clone());
                live.next();
            }
            (_, Some((new, value))) => {
                result.push(merged(new, value));
                if shared.front() == Some(&new) {
                    shared.pop_front();
                }
                applied.next();
            }
            // Only items that have been merged already are left.
            (Some(_), None) => {
                live.next();
            }
            (None, None) => return result,
        }
    }
}
