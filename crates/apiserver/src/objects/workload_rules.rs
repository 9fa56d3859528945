//! What is wrong with workloads whose Pods run for ever, and what of them may change.

use serde_json::Value;

use crate::registry::Kind;
use crate::status::Cause;

use super::values::{fields, text};
use super::{job_rules, pods, selectors, workloads};

const STRATEGIES: &[&str] = &["Recreate", "RollingUpdate"];
const DAEMON_STRATEGIES: &[&str] = &["RollingUpdate", "OnDelete"];
const RETENTION: &[&str] = &["Retain", "Delete"];
const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
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
    match kind.kind.as_str() {
        "Job" => return job_rules::validate_job(object),
        "CronJob" => return job_rules::validate_cron_job(object),
        "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet" | "ReplicationController" => {}
        _ => return Vec::new(),
    }
    let mut causes = Vec::new();
    for pointer in [
        "/replicas",
        "/minReadySeconds",
        "/revisionHistoryLimit",
        "/progressDeadlineSeconds",
        "/ordinals/start",
        "/updateStrategy/rollingUpdate/partition",
    ] {
        let number = spec.pointer(pointer).unwrap_or(&Value::Null);
        if number.as_i64().is_some_and(|number| number < 0) {
            let field = format!("spec{}", pointer.replace('/', "."));
            causes.push(Cause::invalid(field, number, NOT_NEGATIVE));
        }
    }
    match kind.kind.as_str() {
        "ReplicationController" => causes.extend(validate_map_selector(spec)),
        _ => causes.extend(validate_selector(&kind.kind, spec)),
    }
    causes.extend(validate_template(spec, &kind.kind));
    match kind.kind.as_str() {
        "Deployment" => causes.extend(validate_deployment(spec)),
        "DaemonSet" => causes.extend(validate_daemon_strategy(&spec["updateStrategy"])),
        "StatefulSet" => causes.extend(validate_stateful_set(spec)),
        _ => {}
    }
    causes
}

fn mismatch(spec: &Value) -> Cause {
    let labels = &spec["template"]["metadata"]["labels"];
    let why = "`selector` does not match template `labels`";
    Cause::invalid("spec.template.metadata.labels", labels, why)
}

fn validate_selector(kind: &str, spec: &Value) -> Vec<Cause> {
    let selector = &spec["selector"];
    let labels = &spec["template"]["metadata"]["labels"];
    if selector.is_null() {
        let missing = (kind != "DaemonSet").then(|| Cause::required("spec.selector", ""));
        return missing.into_iter().chain([mismatch(spec)]).collect();
    }
    let mut causes = selectors::validate(selector, "spec.selector");
    if !causes.is_empty() {
        if kind != "DaemonSet" {
            let why = "invalid label selector";
            causes.push(Cause::invalid("spec.selector", selector, why));
        }
    } else if selectors::is_empty(selector) {
        let of = match kind {
            "DaemonSet" => "daemonset",
            "StatefulSet" => "statefulset",
            _ => "deployment",
        };
        let why = format!("empty selector is invalid for {of}");
        causes.push(Cause::invalid("spec.selector", selector, why));
    } else if !selectors::selects(selector, labels) {
        causes.push(mismatch(spec));
    }
    causes
}

/// The selector of a ReplicationController is older than the others: it is just labels.
fn validate_map_selector(spec: &Value) -> Vec<Cause> {
    let labels = &spec["template"]["metadata"]["labels"];
    let mut wanted = fields(&spec["selector"]).peekable();
    if wanted.peek().is_none() {
        return vec![Cause::required("spec.selector", "")];
    }
    if spec["template"].is_null() {
        return vec![Cause::required("spec.template", "")];
    }
    let fits = wanted.all(|(key, value)| labels.get(key) == Some(value));
    (!fits).then(|| mismatch(spec)).into_iter().collect()
}

/// Pods of these workloads run for ever.
fn validate_template(spec: &Value, kind: &str) -> Vec<Cause> {
    let path = "spec.template.spec";
    let template = &spec["template"]["spec"];
    if kind == "ReplicationController" && spec["template"].is_null() {
        return Vec::new();
    }
    let mut causes = pods::validate_template(template, path);
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
        if let Some(why) = workloads::share_problem(value) {
            // More than all may come, but not go.
            if field == "maxUnavailable" || !why.contains("100%") {
                causes.push(Cause::invalid(format!("{path}.{field}"), value, why));
            }
        }
    }
    if is_none_of(&rolling["maxUnavailable"]) && is_none_of(&rolling["maxSurge"]) {
        let why = "may not be 0 when `maxSurge` is 0";
        causes.push(Cause::invalid(
            format!("{path}.maxUnavailable"),
            &rolling["maxUnavailable"],
            why,
        ));
    }
    causes
}

/// Whether a number or a share of the whole is nothing.
fn is_none_of(share: &Value) -> bool {
    share == 0 || share == "0%"
}

fn validate_daemon_strategy(strategy: &Value) -> Vec<Cause> {
    let path = "spec.updateStrategy.rollingUpdate";
    let rolling = &strategy["rollingUpdate"];
    match text(&strategy["type"]) {
        "OnDelete" => return Vec::new(),
        "RollingUpdate" => {}
        _ => {
            let field = "spec.updateStrategy";
            return vec![Cause::not_supported(field, strategy, DAEMON_STRATEGIES)];
        }
    }
    let mut causes = Vec::new();
    for field in ["maxUnavailable", "maxSurge"] {
        let value = &rolling[field];
        let problem = workloads::share_problem(value);
        causes.extend(problem.map(|why| Cause::invalid(format!("{path}.{field}"), value, why)));
    }
    let (gone, more) = (&rolling["maxUnavailable"], &rolling["maxSurge"]);
    match (is_none_of(gone), is_none_of(more)) {
        (false, false) => {
            let why = "may not be set when maxUnavailable is non-zero";
            causes.push(Cause::invalid(format!("{path}.maxSurge"), more, why));
        }
        (true, true) => {
            let why = "cannot be 0 when maxSurge is 0";
            causes.push(Cause::required(format!("{path}.maxUnavailable"), why));
        }
        _ => {}
    }
    causes
}

