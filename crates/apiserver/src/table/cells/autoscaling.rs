//! Cells of HorizontalPodAutoscalers.

use serde_json::Value;

use crate::objects;
use crate::registry::Kind;

use super::{NONE, UNKNOWN, items, or, text};

/// How many metrics a cell shows before it only counts.
const SHOWN: usize = 2;

/// A cell of an autoscaler, in either version.
pub fn cell(kind: &Kind, heading: &str, object: &Value) -> Value {
    let object = objects::to_storage(kind, object);
    let (spec, status) = (&object["spec"], &object["status"]);
    match heading {
        "Reference" => {
            let target = &spec["scaleTargetRef"];
            format!("{}/{}", text(&target["kind"]), text(&target["name"])).into()
        }
        "Targets" => targets(spec, status).into(),
        "MinPods" => or(&spec["minReplicas"], "<unset>"),
        "MaxPods" => or(&spec["maxReplicas"], "0"),
        "Replicas" => or(&status["currentReplicas"], "0"),
        _ => Value::Null,
    }
}

/// What there is of each metric and what is aimed at: `cpu: 70%/80%, 5/10 (avg)`.
fn targets(spec: &Value, status: &Value) -> String {
    let shown: Vec<String> = items(&spec["metrics"])
        .enumerate()
        .map(|(index, metric)| target(metric, &status["currentMetrics"][index]))
        .collect();
    if shown.is_empty() {
        return NONE.to_owned();
    }
    let more = shown.len().saturating_sub(SHOWN);
    let text = shown[..shown.len() - more].join(", ");
    if more == 0 {
        text
    } else {
        format!("{text} + {more} more...")
    }
}

fn target(metric: &Value, status: &Value) -> String {
    let (field, named) = match text(&metric["type"]) {
        "ContainerResource" => ("containerResource", true),
        "External" => ("external", false),
        "Object" => ("object", false),
        "Pods" => ("pods", false),
        "Resource" => ("resource", true),
        _ => return "<unknown type>".to_owned(),
    };
    let (wanted, current) = (&metric[field]["target"], &status[field]["current"]);
    let shown = |value: &Value, unit: &str| match value {
        Value::Null => UNKNOWN.to_owned(),
        Value::String(text) => format!("{text}{unit}"),
        number => format!("{number}{unit}"),
    };
    let (what, unit) = ["averageUtilization", "averageValue", "value"]
        .into_iter()
        .find(|what| !wanted[*what].is_null())
        .map_or(("value", ""), |what| match what {
            "averageUtilization" => (what, "%"),
            what => (what, ""),
        });
    let text = format!(
        "{}/{}",
        shown(&current[what], unit),
        shown(&wanted[what], unit)
    );
    match (named, field, what) {
        (true, _, _) => {
            let name = metric[field]["name"].as_str().unwrap_or_default();
            format!("{name}: {text}")
        }
        (_, "object" | "external", "averageValue") => format!("{text} (avg)"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metrics_show_what_is_and_what_is_wanted() {
        let resource = |name: &str, target: Value| json!({"type": "Resource", "resource": {"name": name, "target": target}});
        let pods = json!({"type": "Pods", "pods": {
            "metric": {"name": "requests"}, "target": {"averageValue": "10"}}});
        let cpu = resource("cpu", json!({"averageUtilization": 80}));
        let current =
            json!([{"type": "Resource", "resource": {"current": {"averageUtilization": 70}}}]);
        let two = json!({"metrics": [cpu, pods]});
        let status = json!({"currentMetrics": current});
        assert_eq!(targets(&two, &status), "cpu: 70%/80%, <unknown>/10");
        let memory = resource("memory", json!({"averageValue": "1Gi"}));
        let three = json!({"metrics": [cpu, memory, pods]});
        assert_eq!(
            targets(&three, &Value::Null),
            "cpu: <unknown>/80%, memory: <unknown>/1Gi + 1 more..."
        );
        assert_eq!(targets(&json!({}), &Value::Null), "<none>");
    }
}
