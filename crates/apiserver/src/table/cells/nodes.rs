//! Cells of Nodes.

use serde_json::Value;

use super::{NONE, UNKNOWN, items, or, or_none, text};

/// A cell of a Node.
pub fn node(heading: &str, node: &Value) -> Value {
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
