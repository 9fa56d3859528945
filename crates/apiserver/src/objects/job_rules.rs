//! What is wrong with Jobs and CronJobs, and what of them may change.

use serde_json::Value;

use crate::status::Cause;

use super::values::{items, text};
use super::{names, pods, schedule, selectors};

const CONCURRENCY: &[&str] = &["Allow", "Forbid", "Replace"];
const COMPLETION_MODES: &[&str] = &["Indexed", "NonIndexed"];
const REPLACEMENT: &[&str] = &["Failed", "TerminatingOrFailed"];
/// The longest name of a CronJob: its Jobs add eleven characters to it.
const CRON_JOB_NAME: usize = 52;
/// How many Pods an indexed Job may have at once, and how many indices may fail.
const MOST_INDEXED: i64 = 100_000;
/// The longest name of a controller of Jobs.
const MANAGER: usize = 63;

/// What is wrong with a Job.
pub fn validate_job(job: &Value) -> Vec<Cause> {
    let spec = &job["spec"];
    let mut causes = validate_spec(spec, "spec");
    let selector = &spec["selector"];
    if selector.is_null() {
        causes.push(Cause::required("spec.selector", ""));
        return causes;
    }
    causes.extend(selectors::validate(selector, "spec.selector"));
    let labels = &spec["template"]["metadata"]["labels"];
    if causes.is_empty() && !selectors::selects(selector, labels) {
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", labels, why));
        if spec["manualSelector"] != true {
            let why = "`selector` not auto-generated";
            causes.push(Cause::invalid("spec.selector", selector, why));
        }
    }
    causes
}

/// What Jobs and the templates of Jobs have in common; `path` leads to the spec.
fn validate_spec(spec: &Value, path: &str) -> Vec<Cause> {
    let at = |field: &str| format!("{path}.{field}");
    let mut causes = Vec::new();
    for field in [
        "parallelism",
        "completions",
        "backoffLimit",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        if spec[field].as_i64().is_some_and(|number| number < 0) {
            let why = "must be greater than or equal to 0";
            causes.push(Cause::invalid(at(field), &spec[field], why));
        }
    }
    for (field, known) in [
        ("completionMode", COMPLETION_MODES),
        ("podReplacementPolicy", REPLACEMENT),
    ] {
        let value = &spec[field];
        if !value.is_null() && !known.contains(&text(value)) {
            causes.push(Cause::not_supported(at(field), value, known));
        }
    }
    causes.extend(indexed(spec, path));
    causes.extend(managed_by(&spec["managedBy"], at("managedBy")));
    let policy = &spec["successPolicy"];
    if policy.is_object() && items(&policy["rules"]).next().is_none() {
        let why = "at least one rules must be specified when the successPolicy is specified";
        causes.push(Cause::required(at("successPolicy.rules"), why));
    }
    let template = &spec["template"]["spec"];
    causes.extend(pods::validate_template(template, &at("template.spec")));
    if template["restartPolicy"] == "Always" {
        let why = "valid values: \"OnFailure\", \"Never\"";
        causes.push(Cause::required(at("template.spec.restartPolicy"), why));
    } else if spec["podFailurePolicy"].is_object() && template["restartPolicy"] != "Never" {
        let why = "only \"Never\" is supported when podFailurePolicy is specified";
        let policy = &template["restartPolicy"];
        causes.push(Cause::invalid(
            at("template.spec.restartPolicy"),
            policy,
            why,
        ));
    }
    causes
}

/// Some things need Pods that are told apart by their index.
fn indexed(spec: &Value, path: &str) -> Vec<Cause> {
    let at = |field: &str| format!("{path}.{field}");
    let mut causes = Vec::new();
    if spec["completionMode"] != "Indexed" {
        let why = "requires indexed completion mode";
        for field in ["backoffLimitPerIndex", "maxFailedIndexes", "successPolicy"] {
            if !spec[field].is_null() {
                causes.push(Cause::invalid(at(field), &spec[field], why));
            }
        }
        return causes;
    }
    if spec["completions"].is_null() {
        let why = "when completion mode is Indexed";
        causes.push(Cause::required(at("completions"), why));
    }
    for field in ["parallelism", "maxFailedIndexes"] {
        if spec[field]
            .as_i64()
            .is_some_and(|number| number > MOST_INDEXED)
        {
            let why = format!(
                "must be less than or equal to {MOST_INDEXED} when completion mode is Indexed"
            );
            causes.push(Cause::invalid(at(field), &spec[field], why));
        }
    }
    if !spec["maxFailedIndexes"].is_null() && spec["backoffLimitPerIndex"].is_null() {
        let why = "when maxFailedIndexes is specified";
        causes.push(Cause::required(at("backoffLimitPerIndex"), why));
    }
    causes
}

fn managed_by(manager: &Value, field: String) -> Vec<Cause> {
    let Some(name) = manager.as_str() else {
        return Vec::new();
    };
    let mut causes = Vec::new();
    let good = name
        .split_once('/')
        .is_some_and(|(domain, rest)| names::subdomain(domain).is_empty() && !rest.is_empty());
    if !good {
        let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        causes.push(Cause::invalid(field.clone(), manager, why));
    }
    if name.len() > MANAGER {
        causes.push(Cause::too_long(field, MANAGER));
    }
    causes
}

