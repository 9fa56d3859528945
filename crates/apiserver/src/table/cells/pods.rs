//! Cells of Pods.

use jiff::Timestamp;
use serde_json::Value;

use crate::table::age::age;

use super::{NONE, items, or, text};

/// A cell of a Pod.
pub fn pod(heading: &str, pod: &Value, now: Timestamp) -> Value {
    let status = &pod["status"];
    let statuses = || items(&status["containerStatuses"]);
    match heading {
        "Ready" => {
            let ready = statuses()
                .filter(|container| container["ready"] == true)
                .count();
            format!("{ready}/{}", items(&pod["spec"]["containers"]).count()).into()
        }
        "Status" => pod_status(pod).into(),
        "Restarts" => {
            let restarts: i64 = statuses().filter_map(|c| c["restartCount"].as_i64()).sum();
            let last = statuses()
                .filter_map(|c| c["lastState"]["terminated"]["finishedAt"].as_str())
                .max()
                .filter(|_| restarts > 0);
            match last {
                Some(last) => format!("{restarts} ({} ago)", age(last, now)).into(),
                None => restarts.to_string().into(),
            }
        }
        "IP" => or(&status["podIP"], NONE),
        "Node" => or(&pod["spec"]["nodeName"], NONE),
        "Nominated Node" => or(&status["nominatedNodeName"], NONE),
        "Readiness Gates" => NONE.into(),
        _ => Value::Null,
    }
}

fn pod_status(pod: &Value) -> String {
    let status = &pod["status"];
    let mut shown = text(&status["phase"]);
    if let Some(reason) = status["reason"]
        .as_str()
        .filter(|reason| !reason.is_empty())
    {
        shown = reason;
    }
    for container in items(&status["containerStatuses"]) {
        for state in ["waiting", "terminated"] {
            let reason = text(&container["state"][state]["reason"]);
            if !reason.is_empty() {
                shown = reason;
            }
        }
    }
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        shown = if status["reason"] == "NodeLost" {
            "Unknown"
        } else {
            "Terminating"
        };
    }
    shown.to_owned()
}
