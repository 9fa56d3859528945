//! Cells of Events, Services and volumes.

use jiff::Timestamp;
use serde_json::Value;

use crate::objects;
use crate::table::age::age;

use super::{NONE, UNKNOWN, items, or, or_none, text};

/// A cell of an Event.
pub fn event(heading: &str, event: &Value, now: Timestamp) -> Value {
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

/// A cell of a Service.
pub fn service(heading: &str, service: &Value) -> Value {
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

/// A cell of a PersistentVolume or a claim.
pub fn volume(heading: &str, volume: &Value) -> Value {
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
        "VolumeAttributesClass" => or(&spec["volumeAttributesClassName"], "<unset>"),
        "Reason" => text(&status["reason"]).into(),
        "VolumeMode" => or(&spec["volumeMode"], "<unset>"),
        _ => Value::Null,
    }
}
