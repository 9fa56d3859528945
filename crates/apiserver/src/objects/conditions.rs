//! Conditions in a status, as the Kubernetes API conventions have them.

use serde_json::{Value, json};

/// The condition of a type in a status.
pub fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    let mut conditions = status["conditions"].as_array()?.iter();
    conditions.find(|condition| condition["type"] == kind)
}

/// Whether a status has a condition that is True.
pub fn is_true(status: &Value, kind: &str) -> bool {
    condition(status, kind).is_some_and(|condition| condition["status"] == "True")
}

/// Puts a condition in the place of the one of its type, or behind the others. The time of its
/// transition is `now`, an RFC 3339 time, unless its status was the same before.
pub fn set_condition(status: &mut Value, mut condition: Value, now: &str) {
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(conditions) = status["conditions"].as_array_mut() else {
        return;
    };
    let known = conditions
        .iter_mut()
        .find(|known| known["type"] == condition["type"]);
    match known {
        Some(known) => {
            let same = known["status"] == condition["status"];
            condition["lastTransitionTime"] = match &known["lastTransitionTime"] {
                Value::String(time) if same => time.as_str().into(),
                _ => now.into(),
            };
            *known = condition;
        }
        None => {
            condition["lastTransitionTime"] = now.into();
            conditions.push(condition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_transition_changes_with_the_status_only() {
        let mut status = json!({});
        let times: Vec<Value> = [("1", "True"), ("2", "True"), ("3", "False")]
            .into_iter()
            .map(|(now, value)| {
                set_condition(&mut status, json!({"type": "Ready", "status": value}), now);
                status["conditions"][0]["lastTransitionTime"].clone()
            })
            .collect();
        assert_eq!(times, ["1", "1", "3"]);
        assert!(!is_true(&status, "Ready"));
    }
}
