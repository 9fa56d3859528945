//! HorizontalPodAutoscalers: rules, and the two versions in which they are served.
//!
//! They are stored as `autoscaling/v2`. What `autoscaling/v1` has no fields for it carries in
//! annotations, as kube-apiserver does.

use serde_json::{Map, Value, json};

use crate::registry::Kind;
use crate::status::Cause;

use super::names;
use super::values::{items, put, remove, set_default, text};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// The percentage of the requested CPU time that is aimed at if nothing else is.
const USUAL_UTILIZATION: i64 = 80;

/// A kind of metric: its type, its field, and what its values are called in v2 and in v1. `target`
/// is `target` in a spec and `current` in a status.
struct Source {
    kind: &'static str,
    field: &'static str,
    names: &'static [(&'static str, &'static str)],
}

const RESOURCE: &[(&str, &str)] = &[
    ("/name", "name"),
    ("/container", "container"),
    ("/target/averageUtilization", "targetAverageUtilization"),
    ("/target/averageValue", "targetAverageValue"),
];
const SOURCES: &[Source] = &[
    Source {
        kind: "ContainerResource",
        field: "containerResource",
        names: RESOURCE,
    },
    Source {
        kind: "External",
        field: "external",
        names: &[
            ("/metric/name", "metricName"),
            ("/metric/selector", "metricSelector"),
            ("/target/value", "targetValue"),
            ("/target/averageValue", "targetAverageValue"),
        ],
    },
    Source {
        kind: "Object",
        field: "object",
        names: &[
            ("/describedObject", "target"),
            ("/metric/name", "metricName"),
            ("/metric/selector", "selector"),
            ("/target/value", "targetValue"),
            ("/target/averageValue", "averageValue"),
        ],
    },
    Source {
        kind: "Pods",
        field: "pods",
        names: &[
            ("/metric/name", "metricName"),
            ("/metric/selector", "selector"),
            ("/target/averageValue", "targetAverageValue"),
        ],
    },
    Source {
        kind: "Resource",
        field: "resource",
        names: RESOURCE,
    },
];

/// Whether objects of the kind are written differently from how they are stored.
pub fn is_old_version(kind: &Kind) -> bool {
    kind.version == "v1" && kind.is("autoscaling", "HorizontalPodAutoscaler")
}

/// Turns v1 into v2.
pub fn to_v2(old: &Value) -> Value {
    let mut new = old.clone();
    new["apiVersion"] = "autoscaling/v2".into();
    let mut annotated = |name: &str| -> Value {
        let annotation = new["metadata"]["annotations"]
            .as_object_mut()
            .and_then(|annotations| annotations.shift_remove(name));
        annotation
            .as_ref()
            .and_then(Value::as_str)
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    };
    let (metrics, current) = (annotated(METRICS), annotated(CURRENT_METRICS));
    let (conditions, behavior) = (annotated(CONDITIONS), annotated(BEHAVIOR));
    if new["metadata"]["annotations"] == json!({}) {
        remove(&mut new["metadata"], "annotations");
    }

    let mut wanted = Vec::new();
    if let Some(percentage) = take(&mut new["spec"], "targetCPUUtilizationPercentage") {
        let target = json!({"type": "Utilization", "averageUtilization": percentage});
        wanted.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
    }
    wanted.extend(items(&metrics).map(|metric| metric_to_v2(metric, "target")));
    if !wanted.is_empty() {
        new["spec"]["metrics"] = wanted.into();
    }
    if behavior.is_object() {
        new["spec"]["behavior"] = renamed(&behavior, char::to_ascii_lowercase);
    }
    let percentage = take(&mut new["status"], "currentCPUUtilizationPercentage");
    if current.is_array() {
        let metrics = items(&current).map(|metric| metric_to_v2(metric, "current"));
        new["status"]["currentMetrics"] = metrics.collect();
    } else if let Some(percentage) = percentage {
        let current = json!({"averageUtilization": percentage});
        new["status"]["currentMetrics"] =
            json!([{"type": "Resource", "resource": {"name": "cpu", "current": current}}]);
    }
    if conditions.is_array() {
        new["status"]["conditions"] = conditions;
    }
    new
}

