//! Which taints a Pod tolerates, and for how long.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// Taints that every Pod tolerates for some time, unless it says otherwise: the real API server
/// writes that into the Pods (admission plugin `DefaultTolerationSeconds`).
const TOLERATED: &[&str] = &[
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
];

/// For how long, in seconds.
const TOLERATION_SECONDS: i64 = 300;

/// The first taint of a Node that keeps a Pod with this spec from being placed there.
pub fn untolerated<'a>(spec: &Value, node: &'a Value) -> Option<&'a Value> {
    taints(node).find(|taint| {
        let keeps_away = taint["effect"] == "NoSchedule" || taint["effect"] == "NoExecute";
        keeps_away && !is_tolerated(spec, taint)
    })
}

/// Whether one of the tolerations of a Pod's spec fits a taint.
pub fn is_tolerated(spec: &Value, taint: &Value) -> bool {
    fitting(spec, taint).next().is_some()
}

fn fitting<'a>(spec: &'a Value, taint: &'a Value) -> impl Iterator<Item = &'a Value> {
    let tolerations = spec["tolerations"].as_array().into_iter().flatten();
    tolerations.filter(move |toleration| fits(toleration, taint))
}

fn fits(toleration: &Value, taint: &Value) -> bool {
    let text = |object: &Value, field: &str| object[field].as_str().unwrap_or_default().to_owned();
    let (key, effect) = (text(toleration, "key"), text(toleration, "effect"));
    let exists = toleration["operator"] == "Exists";
    let right_key = key == text(taint, "key") || key.is_empty() && exists;
    let right_effect = effect.is_empty() || effect == text(taint, "effect");
    right_key && right_effect && (exists || text(toleration, "value") == text(taint, "value"))
}

/// How long a Pod may still stay on a Node: zero if it must go, none if it may stay for ever.
pub fn stays_for(pod: &Value, node: &Value, now: Timestamp) -> Option<Duration> {
    let taints = taints(node).filter(|taint| taint["effect"] == "NoExecute");
    taints.filter_map(|taint| patience(pod, taint, now)).min()
}

fn patience(pod: &Value, taint: &Value, now: Timestamp) -> Option<Duration> {
    let mut fitting = fitting(&pod["spec"], taint).peekable();
    let by_default = || TOLERATED.iter().any(|key| taint["key"] == *key);
    let seconds = match fitting.peek() {
        Some(_) => fitting
            .filter_map(|toleration| toleration["tolerationSeconds"].as_i64())
            .min()?,
        None if by_default() => TOLERATION_SECONDS,
        None => return Some(Duration::ZERO),
    };
    let added = taint["timeAdded"]
        .as_str()
        .and_then(|time| time.parse().ok());
    let end = added.unwrap_or(now) + SignedDuration::from_secs(seconds.max(0));
    Some(end.duration_since(now).try_into().unwrap_or(Duration::ZERO))
}

fn taints(node: &Value) -> impl Iterator<Item = &Value> {
    node["spec"]["taints"].as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_toleration_fits_by_key_value_and_effect() {
        let taint = json!({"key": "a", "value": "1", "effect": "NoSchedule"});
        for (toleration, expected) in [
            (json!({"operator": "Exists"}), true),
            (json!({"key": "a", "operator": "Exists"}), true),
            (json!({"key": "a", "value": "1"}), true),
            (
                json!({"key": "a", "value": "1", "effect": "NoSchedule"}),
                true,
            ),
            (json!({"key": "a", "value": "2"}), false),
            (json!({"key": "b", "operator": "Exists"}), false),
            (
                json!({"key": "a", "operator": "Exists", "effect": "NoExecute"}),
                false,
            ),
        ] {
            assert_eq!(fits(&toleration, &taint), expected, "{toleration}");
        }
    }

    #[test]
    fn an_unreachable_node_is_left_after_a_while_and_by_some_never() {
        let now: Timestamp = "2001-01-01T00:01:40Z".parse().unwrap();
        let node = |key: &str| {
            json!({"spec": {"taints": [
                {"key": key, "effect": "NoExecute", "timeAdded": "2001-01-01T00:00:00Z"},
                {"key": "other", "effect": "NoSchedule"}]}})
        };
        let pod = |tolerations: Value| json!({"spec": {"tolerations": tolerations}});
        let unreachable = "node.kubernetes.io/unreachable";
        let seconds = |pod: &Value, key: &str| stays_for(pod, &node(key), now).map(|d| d.as_secs());
        let toleration = json!([{"key": unreachable, "operator": "Exists"}]);
        let short = json!([{"operator": "Exists", "tolerationSeconds": 60}]);
        assert_eq!(seconds(&pod(json!([])), unreachable), Some(200));
        assert_eq!(seconds(&pod(json!([])), "mine"), Some(0));
        assert_eq!(seconds(&pod(short), unreachable), Some(0));
        assert_eq!(seconds(&pod(toleration), unreachable), None);
    }
}
