//! The cells of every kind.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::objects;
use crate::registry::Kind;
use crate::registry::custom::Column;

use super::columns::headings;
use super::json_path;

const NONE: &str = "<none>";
const UNKNOWN: &str = "<unknown>";

/// The cells of an object, one for each column of its kind.
pub fn cells(kind: &Kind, object: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = vec![object["metadata"]["name"].clone()];
    if let Some(custom) = kind.custom() {
        cells.extend(
            custom
                .columns
                .iter()
                .map(|column| custom_cell(column, object, now)),
        );
        return cells;
    }
    let headings = headings(&kind.group, &kind.kind);
    cells.extend(
        headings
            .iter()
            .map(|(heading, _)| built_in_cell(kind, heading, object, now)),
    );
    cells
}

fn custom_cell(column: &Column, object: &Value, now: Timestamp) -> Value {
    let Some(value) = json_path::first(object, &column.json_path) else {
        return Value::Null;
    };
    match column.kind.as_str() {
        "date" => match value.as_str() {
            Some(time) => age(time, now).into(),
            None => Value::Null,
        },
        "integer" if value.is_i64() || value.is_u64() => value.clone(),
        "number" if value.is_number() => value.clone(),
        "boolean" if value.is_boolean() => value.clone(),
        "string" => match value {
            Value::String(_) => value.clone(),
            Value::Null => Value::Null,
            other => json_path::texts(object, &column.json_path)
                .unwrap_or_else(|| other.to_string())
                .into(),
        },
        _ => Value::Null,
    }
}

fn built_in_cell(kind: &Kind, heading: &str, object: &Value, now: Timestamp) -> Value {
    match heading {
        "Age" => return age(text(&object["metadata"]["creationTimestamp"]), now).into(),
        "Created At" => return object["metadata"]["creationTimestamp"].clone(),
        "Containers" => return containers(object, "name").into(),
        "Images" => return containers(object, "image").into(),
        _ => {}
    }
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => pod(heading, object, now),
        ("", "Node") => node(heading, object),
        ("" | "events.k8s.io", "Event") => event(heading, object, now),
        ("", "Service") => service(heading, object),
        ("", "PersistentVolume" | "PersistentVolumeClaim") => volume(heading, object),
        ("apps" | "batch", _) | ("", "ReplicationController") => {
            workload(&kind.kind, heading, object, now)
        }
        _ => simple(heading, object),
    }
}

/// Cells that are one value of the object.
fn simple(heading: &str, object: &Value) -> Value {
    let spec = &object["spec"];
    match heading {
        "Data" => (length(&object["data"]) + length(&object["binaryData"])).into(),
        "Type" => object["type"].clone(),
        "Secrets" => object["secrets"].as_array().map_or(0, Vec::len).into(),
        "Status" => object["status"]["phase"].clone(),
        "Holder" => text(&spec["holderIdentity"]).into(),
        "Min Available" => or(&spec["minAvailable"], "N/A"),
        "Max Unavailable" => or(&spec["maxUnavailable"], "N/A"),
        "Allowed Disruptions" => object["status"]["disruptionsAllowed"]
            .as_i64()
            .unwrap_or_default()
            .into(),
        "Role" => {
            let role = &object["roleRef"];
            format!("{}/{}", text(&role["kind"]), text(&role["name"])).into()
        }
        "Provisioner" => object["provisioner"].clone(),
        "ReclaimPolicy" => or(&object["reclaimPolicy"], "Delete"),
        "VolumeBindingMode" => or(&object["volumeBindingMode"], "Immediate"),
        "AllowVolumeExpansion" => or(&object["allowVolumeExpansion"], "false"),
        "Value" => object["value"].clone(),
        "Global-Default" => (object["globalDefault"] == true).into(),
        "Class" => or(&spec["ingressClassName"], NONE),
        "Hosts" => {
            let hosts: Vec<&str> = items(&spec["rules"])
                .map(|rule| text(&rule["host"]))
                .collect();
            if hosts.is_empty() {
                "*".into()
            } else {
                hosts.join(",").into()
            }
        }
        "Ports" => if spec["tls"].is_array() {
            "80, 443"
        } else {
            "80"
        }
        .into(),
        "Address" => "".into(),
        "Endpoints" => {
            let addresses: Vec<&str> = items(&object["subsets"])
                .flat_map(|subset| items(&subset["addresses"]))
                .map(|address| text(&address["ip"]))
                .collect();
            or_none(addresses.join(","))
        }
        _ => Value::Null,
    }
}