/// What is wrong with a CronJob.
pub fn validate_cron_job(object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    let template = "spec.jobTemplate.spec";
    let mut causes = validate_spec(&spec["jobTemplate"]["spec"], template);
    let selector = &spec["jobTemplate"]["spec"]["selector"];
    if !selector.is_null() {
        let why = "`selector` will be auto-generated";
        causes.push(Cause::invalid(
            format!("{template}.selector"),
            selector,
            why,
        ));
    }
    if spec["jobTemplate"]["spec"]["manualSelector"] == true {
        let field = format!("{template}.manualSelector");
        causes.push(Cause::not_supported(field, &true.into(), &["nil", "false"]));
    }
    let name = &object["metadata"]["name"];
    if text(name).len() > CRON_JOB_NAME {
        let why = format!("must be no more than {CRON_JOB_NAME} characters");
        causes.push(Cause::invalid("metadata.name", name, why));
    }
    for field in [
        "startingDeadlineSeconds",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
    ] {
        if spec[field].as_i64().is_some_and(|number| number < 0) {
            let why = "must be greater than or equal to 0";
            causes.push(Cause::invalid(format!("spec.{field}"), &spec[field], why));
        }
    }
    match text(&spec["schedule"]) {
        "" => causes.push(Cause::required("spec.schedule", "")),
        text => {
            let problem = schedule::problem(text);
            causes
                .extend(problem.map(|why| Cause::invalid("spec.schedule", &spec["schedule"], why)));
        }
    }
    if let Some(zone) = spec["timeZone"].as_str() {
        let problem = schedule::zone_problem(zone);
        causes.extend(problem.map(|why| Cause::invalid("spec.timeZone", &zone.into(), why)));
    }
    let policy = &spec["concurrencyPolicy"];
    if !CONCURRENCY.contains(&text(policy)) {
        let field = "spec.concurrencyPolicy";
        causes.push(Cause::not_supported(field, policy, CONCURRENCY));
    }
    causes
}

/// What may not change of a Job.
pub fn validate_job_update(job: &Value, old: &Value) -> Vec<Cause> {
    let (new, old) = (&job["spec"], &old["spec"]);
    let changed = |field: &&str| new[*field] != old[*field];
    let mut causes: Vec<Cause> = [
        "completionMode",
        "selector",
        "template",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ]
    .into_iter()
    // A Job that waits may still get another template.
    .filter(|field| *field != "template" || old["suspend"] != true)
    .filter(changed)
    .map(|field| Cause::invalid(format!("spec.{field}"), &new[field], "field is immutable"))
    .collect();
    if changed(&"completions") {
        let field = "spec.completions";
        if new["completionMode"] != "Indexed" {
            let why = "field is immutable";
            causes.push(Cause::invalid(field, &new["completions"], why));
        } else if new["completions"] != new["parallelism"] {
            let why = format!(
                "can only be modified in tandem with parallelism ({})",
                new["parallelism"]
            );
            causes.push(Cause::invalid(field, &new["completions"], why));
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A Job that is complete but for what is in `fields`.
    fn job(fields: &Value) -> Value {
        let mut spec = json!({
            "selector": {"matchLabels": {"a": "b"}}, "completions": 2, "parallelism": 2,
            "completionMode": "NonIndexed", "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}},
        });
        for (field, value) in fields.as_object().unwrap() {
            spec[field] = value.clone();
        }
        json!({"metadata": {"name": "a"}, "spec": spec})
    }

    fn fields(causes: &[Cause]) -> Vec<&str> {
        let fields = causes.iter().map(|cause| cause.field.as_str());
        fields
            .map(|field| field.trim_start_matches("spec."))
            .collect()
    }

    #[test]
    fn what_counts_indices_needs_an_index() {
        for (given, wrong) in [
            (json!({}), &[][..]),
            (json!({"completionMode": "Sorted"}), &["completionMode"]),
            (
                json!({"backoffLimitPerIndex": 1}),
                &["backoffLimitPerIndex"],
            ),
            (
                json!({"completionMode": "Indexed", "backoffLimitPerIndex": 1}),
                &[],
            ),
            (
                json!({"completionMode": "Indexed", "maxFailedIndexes": 1}),
                &["backoffLimitPerIndex"],
            ),
            (
                json!({"completionMode": "Indexed", "completions": null}),
                &["completions"],
            ),
            (
                json!({"successPolicy": {}}),
                &["successPolicy", "successPolicy.rules"],
            ),
            (json!({"managedBy": "me"}), &["managedBy"]),
            (json!({"managedBy": "example.com/me"}), &[]),
            (
                json!({"podReplacementPolicy": "Never"}),
                &["podReplacementPolicy"],
            ),
        ] {
            assert_eq!(fields(&validate_job(&job(&given))), wrong, "{given}");
        }
    }

    #[test]
    fn a_selector_selects_the_pods_of_its_job() {
        let other = json!({"selector": {"matchLabels": {"x": "y"}}});
        assert_eq!(
            fields(&validate_job(&job(&other))),
            ["template.metadata.labels", "selector"]
        );
        let manual = json!({"selector": null, "manualSelector": true});
        assert_eq!(fields(&validate_job(&job(&manual))), ["selector"]);
    }

    #[test]
    fn completions_change_only_with_the_parallelism_of_an_indexed_job() {
        let change = |new: Value, old: Value| {
            let causes = validate_job_update(&job(&new), &job(&old));
            causes.len()
        };
        assert_eq!(change(json!({"completions": 3}), json!({})), 1);
        let indexed = |count: i64, parallel: i64| json!({"completionMode": "Indexed", "completions": count, "parallelism": parallel});
        assert_eq!(change(indexed(3, 3), indexed(2, 2)), 0);
        assert_eq!(change(indexed(3, 2), indexed(2, 2)), 1);
        assert_eq!(
            change(json!({"parallelism": 5, "suspend": true}), json!({})),
            0
        );
    }
}