fn validate_stateful_set(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let policy = &spec["podManagementPolicy"];
    if !matches!(text(policy), "OrderedReady" | "Parallel") {
        let why = "must be 'OrderedReady' or 'Parallel'";
        causes.push(Cause::invalid("spec.podManagementPolicy", policy, why));
    }
    let strategy = &spec["updateStrategy"];
    let rolling = &strategy["rollingUpdate"];
    match text(&strategy["type"]) {
        "OnDelete" if !rolling.is_null() => {
            let why = "only allowed for updateStrategy 'RollingUpdate'";
            causes.push(Cause::invalid(
                "spec.updateStrategy.rollingUpdate",
                rolling,
                why,
            ));
        }
        "OnDelete" => {}
        "RollingUpdate" => {
            let (field, most) = (
                "spec.updateStrategy.rollingUpdate.maxUnavailable",
                &rolling["maxUnavailable"],
            );
            let none = is_none_of(most).then_some("cannot be 0");
            let problem = workloads::share_problem(most).or(none);
            causes.extend(problem.map(|why| Cause::invalid(field, most, why)));
        }
        _ => {
            let why = "must be 'RollingUpdate' or 'OnDelete'";
            causes.push(Cause::invalid("spec.updateStrategy", strategy, why));
        }
    }
    for when in ["whenDeleted", "whenScaled"] {
        let policy = &spec["persistentVolumeClaimRetentionPolicy"][when];
        if !policy.is_null() && !RETENTION.contains(&text(policy)) {
            let field = format!("spec.persistentVolumeClaimRetentionPolicy.{when}");
            causes.push(Cause::not_supported(field, policy, RETENTION));
        }
    }
    causes
}

/// What may not change of a workload.
pub fn validate_update(kind: &Kind, object: &Value, old: &Value) -> Vec<Cause> {
    if kind.kind == "Job" {
        return job_rules::validate_job_update(object, old);
    }
    let (new, old) = (&object["spec"], &old["spec"]);
    match kind.kind.as_str() {
        "Deployment" | "ReplicaSet" | "DaemonSet" => {
            let (field, selector) = ("spec.selector", &new["selector"]);
            let why = "field is immutable";
            (*selector != old["selector"])
                .then(|| Cause::invalid(field, selector, why))
                .into_iter()
                .collect()
        }
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
        let job = |policy| {
            json!({"metadata": {}, "spec": {
            "selector": {"matchLabels": {"a": "b"}}, "template": template(policy)}})
        };
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
    fn daemons_are_replaced_in_one_way() {
        let daemons = |strategy: Value| {
            let set = json!({"spec": {"selector": {"matchLabels": {"a": "b"}},
                "updateStrategy": strategy, "template": template("Always")}});
            problems("apps", "daemonsets", set)
        };
        assert!(daemons(json!({})).is_empty());
        assert!(daemons(json!({"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}})).is_empty());
        let path = "spec.updateStrategy.rollingUpdate";
        assert_eq!(
            daemons(json!({"type": "Sometimes"})),
            ["spec.updateStrategy"]
        );
        let both = json!({"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}});
        assert_eq!(daemons(both), [format!("{path}.maxSurge")]);
        let none = json!({"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "0%"}});
        assert_eq!(daemons(none), [format!("{path}.maxUnavailable")]);
    }

    #[test]
    fn a_stateful_set_knows_two_ways_of_everything() {
        for (field, value, wrong) in [
            (
                "podManagementPolicy",
                json!("Random"),
                "podManagementPolicy",
            ),
            (
                "updateStrategy",
                json!({"type": "Recreate"}),
                "updateStrategy",
            ),
            (
                "updateStrategy",
                json!({"type": "OnDelete", "rollingUpdate": {"partition": 1}}),
                "updateStrategy.rollingUpdate",
            ),
            (
                "updateStrategy",
                json!({"rollingUpdate": {"partition": -1}}),
                "updateStrategy.rollingUpdate.partition",
            ),
            (
                "persistentVolumeClaimRetentionPolicy",
                json!({"whenScaled": "Keep"}),
                "persistentVolumeClaimRetentionPolicy.whenScaled",
            ),
            ("ordinals", json!({"start": -1}), "ordinals.start"),
        ] {
            let mut set = json!({"spec": {"selector": {"matchLabels": {"a": "b"}},
                "template": template("Always")}});
            set["spec"][field] = value;
            assert_eq!(
                problems("apps", "statefulsets", set),
                [format!("spec.{wrong}")]
            );
        }
    }

    #[test]
    fn a_selector_that_is_none_is_not_compared() {
        let mut broken = deployment(&json!({}));
        broken["spec"]["selector"] = json!({"matchExpressions": [{"key": "a", "operator": "Is"}]});
        assert_eq!(
            problems("apps", "deployments", broken),
            [
                "spec.selector.matchExpressions[0].operator",
                "spec.selector"
            ]
        );
    }

    #[test]
    fn a_replication_controller_selects_its_pods() {
        let controller = |selector: Value| json!({"spec": {"selector": selector, "template": template("Always")}});
        assert!(problems("", "replicationcontrollers", controller(json!({"a": "b"}))).is_empty());
        assert_eq!(
            problems("", "replicationcontrollers", controller(json!({"x": "y"}))),
            ["spec.template.metadata.labels"]
        );
    }
}
