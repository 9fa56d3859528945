//! Rules of workloads: Deployments and their kin, Jobs, disruption budgets.

use serde_json::{Value, json};

use crate::registry::Kind;
use crate::status::Cause;

use super::values::{fields, items_mut, set_default, text};
use super::{pods, selectors, storage};

const EVICTION_POLICIES: &[&str] = &["AlwaysAllow", "IfHealthyBudget"];

/// Defaults of the workload kinds.
pub fn defaults(kind: &Kind, object: &mut Value) {
    if !object["spec"].is_object() {
        return;
    }
    let template = match kind.kind.as_str() {
        "CronJob" => object.pointer_mut("/spec/jobTemplate/spec/template/spec"),
        _ => object.pointer_mut("/spec/template/spec"),
    };
    if let Some(template) = template {
        pods::spec_defaults(template);
    }
    if matches!(kind.kind.as_str(), "Job" | "ReplicationController") {
        // Without labels of its own it has those of its pods.
        let labels = object["spec"]["template"]["metadata"]
            .get("labels")
            .cloned();
        if let Some(labels) = labels.filter(|_| object["metadata"]["labels"].is_null()) {
            object["metadata"]["labels"] = labels;
        }
    }
    if kind.kind == "CronJob" {
        set_default(&mut object["spec"]["jobTemplate"], "metadata", json!({}));
        let template = &mut object["spec"]["jobTemplate"]["spec"]["template"];
        set_default(template, "metadata", json!({}));
    }
    let spec = &mut object["spec"];
    let defaults = match kind.kind.as_str() {
        "Deployment" => {
            let share = json!({"maxUnavailable": "25%", "maxSurge": "25%"});
            strategy_defaults(spec, "strategy", &share);
            json!({"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600})
        }
        "ReplicaSet" => json!({"replicas": 1}),
        "ReplicationController" => {
            let labels = spec["template"]["metadata"].get("labels").cloned();
            if let Some(labels) = labels {
                set_default(spec, "selector", labels);
            }
            json!({"replicas": 1})
        }
        "DaemonSet" => {
            let one = json!({"maxUnavailable": 1, "maxSurge": 0});
            strategy_defaults(spec, "updateStrategy", &one);
            json!({"revisionHistoryLimit": 10})
        }
        "StatefulSet" => {
            strategy_defaults(spec, "updateStrategy", &json!({"partition": 0}));
            let retention = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
            fill(spec, "persistentVolumeClaimRetentionPolicy", &retention);
            for claim in items_mut(spec.get_mut("volumeClaimTemplates")) {
                storage::claim_template_defaults(claim);
            }
            json!({
                "replicas": 1, "podManagementPolicy": "OrderedReady", "revisionHistoryLimit": 10,
            })
        }
        "Job" => {
            // A number of workers without a number of completions is a work queue.
            if spec["completions"].is_null() && spec["parallelism"].is_null() {
                spec["completions"] = 1.into();
            }
            json!({
                "parallelism": 1, "backoffLimit": 6,
                "completionMode": "NonIndexed", "suspend": false,
                "podReplacementPolicy": "TerminatingOrFailed", "manualSelector": false,
            })
        }
        "CronJob" => json!({
            "concurrencyPolicy": "Allow", "suspend": false,
            "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1,
        }),
        _ => return,
    };
    for (field, value) in fields(&defaults) {
        set_default(spec, field, value.clone());
    }
}

/// How Pods are replaced, and by how many at once if that happens by itself.
fn strategy_defaults(spec: &mut Value, field: &str, rolling: &Value) {
    fill(spec, field, &json!({"type": "RollingUpdate"}));
    if spec[field]["type"] == "RollingUpdate" {
        fill(&mut spec[field], "rollingUpdate", rolling);
    }
}

/// Sets what is missing of an object in a field.
fn fill(object: &mut Value, field: &str, defaults: &Value) {
    if !object[field].is_object() {
        object[field] = json!({});
    }
    for (name, value) in fields(defaults) {
        set_default(&mut object[field], name, value.clone());
    }
}

/// Statuses that are written even when nothing has happened yet, and the selectors of Jobs.
pub fn before_create(kind: &Kind, object: &mut Value) {
    match kind.kind.as_str() {
        "Deployment" | "Job" | "CronJob" => object["status"] = json!({}),
        "ReplicaSet" | "ReplicationController" => object["status"] = json!({"replicas": 0}),
        "StatefulSet" => object["status"] = json!({"replicas": 0, "availableReplicas": 0}),
        "DaemonSet" => {
            object["status"] = json!({
                "currentNumberScheduled": 0, "desiredNumberScheduled": 0,
                "numberMisscheduled": 0, "numberReady": 0,
            });
        }
        _ => {}
    }
    if kind.kind == "Job" && object["spec"]["manualSelector"] != true {
        select_own_pods(object);
    }
}

/// A Job selects its Pods by its uid, and they have it as a label.
fn select_own_pods(job: &mut Value) {
    let uid = text(&job["metadata"]["uid"]).to_owned();
    let name = text(&job["metadata"]["name"]).to_owned();
    let spec = &mut job["spec"];
    fill(spec, "selector", &json!({"matchLabels": {}}));
    let own = "batch.kubernetes.io/controller-uid";
    set_default(
        &mut spec["selector"]["matchLabels"],
        own,
        uid.as_str().into(),
    );
    let metadata = &mut spec["template"]["metadata"];
    if !metadata.is_object() {
        *metadata = json!({});
    }
    set_default(metadata, "labels", json!({}));
    for (label, value) in [
        (own, &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ] {
        metadata["labels"][label] = value.as_str().into();
    }
}

/// A budget has one limit, which is a number or a share.
pub fn validate_budget(budget: &Value) -> Vec<Cause> {
    let spec = &budget["spec"];
    let mut causes = Vec::new();
    if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
        let why = "minAvailable and maxUnavailable cannot be both set";
        causes.push(Cause::invalid("spec", spec, why));
    }
    for field in ["minAvailable", "maxUnavailable"] {
        causes.extend(
            share_problem(&spec[field])
                .map(|why| Cause::invalid(format!("spec.{field}"), &spec[field], why)),
        );
    }
    causes.extend(selectors::validate(&spec["selector"], "spec.selector"));
    let policy = &spec["unhealthyPodEvictionPolicy"];
    if !policy.is_null() && !EVICTION_POLICIES.contains(&text(policy)) {
        let field = "spec.unhealthyPodEvictionPolicy";
        causes.push(Cause::not_supported(field, policy, EVICTION_POLICIES));
    }
    causes
}

/// What is wrong with a number or a share of the whole.
pub fn share_problem(value: &Value) -> Option<&'static str> {
    match value {
        Value::Number(number) if number.as_i64().is_some_and(|n| n < 0) => {
            Some("must be greater than or equal to 0")
        }
        Value::String(text) => match text.strip_suffix('%').map(str::parse::<u32>) {
            Some(Ok(0..=100)) => None,
            Some(Ok(_)) => Some("must not be greater than 100%"),
            _ => Some(
                "a valid percent string must be a numeric string followed by an ending '%' (e.g. \
                 '1%',  or '93%', regex used for validation is '[0-9]+%')",
            ),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaulted(plural: &str, spec: &Value) -> Value {
        let registry = crate::registry::Registry::new();
        let kind = registry.find("apps", "v1", plural).unwrap();
        let mut object = json!({"spec": spec});
        defaults(&kind, &mut object);
        object["spec"].take()
    }

    #[test]
    fn half_a_strategy_is_completed() {
        for (plural, field, given, whole) in [
            (
                "daemonsets",
                "updateStrategy",
                json!({"type": "OnDelete"}),
                json!({"type": "OnDelete"}),
            ),
            (
                "daemonsets",
                "updateStrategy",
                json!({"rollingUpdate": {"maxUnavailable": 2}}),
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2, "maxSurge": 0}}),
            ),
            (
                "statefulsets",
                "updateStrategy",
                json!({"type": "RollingUpdate"}),
                json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}),
            ),
            (
                "deployments",
                "strategy",
                json!({"rollingUpdate": {"maxSurge": 1}}),
                json!({"type": "RollingUpdate",
                    "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": 1}}),
            ),
        ] {
            let spec = defaulted(plural, &json!({field: given}));
            assert_eq!(spec[field], whole, "{plural}");
        }
    }

    #[test]
    fn the_claims_of_a_stateful_set_are_whole_objects() {
        let claim = json!({"metadata": {"name": "data"}, "spec": {}});
        let spec = defaulted("statefulsets", &json!({"volumeClaimTemplates": [claim]}));
        let claim = &spec["volumeClaimTemplates"][0];
        assert_eq!(claim["kind"], "PersistentVolumeClaim");
        assert_eq!(claim["spec"]["volumeMode"], "Filesystem");
        assert_eq!(claim["status"]["phase"], "Pending");
    }

    #[test]
    fn a_budget_selects_and_knows_what_to_do_with_the_sick() {
        let budget = json!({"spec": {"minAvailable": 1, "unhealthyPodEvictionPolicy": "Never",
            "selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}});
        let causes = validate_budget(&budget);
        let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "spec.selector.matchExpressions[0].values",
                "spec.unhealthyPodEvictionPolicy"
            ]
        );
    }

    #[test]
    fn a_budget_is_a_number_or_at_most_all() {
        for (value, good) in [
            (json!(1), true),
            (json!("50%"), true),
            (json!("150%"), false),
            (json!(-1), false),
            (json!("half"), false),
            (Value::Null, true),
        ] {
            assert_eq!(share_problem(&value).is_none(), good, "{value}");
        }
    }
}