fn pod(heading: &str, pod: &Value, now: Timestamp) -> Value {
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

fn node(heading: &str, node: &Value) -> Value {
    let info = &node["status"]["nodeInfo"];
    match heading {
        "Status" => {
            let ready = items(&node["status"]["conditions"])
                .find(|condition| condition["type"] == "Ready")
                .map_or("Unknown", |c| {
                    if c["status"] == "True" {
                        "Ready"
                    } else {
                        "NotReady"
                    }
                });
            match node["spec"]["unschedulable"].as_bool() {
                Some(true) => format!("{ready},SchedulingDisabled").into(),
                _ => ready.into(),
            }
        }
        "Roles" => {
            let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
            let mut roles: Vec<&str> = labels
                .filter_map(|(key, value)| match key.as_str() {
                    "kubernetes.io/role" => value.as_str(),
                    key => key.strip_prefix("node-role.kubernetes.io/"),
                })
                .filter(|role| !role.is_empty())
                .collect();
            roles.sort_unstable();
            or_none(roles.join(","))
        }
        "Version" => text(&info["kubeletVersion"]).into(),
        "Internal-IP" => address(node, "InternalIP").into(),
        "External-IP" => address(node, "ExternalIP").into(),
        "OS-Image" => or(&info["osImage"], UNKNOWN),
        "Kernel-Version" => {
            let kernel = text(&info["kernelVersion"]);
            match text(&info["architecture"]) {
                _ if kernel.is_empty() => UNKNOWN.into(),
                "" => kernel.into(),
                architecture => format!("{kernel} ({architecture})").into(),
            }
        }
        "Container-Runtime" => or(&info["containerRuntimeVersion"], UNKNOWN),
        _ => Value::Null,
    }
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    items(&node["status"]["addresses"])
        .find(|address| address["type"] == kind)
        .map_or(NONE, |address| text(&address["address"]))
}

fn event(heading: &str, event: &Value, now: Timestamp) -> Value {
    let first = |fields: &[&str]| {
        fields
            .iter()
            .map(|field| text(&event[field]))
            .find(|text| !text.is_empty())
    };
    let about = if event["regarding"].is_object() {
        "regarding"
    } else {
        "involvedObject"
    };
    let source = if event["deprecatedSource"].is_object() {
        "deprecatedSource"
    } else {
        "source"
    };
    match heading {
        "Last Seen" => {
            let series = text(&event["series"]["lastObservedTime"]);
            let times = [
                "lastTimestamp",
                "deprecatedLastTimestamp",
                "eventTime",
                "firstTimestamp",
            ];
            let time = if series.is_empty() {
                first(&times)
            } else {
                Some(series)
            };
            time.map_or_else(|| UNKNOWN.to_owned(), |time| age(time, now))
                .into()
        }
        "First Seen" => first(&["firstTimestamp", "deprecatedFirstTimestamp", "eventTime"])
            .map_or_else(|| UNKNOWN.to_owned(), |time| age(time, now))
            .into(),
        "Type" => event["type"].clone(),
        "Reason" => event["reason"].clone(),
        "Object" => {
            let about = &event[about];
            let kind = text(&about["kind"]).to_lowercase();
            let name = text(&about["name"]);
            if name.is_empty() {
                kind.into()
            } else {
                format!("{kind}/{name}").into()
            }
        }
        "Subobject" => text(&event[about]["fieldPath"]).into(),
        "Source" => {
            let component = text(&event[source]["component"]);
            let reporter = first(&["reportingComponent", "reportingController"]);
            let name = if component.is_empty() {
                reporter.unwrap_or_default()
            } else {
                component
            };
            let host = text(&event[source]["host"]);
            if host.is_empty() {
                name.into()
            } else {
                format!("{name}, {host}").into()
            }
        }
        "Message" => first(&["message", "note"])
            .unwrap_or_default()
            .trim()
            .into(),
        "Count" => event["series"]["count"]
            .as_i64()
            .or_else(|| event["count"].as_i64())
            .or_else(|| event["deprecatedCount"].as_i64())
            .unwrap_or(1)
            .into(),
        _ => Value::Null,
    }
}

fn service(heading: &str, service: &Value) -> Value {
    let spec = &service["spec"];
    match heading {
        "Type" => spec["type"].clone(),
        "Cluster-IP" => or(&spec["clusterIP"], NONE),
        "External-IP" => match text(&spec["type"]) {
            "LoadBalancer" => "<pending>".into(),
            "ExternalName" => spec["externalName"].clone(),
            _ => NONE.into(),
        },
        "Port(s)" => {
            let port = |port: &Value| {
                let protocol = text(&port["protocol"]);
                match port["nodePort"].as_i64() {
                    Some(node) => format!("{}:{node}/{protocol}", port["port"]),
                    None => format!("{}/{protocol}", port["port"]),
                }
            };
            or_none(
                items(&spec["ports"])
                    .map(port)
                    .collect::<Vec<_>>()
                    .join(","),
            )
        }
        "Selector" => or_none(objects::selector_text(&spec["selector"])),
        _ => Value::Null,
    }
}

fn volume(heading: &str, volume: &Value) -> Value {
    let (spec, status) = (&volume["spec"], &volume["status"]);
    match heading {
        "Capacity" => {
            let capacity = if spec["capacity"].is_object() {
                spec
            } else {
                status
            };
            text(&capacity["capacity"]["storage"]).into()
        }
        "Access Modes" => {
            let short = |mode: &Value| match text(mode) {
                "ReadWriteOnce" => "RWO",
                "ReadOnlyMany" => "ROX",
                "ReadWriteMany" => "RWX",
                "ReadWriteOncePod" => "RWOP",
                _ => "?",
            };
            items(&spec["accessModes"])
                .map(short)
                .collect::<Vec<_>>()
                .join(",")
                .into()
        }
        "Reclaim Policy" => text(&spec["persistentVolumeReclaimPolicy"]).into(),
        "Status" => text(&status["phase"]).into(),
        "Claim" => {
            let claim = &spec["claimRef"];
            match text(&claim["name"]) {
                "" => "".into(),
                name => format!("{}/{name}", text(&claim["namespace"])).into(),
            }
        }
        "Volume" => text(&spec["volumeName"]).into(),
        "StorageClass" => text(&spec["storageClassName"]).into(),
        "VolumeMode" => or(&spec["volumeMode"], "<unset>"),
        _ => Value::Null,
    }
}

fn workload(kind: &str, heading: &str, object: &Value, now: Timestamp) -> Value {
    let (spec, status) = (&object["spec"], &object["status"]);
    let number = |value: &Value| value.as_i64().unwrap_or_default();
    match (kind, heading) {
        (_, "Selector") => objects::selector_text(&spec["selector"]).into(),
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

fn containers(object: &Value, field: &str) -> String {
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

/// How long ago a time was, in at most two units, as kubectl writes it.
pub fn age(time: &str, now: Timestamp) -> String {
    let Ok(time) = time.parse::<Timestamp>() else {
        return UNKNOWN.to_owned();
    };
    let seconds = now.as_second() - time.as_second();
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let two = |first: i64, unit: &str, second: i64, smaller: &str| match second {
        0 => format!("{first}{unit}"),
        second => format!("{first}{unit}{second}{smaller}"),
    };
    match (seconds, minutes, hours, days) {
        (0..120, ..) => format!("{seconds}s"),
        (_, 0..10, ..) => two(minutes, "m", seconds % 60, "s"),
        (_, 0..180, ..) => format!("{minutes}m"),
        (_, _, 0..8, _) => two(hours, "h", minutes % 60, "m"),
        (_, _, 0..48, _) => format!("{hours}h"),
        (_, _, _, 0..8) => two(days, "d", hours % 24, "h"),
        (_, _, _, 0..730) => format!("{days}d"),
        (_, _, _, 0..2920) => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

fn or(value: &Value, otherwise: &str) -> Value {
    match value {
        Value::Null => otherwise.into(),
        Value::String(text) if text.is_empty() => otherwise.into(),
        Value::String(_) => value.clone(),
        other => json!(other.to_string()),
    }
}

fn or_none(text: String) -> Value {
    if text.is_empty() {
        NONE.into()
    } else {
        text.into()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn length(value: &Value) -> usize {
    value.as_object().map_or(0, serde_json::Map::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_written_as_kubectl_writes_them() {
        let now: Timestamp = "2024-01-10T00:00:00Z".parse().unwrap();
        for (time, shown) in [
            ("2024-01-10T00:00:00Z", "0s"),
            ("2024-01-09T23:58:01Z", "119s"),
            ("2024-01-09T23:55:30Z", "4m30s"),
            ("2024-01-09T23:00:00Z", "60m"),
            ("2024-01-09T20:00:00Z", "4h"),
            ("2024-01-09T00:00:00Z", "24h"),
            ("2024-01-07T00:00:00Z", "3d"),
            ("2023-01-10T00:00:00Z", "365d"),
            ("2020-01-10T00:00:00Z", "4y1d"),
            ("2025-01-10T00:00:00Z", "<invalid>"),
            ("", "<unknown>"),
        ] {
            assert_eq!(age(time, now), shown, "{time}");
        }
    }
}