/// Turns v2 into v1.
pub fn to_v1(new: Value) -> Value {
    let mut old = new;
    old["apiVersion"] = "autoscaling/v1".into();
    let metrics = take(&mut old["spec"], "metrics").unwrap_or_default();
    let is_cpu = |metric: &&Value| {
        metric["type"] == "Resource"
            && metric["resource"]["name"] == "cpu"
            && metric
                .pointer("/resource/target/averageUtilization")
                .is_some()
    };
    if let Some(cpu) = items(&metrics).find(is_cpu) {
        old["spec"]["targetCPUUtilizationPercentage"] =
            cpu["resource"]["target"]["averageUtilization"].clone();
    }
    let others: Vec<Value> = items(&metrics)
        .filter(|metric| !is_cpu(metric))
        .map(|metric| metric_to_v1(metric, "target"))
        .collect();
    if !others.is_empty() {
        annotate(&mut old, METRICS, &others.into());
    }
    if let Some(behavior) = take(&mut old["spec"], "behavior") {
        let behavior = renamed(&behavior, char::to_ascii_uppercase);
        annotate(&mut old, BEHAVIOR, &behavior);
    }
    if !old["status"].is_object() {
        return old;
    }
    let current = take(&mut old["status"], "currentMetrics").unwrap_or_default();
    for metric in items(&current) {
        let percentage = metric.pointer("/resource/current/averageUtilization");
        if let (true, Some(percentage)) = (metric["resource"]["name"] == "cpu", percentage) {
            old["status"]["currentCPUUtilizationPercentage"] = percentage.clone();
        }
    }
    if items(&current).next().is_some() {
        let metrics = items(&current).map(|metric| metric_to_v1(metric, "current"));
        annotate(&mut old, CURRENT_METRICS, &metrics.collect());
    }
    if let Some(conditions) = take(&mut old["status"], "conditions") {
        annotate(&mut old, CONDITIONS, &conditions);
    }
    set_default(&mut old["status"], "currentReplicas", 0.into());
    old
}

fn take(object: &mut Value, field: &str) -> Option<Value> {
    object
        .as_object_mut()
        .and_then(|map| map.shift_remove(field))
        .filter(|value| !value.is_null())
}

fn annotate(object: &mut Value, name: &str, value: &Value) {
    if !object["metadata"]["annotations"].is_object() {
        object["metadata"]["annotations"] = json!({});
    }
    object["metadata"]["annotations"][name] = value.to_string().into();
}

fn source_of(metric: &Value) -> Option<&'static Source> {
    SOURCES
        .iter()
        .find(|source| metric["type"] == source.kind && metric[source.field].is_object())
}

/// The two names of a value, for a spec (`target`) or for a status (`current`).
fn names_for((new, old): (&str, &str), what: &str) -> (String, String) {
    let old = match old.strip_prefix("target") {
        Some(rest) if new != "/describedObject" => format!("{what}{rest}"),
        _ => old.to_owned(),
    };
    (new.replace("/target/", &format!("/{what}/")), old)
}

fn metric_to_v1(metric: &Value, what: &str) -> Value {
    let Some(source) = source_of(metric) else {
        return metric.clone();
    };
    let mut values = Map::new();
    for names in source.names {
        let (new, old) = names_for(*names, what);
        if let Some(value) = metric[source.field].pointer(&new) {
            values.insert(old, value.clone());
        }
    }
    json!({"type": source.kind, source.field: values})
}

fn metric_to_v2(metric: &Value, what: &str) -> Value {
    let Some(source) = source_of(metric) else {
        return metric.clone();
    };
    let mut values = json!({what: {}});
    for names in source.names {
        let (new, old) = names_for(*names, what);
        let Some(value) = metric[source.field]
            .get(&old)
            .filter(|value| !value.is_null())
        else {
            continue;
        };
        match new.trim_start_matches('/').split_once('/') {
            Some((outer, inner)) => values[outer][inner] = value.clone(),
            None => values[new.trim_start_matches('/')] = value.clone(),
        }
    }
    if what == "target" {
        let target = &mut values["target"];
        let kind = if target.get("averageUtilization").is_some() {
            "Utilization"
        } else if target.get("value").is_some() {
            "Value"
        } else {
            "AverageValue"
        };
        target["type"] = kind.into();
    }
    json!({"type": source.kind, source.field: values})
}

