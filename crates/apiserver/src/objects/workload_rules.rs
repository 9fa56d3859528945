//! What is wrong with workloads, and what of them may change.

use serde_json::Value;

use crate::registry::Kind;
use crate::status::Cause;

use super::kinds::{fields, text};
use super::pods;

const STRATEGIES: &[&str] = &["Recreate", "RollingUpdate"];
const CONCURRENCY: &[&str] = &["Allow", "Forbid", "Replace"];
const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
/// The longest name of a CronJob: its Jobs add eleven characters to it.
const CRON_JOB_NAME: usize = 52;
/// What may change of a StatefulSet.
const STATEFUL_SET_FIELDS: &[&str] = &[
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

/// What is wrong with a workload.
pub fn validate(kind: &Kind, object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    let mut causes = Vec::new();
    for field in [
        "replicas",
        "minReadySeconds",
        "revisionHistoryLimit",
        "progressDeadlineSeconds",
        "parallelism",
        "completions",
        "backoffLimit",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
        "startingDeadlineSeconds",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
    ] {
        if spec[field].as_i64().is_some_and(|number| number < 0) {
            let path = format!("spec.{field}");
            causes.push(Cause::invalid(path, &spec[field], NOT_NEGATIVE));
        }
    }
    match kind.kind.as_str() {
        "Job" => causes.extend(validate_job(spec, "spec")),
        "CronJob" => causes.extend(validate_cron_job(object)),
        "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet" => {
            causes.extend(validate_selector(&kind.kind, spec));
            causes.extend(validate_template(spec, &kind.kind));
        }
        _ => {}
    }
    if kind.kind == "Deployment" {
        causes.extend(validate_deployment(spec));
    }
    causes
}

fn validate_selector(kind: &str, spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let selector = &spec["selector"];
    let labels = &spec["template"]["metadata"]["labels"];
    let mismatch = || {
        let why = "`selector` does not match template `labels`";
        Cause::invalid("spec.template.metadata.labels", labels, why)
    };
    if selector.is_null() {
        if kind != "DaemonSet" {
            causes.push(Cause::required("spec.selector", ""));
        }
        causes.push(mismatch());
    } else if fields(selector).next().is_none() {
        let of = match kind {
            "DaemonSet" => "daemonset",
            "StatefulSet" => "statefulset",
            _ => "deployment",
        };
        let why = format!("empty selector is invalid for {of}");
        causes.push(Cause::invalid("spec.selector", selector, why));
    } else if !pods::selects(selector, labels) {
        causes.push(mismatch());
    }
    causes
}

/// Pods of these workloads run for ever.
fn validate_template(spec: &Value, kind: &str) -> Vec<Cause> {
    let path = "spec.template.spec";
    let template = &spec["template"]["spec"];
    let mut causes = pods::validate(template, path);
    let policy = &template["restartPolicy"];
    if matches!(text(policy), "OnFailure" | "Never") {
        let field = format!("{path}.restartPolicy");
        causes.push(Cause::not_supported(field, policy, &["Always"]));
    }
    if !template["activeDeadlineSeconds"].is_null() {
        let kind = if kind == "Deployment" {
            "ReplicaSet"
        } else {
            kind
        };
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        causes.push(Cause::forbidden(
            format!("{path}.activeDeadlineSeconds"),
            why,
        ));
    }
    causes
}

fn validate_deployment(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let strategy = &spec["strategy"];
    let rolling = &strategy["rollingUpdate"];
    match text(&strategy["type"]) {
        "Recreate" if !rolling.is_null() => {
            let why = "may not be specified when strategy `type` is 'Recreate'";
            causes.push(Cause::forbidden("spec.strategy.rollingUpdate", why));
        }
        "Recreate" => {}
        "RollingUpdate" => causes.extend(validate_rolling_update(rolling)),
        _ => causes.push(Cause::not_supported("spec.strategy", strategy, STRATEGIES)),
    }
    let deadline = spec["progressDeadlineSeconds"].as_i64();
    let ready = spec["minReadySeconds"].as_i64().unwrap_or_default();
    if let Some(deadline) = deadline.filter(|deadline| *deadline <= ready) {
        let why = "must be greater than minReadySeconds";
        causes.push(Cause::invalid(
            "spec.progressDeadlineSeconds",
            &deadline.into(),
            why,
        ));
    }
    causes
}

fn validate_rolling_update(rolling: &Value) -> Vec<Cause> {
    let path = "spec.strategy.rollingUpdate";
    let mut causes = Vec::new();
    for field in ["maxUnavailable", "maxSurge"] {
        let value = &rolling[field];
        if let Some(why) = super::workloads::share_problem(value) {
            // More than all may come, but not go.
            if field == "maxUnavailable" || !why.contains("100%") {
                causes.push(Cause::invalid(format!("{path}.{field}"), value, why));
            }
        }
    }
    let zero = |value: &Value| value == 0 || value == "0%";
    if zero(&rolling["maxUnavailable"]) && zero(&rolling["maxSurge"]) {
        let why = "may not be 0 when `maxSurge` is 0";
        causes.push(Cause::invalid(
            format!("{path}.maxUnavailable"),
            &rolling["maxUnavailable"],
            why,
        ));
    }
    causes
}

fn validate_job(spec: &Value, path: &str) -> Vec<Cause> {
    let template = &spec["template"]["spec"];
    let path = format!("{path}.template.spec");
    let mut causes = pods::validate(template, &path);
    if template["restartPolicy"] == "Always" {
        let why = "valid values: \"OnFailure\", \"Never\"";
        causes.push(Cause::required(format!("{path}.restartPolicy"), why));
    }
    causes
}

fn validate_cron_job(object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    let mut causes = validate_job(&spec["jobTemplate"]["spec"], "spec.jobTemplate.spec");
    let name = &object["metadata"]["name"];
    if text(name).len() > CRON_JOB_NAME {
        let why = format!("must be no more than {CRON_JOB_NAME} characters");
        causes.push(Cause::invalid("metadata.name", name, why));
    }
    let schedule = text(&spec["schedule"]);
    if schedule.is_empty() {
        causes.push(Cause::required("spec.schedule", ""));
    } else if !schedule.starts_with('@') && schedule.split_whitespace().count() != 5 {
        let found = schedule.split_whitespace().count();
        let why = format!("expected exactly 5 fields, found {found}: [{schedule}]");
        causes.push(Cause::invalid("spec.schedule", &spec["schedule"], why));
    }
    let policy = &spec["concurrencyPolicy"];
    if !CONCURRENCY.contains(&text(policy)) {
        let field = "spec.concurrencyPolicy";
        causes.push(Cause::not_supported(field, policy, CONCURRENCY));
    }
    causes
}

/// What may not change of a workload.
pub fn validate_update(kind: &Kind, object: &Value, old: &Value) -> Vec<Cause> {
    let (new, old) = (&object["spec"], &old["spec"]);
    let immutable = |field: &str| {
        (new[field] != old[field])
            .then(|| Cause::invalid(format!("spec.{field}"), &new[field], "field is immutable"))
    };
    match kind.kind.as_str() {
        "Deployment" | "ReplicaSet" | "DaemonSet" => immutable("selector").into_iter().collect(),
        "Job" => ["completionMode", "selector", "template"]
            .into_iter()
            // A Job that waits may still get another template.
            .filter(|field| *field != "template" || old["suspend"] != true)
            .filter_map(immutable)
            .collect(),
        "StatefulSet" => {
            let fixed = |spec: &Value| -> Vec<(String, Value)> {
                let mut fixed: Vec<_> = fields(spec)
                    .filter(|(field, _)| !STATEFUL_SET_FIELDS.contains(&field.as_str()))
                    .map(|(field, value)| (field.clone(), value.clone()))
                    .collect();
                fixed.sort_by(|a, b| a.0.cmp(&b.0));
                fixed
            };
            let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', \
                       'template', 'updateStrategy', 'revisionHistoryLimit', \
                       'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
            let changed = fixed(new) != fixed(old);
            changed
                .then(|| Cause::forbidden("spec", why))
                .into_iter()
                .collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(group: &str, plural: &str) -> std::sync::Arc<Kind> {
        crate::registry::Registry::new()
            .find(group, "v1", plural)
            .unwrap()
    }

    fn problems(group: &str, plural: &str, mut object: Value) -> Vec<String> {
        let kind = kind(group, plural);
        super::super::apply_defaults(&kind, &mut object);
        let causes = validate(&kind, &object);
        causes.into_iter().map(|cause| cause.field).collect()
    }

    fn template(policy: &str) -> Value {
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {
            "restartPolicy": policy, "containers": [{"name": "c", "image": "i"}]}})
    }

    fn deployment(strategy: &Value) -> Value {
        json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "strategy": strategy,
            "template": template("Always")}})
    }

    #[test]
    fn a_strategy_has_only_what_belongs_to_it() {
        let fields = |strategy: Value| problems("apps", "deployments", deployment(&strategy));
        assert!(fields(json!({})).is_empty());
        assert!(fields(json!({"type": "Recreate"})).is_empty());
        let both = json!({"type": "Recreate", "rollingUpdate": {"maxSurge": 1}});
        assert_eq!(fields(both), ["spec.strategy.rollingUpdate"]);
        let stuck = json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}});
        assert_eq!(
            fields(stuck),
            ["spec.strategy.rollingUpdate.maxUnavailable"]
        );
        let more = json!({"rollingUpdate": {"maxSurge": "200%", "maxUnavailable": "0%"}});
        assert!(fields(more).is_empty());
    }

    #[test]
    fn pods_of_workloads_restart_and_those_of_jobs_end() {
        let mut never = deployment(&json!({}));
        never["spec"]["template"] = template("Never");
        let field = ["spec.template.spec.restartPolicy"];
        assert_eq!(problems("apps", "deployments", never), field);
        let job = |policy| json!({"metadata": {}, "spec": {"template": template(policy)}});
        assert_eq!(problems("batch", "jobs", job("Always")), field);
        assert!(problems("batch", "jobs", job("Never")).is_empty());
    }

    #[test]
    fn an_empty_selector_is_its_own_problem() {
        let mut empty = deployment(&json!({}));
        empty["spec"]["selector"] = json!({});
        assert_eq!(
            problems("apps", "deployments", empty.clone()),
            ["spec.selector"]
        );
        empty["spec"]["selector"] = Value::Null;
        assert_eq!(
            problems("apps", "daemonsets", empty),
            ["spec.template.metadata.labels"]
        );
    }

    #[test]
    fn only_some_fields_of_a_stateful_set_change() {
        let kind = kind("apps", "statefulsets");
        let set = |replicas: i64, service: &str| json!({"spec": {"replicas": replicas, "serviceName": service}});
        assert!(validate_update(&kind, &set(2, "a"), &set(1, "a")).is_empty());
        assert_eq!(
            validate_update(&kind, &set(1, "b"), &set(1, "a"))[0].field,
            "spec"
        );
    }

    #[test]
    fn a_schedule_has_five_fields() {
        let job = |schedule: &str| {
            json!({"metadata": {"name": "a"}, "spec": {"schedule": schedule,
                "jobTemplate": {"spec": {"template": template("Never")}}}})
        };
        assert!(problems("batch", "cronjobs", job("*/5 * * * *")).is_empty());
        assert!(problems("batch", "cronjobs", job("@daily")).is_empty());
        assert_eq!(
            problems("batch", "cronjobs", job("daily")),
            ["spec.schedule"]
        );
    }
}
