//! How far the rollout of a Deployment is: its status and conditions.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::objects;

use super::deployment::Sets;
use super::pod;
use super::replica_set::{count, set_number};
use super::rollout::Goal;

/// The status of a Deployment with these ReplicaSets. `time` is `now` as an RFC 3339 time.
pub fn status(deployment: &Value, sets: &Sets, now: Timestamp, time: &str) -> Value {
    let sum = |field: &str| -> usize {
        let numbers = sets.all.iter().map(|(_, set)| count(&set["status"][field]));
        numbers.sum()
    };
    let wanted: usize = sets
        .all
        .iter()
        .map(|(_, set)| count(&set["spec"]["replicas"]))
        .sum();
    let available = sum("availableReplicas");
    let updated = sets
        .newest()
        .map_or(0, |new| count(&new["status"]["replicas"]));
    let old = &deployment["status"];
    let mut status = if old.is_object() {
        old.clone()
    } else {
        json!({})
    };
    status["observedGeneration"] = deployment["metadata"]["generation"].clone();
    for (field, number) in [
        ("replicas", sum("replicas")),
        ("updatedReplicas", updated),
        ("readyReplicas", sum("readyReplicas")),
        ("availableReplicas", available),
        ("unavailableReplicas", wanted.saturating_sub(available)),
    ] {
        set_number(&mut status, field, number);
    }
    let goal = Goal::of(deployment);
    let least = usize::try_from(goal.replicas - goal.max_unavailable).unwrap_or_default();
    let condition = if available >= least {
        json!({"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable",
            "message": "Deployment has minimum availability."})
    } else {
        json!({"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable",
            "message": "Deployment does not have minimum availability."})
    };
    put_condition(&mut status, condition, time);
    if !deployment["spec"]["progressDeadlineSeconds"].is_null()
        && let Some(condition) = progress(deployment, &status, sets, now)
    {
        put_condition(&mut status, condition, time);
    }
    status
}

/// The time of the last update is that of the last progress: it stays while nothing changes.
fn put_condition(status: &mut Value, mut condition: Value, time: &str) {
    let kind = condition["type"].as_str().unwrap_or_default().to_owned();
    let moves = condition["reason"] == "ReplicaSetUpdated";
    let known = objects::condition(status, &kind)
        .filter(|known| known["status"] == condition["status"])
        .filter(|known| known["reason"] == condition["reason"] && !moves);
    let update = known.map_or(&Value::Null, |known| &known["lastUpdateTime"]);
    condition["lastUpdateTime"] = match update {
        Value::Null => time.into(),
        known => known.clone(),
    };
    objects::set_condition(status, condition, time);
}

/// The condition Progressing, if it changes.
fn progress(deployment: &Value, status: &Value, sets: &Sets, now: Timestamp) -> Option<Value> {
    let old = &deployment["status"];
    let known = objects::condition(old, "Progressing");
    let subject = match sets.newest() {
        Some(set) => format!("ReplicaSet {:?}", pod::name(set)),
        None => format!("Deployment {:?}", pod::name(deployment)),
    };
    let condition = |is: &str, reason: &str, message: &str| {
        Some(
            json!({"type": "Progressing", "status": is, "reason": reason,
            "message": format!("{subject} {message}")}),
        )
    };
    let number = |status: &Value, field: &str| count(&status[field]);
    let grew = |field: &str| number(status, field) > number(old, field);
    let outdated = |s: &Value| number(s, "replicas").saturating_sub(number(s, "updatedReplicas"));
    if is_complete(deployment, status) {
        return condition(
            "True",
            "NewReplicaSetAvailable",
            "has successfully progressed.",
        );
    }
    if deployment["spec"]["paused"] == true {
        return Some(json!({"type": "Progressing", "status": "Unknown",
            "reason": "DeploymentPaused", "message": "Deployment is paused"}));
    }
    let finished = known.is_some_and(|known| known["reason"] == "NewReplicaSetAvailable");
    if finished
        && outdated(status) == 0
        && number(status, "replicas") > 0
        && !grew("updatedReplicas")
    {
        // What was complete and has lost Pods since makes no progress and misses no deadline.
        return None;
    }
    let moves = grew("updatedReplicas")
        || outdated(status) < outdated(old)
        || grew("readyReplicas")
        || grew("availableReplicas")
        || finished
        || known.is_none_or(|known| known["status"] == "Unknown");
    if moves {
        return condition("True", "ReplicaSetUpdated", "is progressing.");
    }
    let late = deadline(deployment, old, now).is_none();
    if late && known.is_some_and(|known| known["status"] == "True") {
        return condition(
            "False",
            "ProgressDeadlineExceeded",
            "has timed out progressing.",
        );
    }
    None
}

