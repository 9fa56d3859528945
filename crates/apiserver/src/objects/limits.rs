//! Rules of what Pods may ask for: limit ranges and priorities.

use std::cmp::Ordering;

use serde_json::{Value, json};

use crate::status::Cause;

use super::quantity;
use super::values::{fields, items, items_mut, set_default, text};

/// The classes that every cluster has, with their values and what they are for.
pub const SYSTEM_PRIORITIES: &[(&str, i64, &str)] = &[
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another \
         node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
];
/// The highest priority that is not the system's own.
const HIGHEST_PRIORITY: i64 = 1_000_000_000;

/// Pairs of limits that must be in order: the lower, the higher, the one that is blamed, and what
/// both are called.
const ORDER: &[(&str, &str, &str, &str, &str)] = &[
    ("min", "max", "min", "min", "max"),
    (
        "min",
        "defaultRequest",
        "defaultRequest",
        "min",
        "default request",
    ),
    (
        "defaultRequest",
        "max",
        "defaultRequest",
        "default request",
        "max",
    ),
    (
        "defaultRequest",
        "default",
        "defaultRequest",
        "default request",
        "default limit",
    ),
    ("min", "default", "default", "min", "default"),
    ("default", "max", "default", "default", "max"),
];

/// A container gets the most that it may have, and asks for that.
pub fn range_defaults(range: &mut Value) {
    for limit in items_mut(range.pointer_mut("/spec/limits")) {
        if limit["type"] != "Container" {
            continue;
        }
        for (from, to) in [
            ("max", "default"),
            ("default", "defaultRequest"),
            ("min", "defaultRequest"),
        ] {
            let amounts: Vec<_> = fields(&limit[from])
                .map(|(resource, amount)| (resource.clone(), amount.clone()))
                .collect();
            for (resource, amount) in amounts {
                set_default(limit, to, json!({}));
                set_default(&mut limit[to], &resource, amount);
            }
        }
    }
}

/// The limits of a type contradict neither each other nor themselves.
pub fn validate_range(range: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut known = Vec::new();
    for (index, limit) in items(&range["spec"]["limits"]).enumerate() {
        let path = format!("spec.limits[{index}]");
        let of = text(&limit["type"]);
        if known.contains(&of) {
            let field = format!("{path}.type");
            causes.push(Cause::duplicate(field, &limit["type"]));
        }
        known.push(of);
        if of == "Pod" {
            for field in ["default", "defaultRequest"] {
                if fields(&limit[field]).next().is_some() {
                    let why = "may not be specified when `type` is \"Pod\"";
                    causes.push(Cause::forbidden(format!("{path}.{field}"), why));
                }
            }
        }
        causes.extend(validate_order(limit, &path));
    }
    causes
}

fn validate_order(limit: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (low, high, blamed, low_name, high_name) in ORDER {
        for (resource, least) in fields(&limit[*low]) {
            let (least, most) = (text(least), text(&limit[*high][resource]));
            if quantity::compare(least, most).is_some_and(Ordering::is_gt) {
                let field = format!("{path}.{blamed}[{resource}]");
                let why =
                    format!("{low_name} value {least} is greater than {high_name} value {most}");
                causes.push(Cause::invalid(field, &limit[*blamed][resource], why));
            }
        }
    }
    causes
}

/// Whoever is more important takes the place of others.
pub fn priority_defaults(class: &mut Value) {
    set_default(class, "preemptionPolicy", "PreemptLowerPriority".into());
}

/// Whether every cluster has a class of this name.
pub fn is_system_priority(name: &str) -> bool {
    SYSTEM_PRIORITIES.iter().any(|(known, ..)| *known == name)
}

/// The highest priorities are the system's.
pub fn validate_priority(class: &Value) -> Vec<Cause> {
    let name = text(&class["metadata"]["name"]);
    if name.starts_with("system-") {
        let of_system = SYSTEM_PRIORITIES.iter().find(|(known, ..)| *known == name);
        let why = match of_system {
            None => format!("{name} is not a known system priority class"),
            Some((_, value, _)) if class["value"] != *value => {
                format!("value of {name} PriorityClass must be {value}")
            }
            Some(_) if class["globalDefault"] == true => {
                format!("globalDefault of {name} PriorityClass must be false")
            }
            Some(_) => return Vec::new(),
        };
        let why = format!(
            "priority class names with 'system-' prefix are reserved for system use only. error: \
             {why}"
        );
        return vec![Cause::forbidden("metadata.name", why)];
    }
    if class["value"]
        .as_i64()
        .is_some_and(|value| value > HIGHEST_PRIORITY)
    {
        let why = format!("maximum allowed value of a user defined priority is {HIGHEST_PRIORITY}");
        return vec![Cause::forbidden("value", why)];
    }
    Vec::new()
}

/// Pods hold a copy of the priority.
pub fn validate_priority_update(class: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if class["value"] != old["value"] {
        causes.push(Cause::forbidden(
            "value",
            "may not be changed in an update.",
        ));
    }
    let policy = &class["preemptionPolicy"];
    if *policy != old["preemptionPolicy"] {
        causes.push(Cause::invalid(
            "preemptionPolicy",
            policy,
            "field is immutable",
        ));
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(causes: &[Cause]) -> Vec<&str> {
        causes.iter().map(|cause| cause.field.as_str()).collect()
    }

    #[test]
    fn a_container_gets_the_most_unless_it_is_told_how_much() {
        let mut range = json!({"spec": {"limits": [
            {"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}},
            {"type": "Pod", "max": {"cpu": "4"}}]}});
        range_defaults(&mut range);
        let limits = &range["spec"]["limits"];
        assert_eq!(limits[0]["default"], json!({"cpu": "2"}));
        assert_eq!(
            limits[0]["defaultRequest"],
            json!({"cpu": "2", "memory": "1Mi"})
        );
        assert_eq!(limits[1], json!({"type": "Pod", "max": {"cpu": "4"}}));
        assert!(validate_range(&range).is_empty());
    }

    #[test]
    fn limits_are_in_order() {
        let range = json!({"spec": {"limits": [
            {"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1500m"}},
            {"type": "Pod", "default": {"cpu": "1"}},
            {"type": "Pod"}]}});
        assert_eq!(
            found(&validate_range(&range)),
            [
                "spec.limits[0].min[cpu]",
                "spec.limits[1].default",
                "spec.limits[2].type"
            ]
        );
    }

    #[test]
    fn a_priority_is_not_the_systems_and_does_not_change() {
        let class = |name: &str, value: i64| json!({"metadata": {"name": name}, "value": value});
        assert!(validate_priority(&class("a", HIGHEST_PRIORITY)).is_empty());
        assert_eq!(
            found(&validate_priority(&class("system-a", 1))),
            ["metadata.name"]
        );
        let critical = |value: i64| validate_priority(&class("system-node-critical", value));
        assert!(critical(2_000_001_000).is_empty());
        assert_eq!(found(&critical(1)), ["metadata.name"]);
        assert_eq!(
            found(&validate_priority(&class("a", HIGHEST_PRIORITY + 1))),
            ["value"]
        );
        assert_eq!(
            found(&validate_priority_update(&class("a", 1), &class("a", 2))),
            ["value"]
        );
    }
}
