//! The priorities of Pods, which PriorityClasses give them.

use serde_json::Value;

use crate::api::{self, Api};
use crate::registry::Kind;
use crate::status::Status;

use super::system_fields::name_of;

/// What all keys of PriorityClasses begin with.
const CLASSES: &str = "scheduling.k8s.io/priorityclasses/";
/// What Pods with a higher priority do unless their class says otherwise.
const PREEMPTS: &str = "PreemptLowerPriority";

/// Gives a new Pod the priority of its class, and sees to it that only one class is that of Pods
/// without one. Does nothing to other kinds.
///
/// # Errors
/// 403 if there is no such class, or the Pod says another priority; or if there is another class
/// for Pods without one.
pub async fn assign(api: &Api, kind: &Kind, object: &mut Value) -> Result<(), Status> {
    let is_class = kind.is("scheduling.k8s.io", "PriorityClass");
    let judge: fn(&mut Value, &[Value]) -> Result<(), String> = if kind.is("", "Pod") {
        prioritize
    } else if is_class && object["globalDefault"] == true {
        be_the_only_default
    } else {
        return Ok(());
    };
    let listed = api.storage.list(CLASSES, None, None, None).await;
    let stored = listed.map_err(|error| api::storage_failed(&error))?;
    let classes: Vec<Value> = stored
        .entries
        .iter()
        .filter_map(|stored| serde_json::from_slice(&stored.value).ok())
        .collect();
    judge(object, &classes)
        .map_err(|why| Status::forbidden(kind.resource_name(), name_of(object), why))
}

fn prioritize(pod: &mut Value, classes: &[Value]) -> Result<(), String> {
    let spec = &pod["spec"];
    let wanted = spec["priorityClassName"].as_str().unwrap_or_default();
    let class = if wanted.is_empty() {
        // Of several, which an older cluster may have, the lowest counts.
        let usual = classes
            .iter()
            .filter(|class| class["globalDefault"] == true);
        usual.min_by_key(|class| class["value"].as_i64())
    } else {
        let class = classes.iter().find(|class| name_of(class) == wanted);
        let missing = || format!("no PriorityClass with name {wanted} was found");
        Some(class.ok_or_else(missing)?)
    };
    let value = class.and_then(|class| class["value"].as_i64());
    let value = value.unwrap_or_default();
    let policy = class.and_then(|class| class["preemptionPolicy"].as_str());
    let policy = policy.unwrap_or(PREEMPTS);
    if let Some(given) = spec["priority"].as_i64().filter(|given| *given != value) {
        return Err(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority \
             admission controller computed {value} from the given PriorityClass name"
        ));
    }
    let given = spec["preemptionPolicy"].as_str();
    if let Some(given) = given.filter(|given| *given != policy) {
        return Err(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; \
             priority admission controller computed {policy} from the given PriorityClass name"
        ));
    }
    let policy = Value::from(policy);
    if let Some(class) = class {
        pod["spec"]["priorityClassName"] = name_of(class).into();
    }
    pod["spec"]["priority"] = value.into();
    pod["spec"]["preemptionPolicy"] = policy;
    Ok(())
}

fn be_the_only_default(class: &mut Value, classes: &[Value]) -> Result<(), String> {
    let name = name_of(class);
    let other = classes
        .iter()
        .find(|other| other["globalDefault"] == true && name_of(other) != name);
    match other {
        None => Ok(()),
        Some(other) => Err(format!(
            "PriorityClass {} is already marked as default. Only one default can exist",
            name_of(other)
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn class(name: &str, value: i64, default: bool) -> Value {
        json!({"metadata": {"name": name}, "value": value, "globalDefault": default,
            "preemptionPolicy": "Never"})
    }

    #[test]
    fn a_pod_has_the_priority_of_its_class() {
        let classes = [class("low", 5, false), class("usual", 7, true)];
        for (spec, classes, wanted) in [
            (json!({}), &[][..], Some((0, PREEMPTS))),
            (json!({}), &classes, Some((7, "Never"))),
            (
                json!({"priorityClassName": "low"}),
                &classes,
                Some((5, "Never")),
            ),
            (
                json!({"priorityClassName": "low", "priority": 5}),
                &classes,
                Some((5, "Never")),
            ),
            (
                json!({"priorityClassName": "low", "priority": 6}),
                &classes,
                None,
            ),
            (json!({"preemptionPolicy": PREEMPTS}), &classes, None),
            (json!({"priorityClassName": "none"}), &classes, None),
        ] {
            let mut pod = json!({"spec": spec});
            let done = prioritize(&mut pod, classes).ok();
            let priority = pod["spec"]["priority"].as_i64();
            let policy = pod["spec"]["preemptionPolicy"].as_str();
            let found = done.map(|()| (priority.unwrap(), policy.unwrap()));
            assert_eq!(found, wanted, "{spec}");
        }
    }

    #[test]
    fn one_class_is_for_all_others() {
        let classes = [class("usual", 7, true), class("low", 5, false)];
        assert!(be_the_only_default(&mut class("usual", 8, true), &classes).is_ok());
        assert!(be_the_only_default(&mut class("other", 8, true), &classes).is_err());
    }
}