/// How long a rollout that makes no progress has left; none if it has no deadline, or missed it.
pub fn deadline(deployment: &Value, status: &Value, now: Timestamp) -> Option<Duration> {
    let known = objects::condition(status, "Progressing")?;
    if known["reason"] == "NewReplicaSetAvailable" || known["status"] != "True" {
        return None;
    }
    let seconds = deployment["spec"]["progressDeadlineSeconds"].as_i64()?;
    let since: Timestamp = known["lastUpdateTime"].as_str()?.parse().ok()?;
    let end = since + SignedDuration::from_secs(seconds);
    let left: Duration = end.duration_since(now).try_into().ok()?;
    (!left.is_zero()).then_some(left)
}

/// Whether all Pods are there, available, and of the present template.
pub fn is_complete(deployment: &Value, status: &Value) -> bool {
    let wanted = count(&deployment["spec"]["replicas"]);
    ["updatedReplicas", "replicas", "availableReplicas"]
        .into_iter()
        .all(|field| count(&status[field]) == wanted)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::children::Child;
    use super::*;

    const TIME: &str = "2001-01-01T00:00:00Z";

    fn deployment(replicas: i64, status: &Value) -> Value {
        json!({
            "metadata": {"name": "d", "generation": 2},
            "spec": {"replicas": replicas, "progressDeadlineSeconds": 600,
                "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                "template": {"spec": 1}},
            "status": status,
        })
    }

    fn sets(deployment: &Value, sizes: &[(&str, i64, i64)]) -> Sets {
        let set = |(template, replicas, available): &(&str, i64, i64)| -> Child {
            let spec = if *template == "new" { 1 } else { 0 };
            let set = json!({
                "metadata": {"name": template},
                "spec": {"replicas": replicas, "template": {"spec": spec}},
                "status": {"replicas": replicas, "readyReplicas": available,
                    "availableReplicas": available},
            });
            ((*template).into(), Arc::new(set))
        };
        Sets::sort(sizes.iter().map(set).collect(), deployment)
    }

    fn judged(
        deployment: &Value,
        sizes: &[(&str, i64, i64)],
        now: &str,
    ) -> (Value, String, String) {
        let status = status(
            deployment,
            &sets(deployment, sizes),
            now.parse().unwrap(),
            now,
        );
        let reason = |kind: &str| {
            let found = objects::condition(&status, kind).unwrap();
            found["reason"].as_str().unwrap().to_owned()
        };
        let (available, progressing) = (reason("Available"), reason("Progressing"));
        (status, available, progressing)
    }

    #[test]
    fn conditions_tell_of_a_rollout() {
        let fresh = deployment(2, &json!({}));
        let (first, available, progressing) = judged(&fresh, &[("old", 2, 2), ("new", 1, 0)], TIME);
        assert_eq!(available, "MinimumReplicasAvailable");
        assert_eq!(progressing, "ReplicaSetUpdated");
        assert_eq!(first["unavailableReplicas"], 1);
        assert_eq!(first["observedGeneration"], 2);

        let stuck = deployment(2, &first);
        let later = judged(
            &stuck,
            &[("old", 2, 2), ("new", 1, 0)],
            "2001-01-01T00:09:59Z",
        );
        assert_eq!(later.2, "ReplicaSetUpdated");
        let late = judged(
            &stuck,
            &[("old", 2, 2), ("new", 1, 0)],
            "2001-01-01T00:10:00Z",
        );
        assert_eq!(late.2, "ProgressDeadlineExceeded");

        let done = judged(&stuck, &[("new", 2, 2)], TIME);
        assert_eq!(done.2, "NewReplicaSetAvailable");
        let broken = judged(
            &deployment(2, &done.0),
            &[("new", 2, 1)],
            "2002-01-01T00:00:00Z",
        );
        assert_eq!(broken.1, "MinimumReplicasUnavailable");
        assert_eq!(broken.2, "NewReplicaSetAvailable", "the rollout had ended");
    }

    #[test]
    fn a_rollout_that_stands_still_looks_again_at_its_deadline() {
        let fresh = deployment(1, &json!({}));
        let (status, ..) = judged(&fresh, &[("new", 1, 0)], TIME);
        let left = |now: &str| deadline(&fresh, &status, now.parse().unwrap());
        assert_eq!(left(TIME), Some(Duration::from_secs(600)));
        assert_eq!(left("2001-01-01T00:10:00Z"), None);
    }
}
