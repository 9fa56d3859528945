//! Cells of Deployments and their kin, Jobs and CronJobs.

use jiff::Timestamp;
use serde_json::Value;

use crate::objects;
use crate::table::age::age;

use super::{NONE, items, or, or_none, text};

/// A cell of a workload.
pub fn workload(kind: &str, heading: &str, object: &Value, now: Timestamp) -> Value {
    let (spec, status) = (&object["spec"], &object["status"]);
    let number = |value: &Value| value.as_i64().unwrap_or_default();
    match (kind, heading) {
        ("CronJob", "Selector") => or_none(objects::selector_text(
            &spec["jobTemplate"]["spec"]["selector"],
        )),
        (_, "Selector") => or_none(objects::selector_text(&spec["selector"])),
        ("Deployment" | "StatefulSet", "Ready") => format!(
            "{}/{}",
            number(&status["readyReplicas"]),
            number(&spec["replicas"])
        )
        .into(),
        ("Deployment", "Up-to-date") => number(&status["updatedReplicas"]).into(),
        ("Deployment", "Available") => number(&status["availableReplicas"]).into(),
        ("DaemonSet", "Desired") => number(&status["desiredNumberScheduled"]).into(),
        ("DaemonSet", "Current") => number(&status["currentNumberScheduled"]).into(),
        ("DaemonSet", "Ready") => number(&status["numberReady"]).into(),
        ("DaemonSet", "Up-to-date") => number(&status["updatedNumberScheduled"]).into(),
        ("DaemonSet", "Available") => number(&status["numberAvailable"]).into(),
        ("DaemonSet", "Node Selector") => or_none(objects::selector_text(
            &spec["template"]["spec"]["nodeSelector"],
        )),
        (_, "Desired") => number(&spec["replicas"]).into(),
        (_, "Current") => number(&status["replicas"]).into(),
        (_, "Ready") => number(&status["readyReplicas"]).into(),
        ("Job", "Status") => job_status(object).into(),
        ("Job", "Completions") => format!(
            "{}/{}",
            number(&status["succeeded"]),
            number(&spec["completions"])
        )
        .into(),
        ("Job", "Duration") => match status["startTime"].as_str() {
            Some(start) => {
                let end = status["completionTime"]
                    .as_str()
                    .and_then(|end| end.parse().ok());
                age(start, end.unwrap_or(now)).into()
            }
            None => "".into(),
        },
        ("CronJob", "Schedule") => spec["schedule"].clone(),
        ("CronJob", "Timezone") => or(&spec["timeZone"], NONE),
        ("CronJob", "Suspend") => if spec["suspend"] == true {
            "True"
        } else {
            "False"
        }
        .into(),
        ("CronJob", "Active") => items(&status["active"]).count().into(),
        ("CronJob", "Last Schedule") => match status["lastScheduleTime"].as_str() {
            Some(time) => age(time, now).into(),
            None => NONE.into(),
        },
        _ => Value::Null,
    }
}

fn job_status(job: &Value) -> &'static str {
    let has = |kind: &str| {
        items(&job["status"]["conditions"]).any(|c| c["type"] == kind && c["status"] == "True")
    };
    if has("Complete") {
        "Complete"
    } else if has("Failed") {
        "Failed"
    } else if !job["metadata"]["deletionTimestamp"].is_null() {
        "Terminating"
    } else if has("Suspended") {
        "Suspended"
    } else {
        "Running"
    }
}

/// A field of all containers of a pod template.
pub fn containers(object: &Value, field: &str) -> String {
    let spec = &object["spec"];
    let template = match &spec["jobTemplate"]["spec"]["template"] {
        Value::Null => &spec["template"],
        template => template,
    };
    let names: Vec<&str> = items(&template["spec"]["containers"])
        .map(|container| text(&container[field]))
        .collect();
    names.join(",")
}