/// A value whose field names begin differently: Go writes down behavior with its own names.
fn renamed(value: &Value, first: fn(&char) -> char) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| {
                let mut letters = name.chars();
                let name: String = letters.next().iter().map(first).chain(letters).collect();
                (name, renamed(value, first))
            })
            .collect(),
        Value::Array(list) => list.iter().map(|value| renamed(value, first)).collect(),
        other => other.clone(),
    }
}

/// The usual ways of an autoscaler, in either version.
pub fn defaults(kind: &Kind, object: &mut Value) {
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else {
        return;
    };
    set_default(spec, "minReplicas", 1.into());
    if is_old_version(kind) {
        let other = object["metadata"]["annotations"].get(METRICS).is_some();
        if !other {
            let percentage = USUAL_UTILIZATION.into();
            set_default(
                &mut object["spec"],
                "targetCPUUtilizationPercentage",
                percentage,
            );
        }
        return;
    }
    if items(&spec["metrics"]).next().is_none() {
        let target = json!({"type": "Utilization", "averageUtilization": USUAL_UTILIZATION});
        spec["metrics"] =
            json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
    }
    if let Some(behavior) = spec.get_mut("behavior").filter(|value| value.is_object()) {
        set_default(behavior, "scaleUp", json!({}));
        set_default(behavior, "scaleDown", json!({}));
        let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
        let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
        let up = &mut behavior["scaleUp"];
        set_default(up, "stabilizationWindowSeconds", 0.into());
        set_default(up, "selectPolicy", "Max".into());
        set_default(up, "policies", json!([pods, percent]));
        let down = &mut behavior["scaleDown"];
        set_default(down, "selectPolicy", "Max".into());
        set_default(down, "policies", json!([percent]));
    }
}

/// The status of a new autoscaler.
pub fn before_create(kind: &Kind, object: &mut Value) {
    let status = json!({"desiredReplicas": 0});
    put(object, "status", Some(status));
    if is_old_version(kind) {
        object["status"]["currentReplicas"] = 0.into();
    }
}

/// What is wrong with an autoscaler, in either version.
pub fn validate(kind: &Kind, object: &Value) -> Vec<Cause> {
    if is_old_version(kind) {
        return validate_v2(&to_v2(object));
    }
    validate_v2(object)
}

fn validate_v2(object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    let mut causes = Vec::new();
    let number = |field: &str| spec[field].as_i64().unwrap_or_default();
    let (least, most) = (number("minReplicas"), number("maxReplicas"));
    if !spec["minReplicas"].is_null() && least < 1 {
        let why = "must be greater than or equal to 1";
        causes.push(Cause::invalid("spec.minReplicas", &least.into(), why));
    }
    if most < 1 {
        let why = "must be greater than 0";
        causes.push(Cause::invalid("spec.maxReplicas", &most.into(), why));
    }
    if most < least {
        let why = "must be greater than or equal to `minReplicas`";
        causes.push(Cause::invalid("spec.maxReplicas", &most.into(), why));
    }
    for field in ["kind", "name"] {
        let path = format!("spec.scaleTargetRef.{field}");
        let value = text(&spec["scaleTargetRef"][field]);
        if value.is_empty() {
            causes.push(Cause::required(path, ""));
            continue;
        }
        let problems = names::path_segment(value);
        causes.extend(
            problems
                .into_iter()
                .map(|why| Cause::invalid(path.as_str(), &value.into(), why)),
        );
    }
    for (index, metric) in items(&spec["metrics"]).enumerate() {
        validate_metric(metric, &format!("spec.metrics[{index}]"), &mut causes);
    }
    causes
}

