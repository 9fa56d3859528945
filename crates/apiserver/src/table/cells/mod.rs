//! The cells of every kind.

mod autoscaling;
mod cluster;
mod core;
mod nodes;
mod pods;
mod workloads;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::objects::{items, text};
use crate::registry::Kind;
use crate::registry::custom::Column;

use super::age::age;
use super::columns::{headings, names_come_last};
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
    if names_come_last(kind) {
        cells.clear();
    }
    cells.extend(
        headings
            .iter()
            .map(|(heading, _)| built_in_cell(kind, heading, object, now)),
    );
    if names_come_last(kind) {
        cells.push(object["metadata"]["name"].clone());
    }
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
        "Containers" => return workloads::containers(object, "name").into(),
        "Images" => return workloads::containers(object, "image").into(),
        _ => {}
    }
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => pods::pod(heading, object, now),
        ("", "Node") => nodes::node(heading, object),
        ("" | "events.k8s.io", "Event") => core::event(heading, object, now),
        ("", "Service") => core::service(heading, object),
        ("", "PersistentVolume" | "PersistentVolumeClaim") => core::volume(heading, object),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaling::cell(kind, heading, object),
        ("apps", "ControllerRevision") => {
            cluster::cell(heading, object).unwrap_or_else(|| simple(heading, object))
        }
        ("apps" | "batch", _) | ("", "ReplicationController") => {
            workloads::workload(&kind.kind, heading, object, now)
        }
        _ => cluster::cell(heading, object).unwrap_or_else(|| simple(heading, object)),
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

fn length(value: &Value) -> usize {
    value.as_object().map_or(0, serde_json::Map::len)
}
