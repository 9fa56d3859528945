//! Checking a value against its schema: types, bounds, required fields.
//!
//! On update, what has not changed is not complained about (ratcheting), so that objects
//! stay writable when their schema gets stricter.

use serde_json::{Number, Value};

use super::cause::Cause;
use super::formats;
use super::node::{Limits, Node, ValueType};
use super::path;

/// The field of causes for which Kubernetes has no name.
pub(super) const NO_FIELD: &str = "<nil>";

/// Checks the value at the path `at`, which is empty for a whole object. `old` is what the
/// value was before an update.
pub(super) fn validate(node: &Node, value: &Value, old: Option<&Value>, at: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    validate_value(node, value, old, at, &mut causes);
    causes
}

fn validate_value(
    node: &Node,
    value: &Value,
    old: Option<&Value>,
    at: &str,
    causes: &mut Vec<Cause>,
) {
    if old == Some(value) {
        return;
    }
    check_type(node, value, at, causes);
    match value {
        Value::String(text) => check_string(node, text, at, causes),
        Value::Number(number) => check_number(&node.limits, number, value, at, causes),
        Value::Array(items) => {
            check_count(&node.limits, items.len(), at, causes);
            if let Some(item_node) = &node.items {
                for (position, item) in items.iter().enumerate() {
                    let old = node.same_item(item, old);
                    validate_value(item_node, item, old, &path::index(at, position), causes);
                }
            }
        }
        Value::Object(fields) => {
            check_properties(&node.limits, fields.len(), at, causes);
            for (name, value) in fields {
                if let Some(field) = node.field(name) {
                    let old = old.and_then(|old| old.get(name));
                    validate_value(field, value, old, &path::child(at, name), causes);
                }
            }
            for name in &node.limits.required {
                if !fields.contains_key(name) {
                    causes.push(Cause::required(path::child(at, name), ""));
                }
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
    check_enumeration(&node.limits, value, at, causes);
    check_branches(node, value, old, at, causes);
}

/// The type that a JSON value has in a schema.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if is_whole(number) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_whole(number: &Number) -> bool {
    !number.is_f64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn check_type(node: &Node, value: &Value, at: &str, causes: &mut Vec<Cause>) {
    if value.is_null() && node.nullable {
        return;
    }
    let found = type_name(value);
    let wanted = match node.value_type {
        _ if node.int_or_string => "integer,string",
        Some(wanted) => wanted.as_str(),
        None => return,
    };
    let fits = wanted.split(',').any(|wanted| wanted == found)
        || (wanted == "number" && found == "integer");
    if fits {
        return;
    }
    let detail = format!("{} must be of type {wanted}: {found:?}", in_body(at));
    causes.push(Cause::type_invalid(at, found, detail));
    if wanted == "integer" && found == "number" {
        let detail = format!("Checked value must be of type integer (default format) in {at}");
        causes.push(Cause::invalid(NO_FIELD, &Value::from(""), detail));
    }
}

fn check_string(node: &Node, text: &str, at: &str, causes: &mut Vec<Cause>) {
    let limits = &node.limits;
    let value = || Value::from(text);
    let length = || text.chars().count() as u64;
    if let Some(most) = limits.max_length
        && length() > most
    {
        causes.push(Cause::too_long(at, most));
    }
    if let Some(least) = limits.min_length
        && length() < least
    {
        let detail = format!("{} should be at least {least} chars long", in_body(at));
        causes.push(Cause::invalid(at, &value(), detail));
    }
    if let Some(pattern) = &limits.pattern
        && !pattern.is_match(text)
    {
        let detail = format!("{} should match '{}'", in_body(at), pattern.text);
        causes.push(Cause::invalid(at, &value(), detail));
    }
    let may_be_text = matches!(node.value_type, Some(ValueType::String) | None);
    if let Some(format) = &limits.format
        && may_be_text
        && !formats::matches(format, text)
    {
        let detail = format!("{} must be of type {format}: {text:?}", in_body(at));
        causes.push(Cause::type_invalid(at, text, detail));
    }
}

fn check_number(
    limits: &Limits,
    number: &Number,
    value: &Value,
    at: &str,
    causes: &mut Vec<Cause>,
) {
    let Some(found) = number.as_f64() else {
        return;
    };
    let mut refuse = |detail: String| {
        causes.push(Cause::invalid(
            at,
            value,
            format!("{} should be {detail}", in_body(at)),
        ));
    };
    match limits.minimum {
        Some(least) if limits.exclusive_minimum && found <= least => {
            refuse(format!("greater than {least}"));
        }
        Some(least) if found < least => refuse(format!("greater than or equal to {least}")),
        _ => {}
    }
    match limits.maximum {
        Some(most) if limits.exclusive_maximum && found >= most => {
            refuse(format!("less than {most}"));
        }
        Some(most) if found > most => refuse(format!("less than or equal to {most}")),
        _ => {}
    }
    if let Some(factor) = limits.multiple_of
        && ((found / factor).round() - found / factor).abs() > 1e-9
    {
        refuse(format!("a multiple of {factor}"));
    }
    if limits.format.as_deref() == Some("int32")
        && (found < f64::from(i32::MIN) || found > f64::from(i32::MAX))
    {
        let detail = format!("Checked value must be of type integer with format int32 in {at}");
        causes.push(Cause::invalid(NO_FIELD, &Value::from(""), detail));
    }
}

fn check_count(limits: &Limits, count: usize, at: &str, causes: &mut Vec<Cause>) {
    if let Some(least) = limits.min_items
        && (count as u64) < least
    {
        let detail = format!("{} should have at least {least} items", in_body(at));
        causes.push(Cause::invalid(at, &Value::from(count), detail));
    }
    if let Some(most) = limits.max_items
        && count as u64 > most
    {
        causes.push(Cause::too_many(at, count, most));
    }
}

fn check_properties(limits: &Limits, count: usize, at: &str, causes: &mut Vec<Cause>) {
    if let Some(least) = limits.min_properties
        && (count as u64) < least
    {
        let detail = format!("{} should have at least {least} properties", in_body(at));
        causes.push(Cause::invalid(at, &Value::from(count), detail));
    }
    if let Some(most) = limits.max_properties
        && count as u64 > most
    {
        causes.push(Cause::too_many(at, count, most));
    }
}

fn check_enumeration(limits: &Limits, value: &Value, at: &str, causes: &mut Vec<Cause>) {
    let Some(allowed) = &limits.enumeration else {
        return;
    };
    if !allowed.contains(value) {
        let names: Vec<String> = allowed
            .iter()
            .map(|value| {
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
            })
            .collect();
        causes.push(Cause::not_supported(at, value, &names));
    }
}

/// The alternatives of a value: all, any, exactly one or none of them must hold.
fn check_branches(
    node: &Node,
    value: &Value,
    old: Option<&Value>,
    at: &str,
    causes: &mut Vec<Cause>,
) {
    let check = |branch: &Node| {
        let mut found = Vec::new();
        validate_value(branch, value, old, at, &mut found);
        found
    };
    if !node.any_of.is_empty() {
        let failures: Vec<_> = node.any_of.iter().map(check).collect();
        if failures.iter().all(|found| !found.is_empty()) {
            causes.push(unnamed(at, "must validate at least one schema (anyOf)"));
            causes.extend(failures.into_iter().next().unwrap_or_default());
        }
    }
    if !node.one_of.is_empty() {
        let failures: Vec<_> = node.one_of.iter().map(check).collect();
        match failures.iter().filter(|found| found.is_empty()).count() {
            0 => {
                let detail = "must validate one and only one schema (oneOf). Found none valid";
                causes.push(unnamed(at, detail));
                causes.extend(failures.into_iter().next().unwrap_or_default());
            }
            1 => {}
            several => {
                let detail = format!(
                    "must validate one and only one schema (oneOf). \
                     Found {several} valid alternatives"
                );
                causes.push(unnamed(at, &detail));
            }
        }
    }
    if !node.all_of.is_empty() {
        let failures: Vec<_> = node.all_of.iter().map(check).collect();
        let held = failures.iter().filter(|found| found.is_empty()).count();
        if held < node.all_of.len() {
            let none = if held == 0 { ". None validated" } else { "" };
            causes.extend(failures.into_iter().flatten());
            let detail = format!("must validate all the schemas (allOf){none}");
            causes.push(unnamed(at, &detail));
        }
    }
    if let Some(not) = &node.not
        && check(not).is_empty()
    {
        causes.push(unnamed(at, "must not validate the schema (not)"));
    }
}

/// A complaint about the value at `at` for which Kubernetes has no field name.
fn unnamed(at: &str, detail: &str) -> Cause {
    Cause::invalid(NO_FIELD, &Value::from(""), format!("{at:?} {detail}"))
}

/// How the validation library names a field.
fn in_body(at: &str) -> String {
    format!("{at} in body")
}