fn validate_metric(metric: &Value, path: &str, causes: &mut Vec<Cause>) {
    let kind = text(&metric["type"]);
    let Some(source) = SOURCES.iter().find(|source| source.kind == kind) else {
        let known: Vec<&str> = SOURCES.iter().map(|source| source.kind).collect();
        let field = format!("{path}.type");
        if kind.is_empty() {
            let why = "must specify a metric source type";
            causes.push(Cause::required(field.as_str(), why));
        }
        causes.push(Cause::not_supported(field, &kind.into(), &known));
        return;
    };
    if !metric[source.field].is_object() {
        let why = "must populate information for the given metric source";
        causes.push(Cause::required(format!("{path}.{}", source.field), why));
    }
    for other in SOURCES.iter().filter(|other| other.kind != kind) {
        if metric[other.field].is_object() {
            let why = "must populate the given metric source only";
            causes.push(Cause::forbidden(format!("{path}.{}", other.field), why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(version: &str) -> std::sync::Arc<Kind> {
        let registry = crate::registry::Registry::new();
        let found = registry.find("autoscaling", version, "horizontalpodautoscalers");
        found.expect("both versions are served")
    }

    fn scaler() -> Value {
        json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web", "annotations": {"kept": "yes"}},
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"},
                "minReplicas": 2, "maxReplicas": 5,
                "metrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "target": {
                        "averageUtilization": 50, "type": "Utilization"}}},
                    {"type": "Resource", "resource": {"name": "memory", "target": {
                        "averageValue": "1Gi", "type": "AverageValue"}}},
                    {"type": "Object", "object": {
                        "target": {"value": "10k", "type": "Value"},
                        "describedObject": {"kind": "Ingress", "name": "main"},
                        "metric": {"name": "requests"}}},
                ],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60,
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 30}]}},
            },
            "status": {
                "currentReplicas": 3, "desiredReplicas": 4,
                "currentMetrics": [{"type": "Resource", "resource": {
                    "name": "cpu", "current": {"averageUtilization": 70, "averageValue": "7"}}}],
                "conditions": [{"type": "AbleToScale", "status": "True"}],
            },
        })
    }

    #[test]
    fn the_old_version_says_the_rest_in_annotations() {
        let old = to_v1(scaler());
        assert_eq!(old["spec"]["targetCPUUtilizationPercentage"], 50);
        assert_eq!(old["status"]["currentCPUUtilizationPercentage"], 70);
        assert!(old["spec"].get("metrics").is_none());
        let annotation = |name: &str| -> Value {
            let text = old["metadata"]["annotations"][name].as_str();
            serde_json::from_str(text.unwrap()).unwrap()
        };
        assert_eq!(
            annotation(METRICS)[0],
            json!({"type": "Resource", "resource": {"name": "memory", "targetAverageValue": "1Gi"}})
        );
        let target = json!({"kind": "Ingress", "name": "main"});
        assert_eq!(annotation(METRICS)[1]["object"]["target"], target);
        assert_eq!(
            annotation(BEHAVIOR)["ScaleDown"]["Policies"][0]["PeriodSeconds"],
            30
        );
    }

    #[test]
    fn the_old_version_and_back_loses_nothing() {
        assert_eq!(to_v2(&to_v1(scaler())), scaler());
    }

    #[test]
    fn cpu_is_aimed_at_if_nothing_else_is() {
        for version in ["v1", "v2"] {
            let mut object = json!({"spec": {"maxReplicas": 3}});
            defaults(&kind(version), &mut object);
            if version == "v1" {
                object = to_v2(&object);
            }
            assert_eq!(object["spec"]["minReplicas"], 1, "{version}");
            let target = &object["spec"]["metrics"][0]["resource"]["target"];
            assert_eq!(target["averageUtilization"], 80, "{version}");
        }
    }

    #[test]
    fn bounds_target_and_metrics_are_checked_in_both_versions() {
        let spec = json!({"minReplicas": 3, "maxReplicas": 2, "scaleTargetRef": {"name": "a/b"}});
        let expected = [
            "spec.maxReplicas",
            "spec.scaleTargetRef.kind",
            "spec.scaleTargetRef.name",
        ];
        for version in ["v1", "v2"] {
            let causes = validate(&kind(version), &json!({"spec": spec}));
            let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
            assert_eq!(fields, expected, "{version}");
        }
        let mut wrong = scaler();
        wrong["spec"]["metrics"] = json!([{"type": "Pods", "resource": {}}, {"type": "Cpu"}]);
        let causes = validate(&kind("v2"), &wrong);
        let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
        let expected = [
            "spec.metrics[0].pods",
            "spec.metrics[0].resource",
            "spec.metrics[1].type",
        ];
        assert_eq!(fields, expected);
    }
}
