//! Revisions of a Deployment: annotations of its ReplicaSets, and which old ones are kept.

use serde_json::{Value, json};

use super::children::Child;
use super::pod;
use super::replica_set::count;

/// The revision of a template, on ReplicaSets and Deployments.
pub const REVISION: &str = "deployment.kubernetes.io/revision";

/// Revisions that a ReplicaSet had before, when it is used again.
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";

/// The wanted replicas of the Deployment when a ReplicaSet was sized.
pub const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";

/// The most replicas that the Deployment allowed then.
pub const MOST: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations of a Deployment that its ReplicaSets do not get.
const OWN: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MOST,
];

/// How many old ReplicaSets a Deployment keeps unless it says otherwise.
const HISTORY_LIMIT: usize = 10;

/// The revision of a ReplicaSet; 0 if it has none.
pub fn revision(set: &Value) -> i64 {
    let revision = set["metadata"]["annotations"][REVISION].as_str();
    revision
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

/// The revision of the ReplicaSet of the present template: above those of all others.
pub fn next_revision(set: &Value, old: &[Child]) -> i64 {
    let newest = old.iter().map(|(_, set)| revision(set)).max();
    revision(set).max(newest.unwrap_or_default() + 1)
}

/// Sets a revision, and notes the one that was there before.
pub fn set_revision(set: &mut Value, new: i64) {
    let before = revision(set);
    if before == new {
        return;
    }
    let annotations = &mut set["metadata"]["annotations"];
    if before > 0 {
        let history = annotations[REVISION_HISTORY].as_str();
        let history = match history {
            Some(history) if !history.is_empty() => format!("{history},{before}"),
            _ => before.to_string(),
        };
        annotations[REVISION_HISTORY] = history.into();
    }
    annotations[REVISION] = new.to_string().into();
}

/// Gives a ReplicaSet the annotations of its Deployment, such as the cause of the change.
pub fn copy_annotations(set: &mut Value, annotations: &Value) {
    let Some(annotations) = annotations.as_object() else {
        return;
    };
    let wanted = annotations
        .iter()
        .filter(|(name, _)| !OWN.contains(&name.as_str()));
    for (name, value) in wanted {
        if !set["metadata"]["annotations"].is_object() {
            set["metadata"]["annotations"] = json!({});
        }
        set["metadata"]["annotations"][name] = value.clone();
    }
}

/// The old ReplicaSets that are not kept any more: empty ones beyond the limit, the oldest first.
pub fn outdated(deployment: &Value, old: &[Child]) -> Vec<Child> {
    let limit = match &deployment["spec"]["revisionHistoryLimit"] {
        Value::Null => HISTORY_LIMIT,
        limit => count(limit),
    };
    let is_empty = |set: &Value| {
        count(&set["spec"]["replicas"]) == 0
            && count(&set["status"]["replicas"]) == 0
            && set["status"]["observedGeneration"] == set["metadata"]["generation"]
            && !pod::is_terminating(set)
    };
    let mut empty: Vec<&Child> = old.iter().filter(|(_, set)| is_empty(set)).collect();
    empty.sort_by_key(|(_, set)| revision(set));
    let too_many = empty.len().saturating_sub(limit);
    empty.into_iter().take(too_many).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn set(revision: i64, replicas: i64) -> Child {
        let set = json!({
            "metadata": {"annotations": {REVISION: revision.to_string()}, "generation": 1},
            "spec": {"replicas": replicas},
            "status": {"replicas": replicas, "observedGeneration": 1},
        });
        (revision.to_string().into(), Arc::new(set))
    }

    #[test]
    fn a_template_that_is_used_again_gets_a_new_revision_and_keeps_the_old_one_in_mind() {
        let (_, again) = set(1, 0);
        let next = next_revision(&again, &[set(2, 3)]);
        assert_eq!(next, 3);
        let mut again = Value::clone(&again);
        set_revision(&mut again, next);
        assert_eq!(revision(&again), 3);
        assert_eq!(again["metadata"]["annotations"][REVISION_HISTORY], "1");
        assert_eq!(next_revision(&again, &[set(2, 3)]), 3, "once is enough");
    }

    #[test]
    fn the_oldest_empty_sets_go() {
        let old = [set(3, 0), set(1, 0), set(2, 1), set(4, 0)];
        let deployment = json!({"spec": {"revisionHistoryLimit": 1}});
        let gone: Vec<i64> = outdated(&deployment, &old)
            .iter()
            .map(|(_, set)| revision(set))
            .collect();
        assert_eq!(gone, [1, 3]);
    }

    #[test]
    fn what_kubectl_and_deployments_note_for_themselves_is_not_copied() {
        let mut set = json!({"metadata": {}});
        let annotations = json!({"kubernetes.io/change-cause": "why", REVISION: "7",
            "kubectl.kubernetes.io/last-applied-configuration": "{}"});
        copy_annotations(&mut set, &annotations);
        let expected = json!({"kubernetes.io/change-cause": "why"});
        assert_eq!(set["metadata"]["annotations"], expected);
    }
}
