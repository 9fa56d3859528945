//! What conditions and taints say of a Node.

use serde_json::{Value, json};

const NO_SCHEDULE: &str = "NoSchedule";
const NO_EXECUTE: &str = "NoExecute";

/// The conditions that a kubelet posts.
const CONDITIONS: &[&str] = &["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// A condition, its status, and the taint that tells of it.
const TAINTS: &[(&str, &str, &str)] = &[
    ("Ready", "False", "node.kubernetes.io/not-ready"),
    ("Ready", "Unknown", "node.kubernetes.io/unreachable"),
    (
        "MemoryPressure",
        "True",
        "node.kubernetes.io/memory-pressure",
    ),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    (
        "NetworkUnavailable",
        "True",
        "node.kubernetes.io/network-unavailable",
    ),
];

/// The Node when its kubelet has stopped posting. `now` is an RFC 3339 time.
pub fn unknown(node: &Value, now: &str) -> Value {
    let mut changed = node.clone();
    if !changed["status"]["conditions"].is_array() {
        changed["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = changed["status"]["conditions"].as_array_mut() else {
        return changed;
    };
    for wanted in CONDITIONS {
        match conditions.iter_mut().find(|c| c["type"] == *wanted) {
            Some(condition) if condition["status"] == "Unknown" => {}
            Some(condition) => {
                condition["status"] = "Unknown".into();
                condition["reason"] = "NodeStatusUnknown".into();
                condition["message"] = "Kubelet stopped posting node status.".into();
                condition["lastTransitionTime"] = now.into();
            }
            None => conditions.push(json!({
                "type": wanted,
                "status": "Unknown",
                "reason": "NodeStatusNeverUpdated",
                "message": "Kubelet never posted node status.",
                "lastHeartbeatTime": node["metadata"]["creationTimestamp"],
                "lastTransitionTime": now,
            })),
        }
    }
    changed
}

/// The Node with the taints that its conditions and `unschedulable` ask for, and without those
/// that they asked for before. Other taints stay. `now` is an RFC 3339 time.
pub fn tainted(node: &Value, now: &str) -> Value {
    let wanted = wanted(node);
    let is = |taint: &Value, (key, effect): (&str, &str)| {
        taint["key"] == key && taint["effect"] == effect
    };
    let mut taints: Vec<Value> = node["spec"]["taints"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    taints.retain(|taint| !is_ours(taint) || wanted.iter().any(|wanted| is(taint, *wanted)));
    for wanted in wanted {
        if !taints.iter().any(|taint| is(taint, wanted)) {
            let (key, effect) = wanted;
            taints.push(json!({"key": key, "effect": effect, "timeAdded": now}));
        }
    }
    let mut changed = node.clone();
    if !taints.is_empty() {
        changed["spec"]["taints"] = taints.into();
    } else if let Some(spec) = changed["spec"].as_object_mut() {
        spec.shift_remove("taints");
    }
    changed
}

/// Keys and effects.
fn wanted(node: &Value) -> Vec<(&'static str, &'static str)> {
    let conditions = node["status"]["conditions"].as_array();
    let has = |kind: &str, status: &str| {
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|c| c["type"] == kind && c["status"] == status)
    };
    let mut wanted = Vec::new();
    for (condition, status, key) in TAINTS {
        if has(condition, status) {
            wanted.push((*key, NO_SCHEDULE));
            if *condition == "Ready" {
                wanted.push((*key, NO_EXECUTE));
            }
        }
    }
    if node["spec"]["unschedulable"] == true {
        wanted.push((UNSCHEDULABLE, NO_SCHEDULE));
    }
    wanted
}

/// Whether a taint is one of those that tell of a state.
fn is_ours(taint: &Value) -> bool {
    let key = taint["key"].as_str().unwrap_or_default();
    match taint["effect"].as_str() {
        Some(NO_SCHEDULE) => key == UNSCHEDULABLE || TAINTS.iter().any(|(.., ours)| *ours == key),
        Some(NO_EXECUTE) => TAINTS
            .iter()
            .any(|(condition, _, ours)| *ours == key && *condition == "Ready"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2001-01-01T00:00:00Z";

    fn node(conditions: &[(&str, &str)], unschedulable: bool) -> Value {
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|(kind, status)| json!({"type": kind, "status": status}))
            .collect();
        json!({
            "spec": {"unschedulable": unschedulable},
            "status": {"conditions": conditions},
        })
    }

    fn taints(node: &Value) -> Vec<String> {
        let text = |taint: &Value| {
            let key = taint["key"].as_str().unwrap();
            format!(
                "{}:{}",
                key.trim_start_matches("node.kubernetes.io/"),
                taint["effect"]
            )
            .replace('"', "")
        };
        let taints = node["spec"]["taints"].as_array();
        taints.into_iter().flatten().map(text).collect()
    }

    #[test]
    fn taints_tell_of_the_state() {
        for (conditions, unschedulable, expected) in [
            (&[("Ready", "True")][..], false, &[][..]),
            (&[], true, &["unschedulable:NoSchedule"]),
            (
                &[("Ready", "False")],
                false,
                &["not-ready:NoSchedule", "not-ready:NoExecute"],
            ),
            (
                &[("Ready", "Unknown"), ("DiskPressure", "True")],
                false,
                &[
                    "unreachable:NoSchedule",
                    "unreachable:NoExecute",
                    "disk-pressure:NoSchedule",
                ],
            ),
        ] {
            let tainted = tainted(&node(conditions, unschedulable), NOW);
            assert_eq!(taints(&tainted), expected, "{conditions:?}");
        }
    }

    #[test]
    fn taints_go_with_the_state_and_those_of_others_stay() {
        let mut lost = node(&[("Ready", "Unknown")], false);
        lost["spec"]["taints"] = json!([{"key": "mine", "effect": "NoExecute"}]);
        let mut back = tainted(&lost, NOW);
        assert_eq!(taints(&back).len(), 3);
        assert_eq!(
            tainted(&back, "2002-01-01T00:00:00Z"),
            back,
            "once is enough"
        );
        back["status"] = node(&[("Ready", "True")], false)["status"].clone();
        assert_eq!(taints(&tainted(&back, NOW)), ["mine:NoExecute"]);
    }

    #[test]
    fn a_silent_node_says_nothing_certain() {
        let node = unknown(&node(&[("Ready", "True"), ("Custom", "True")], false), NOW);
        let conditions = node["status"]["conditions"].as_array().unwrap();
        let reason = |kind: &str| {
            let found = conditions.iter().find(|c| c["type"] == kind).unwrap();
            (found["status"].as_str(), found["reason"].as_str())
        };
        assert_eq!(
            reason("Ready"),
            (Some("Unknown"), Some("NodeStatusUnknown"))
        );
        assert_eq!(
            reason("PIDPressure"),
            (Some("Unknown"), Some("NodeStatusNeverUpdated"))
        );
        assert_eq!(reason("Custom"), (Some("True"), None));
        assert_eq!(unknown(&node, "2002-01-01T00:00:00Z"), node);
    }
}
