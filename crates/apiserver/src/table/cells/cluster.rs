//! Cells of quotas, roles, classes and other kinds that set the frame for workloads.

use serde_json::Value;

use crate::objects;

use super::{NONE, items, or, or_none, text};

/// How many addresses or ports a cell lists before it only counts.
const SHOWN: usize = 3;

/// A cell; none if the heading is not special to these kinds.
pub fn cell(heading: &str, object: &Value) -> Option<Value> {
    let spec = &object["spec"];
    let value = match heading {
        "Users" => subjects(object, "User"),
        "Groups" => subjects(object, "Group"),
        "ServiceAccounts" => subjects(object, "ServiceAccount"),
        "PreemptionPolicy" => text(&object["preemptionPolicy"]).into(),
        "Controller" if spec["controller"].is_string() => spec["controller"].clone(),
        "Controller" => owner(object),
        "Revision" => object["revision"].to_string().into(),
        "Parameters" => parameters(&spec["parameters"]),
        "Pod-Selector" => or_none(objects::selector_text(&spec["podSelector"])),
        "Request" => quota(object, false),
        "Limit" => quota(object, true),
        "Handler" => object["handler"].clone(),
        "Attacher" => spec["attacher"].clone(),
        "PV" => text(&spec["source"]["persistentVolumeName"]).into(),
        "Node" => spec["nodeName"].clone(),
        "Attached" => (object["status"]["attached"] == true).into(),
        "Drivers" => items(&spec["drivers"]).count().into(),
        "Webhooks" => items(&object["webhooks"]).count().into(),
        "AddressType" => object["addressType"].clone(),
        "Ports" if object["addressType"].is_string() => {
            let ports = items(&object["ports"]).map(|port| or(&port["port"], "*"));
            listed(
                &ports.map(|port| text(&port).to_owned()).collect::<Vec<_>>(),
                "<unset>",
            )
        }
        "Endpoints" if object["addressType"].is_string() => {
            let addresses = items(&object["endpoints"]).flat_map(|e| items(&e["addresses"]));
            listed(
                &addresses.map(|a| text(a).to_owned()).collect::<Vec<_>>(),
                "<unset>",
            )
        }
        "SignerName" => or(&spec["signerName"], NONE),
        "Requestor" => text(&spec["username"]).into(),
        "RequestedDuration" => match spec["expirationSeconds"].as_i64() {
            Some(seconds) => format!("{seconds}s").into(),
            None => NONE.into(),
        },
        "Condition" => condition(object).into(),
        _ => return None,
    };
    Some(value)
}

fn subjects(binding: &Value, kind: &str) -> Value {
    let names: Vec<String> = items(&binding["subjects"])
        .filter(|subject| subject["kind"] == kind)
        .map(|subject| match (kind, text(&subject["namespace"])) {
            ("ServiceAccount", namespace) => format!("{namespace}/{}", text(&subject["name"])),
            _ => text(&subject["name"]).to_owned(),
        })
        .collect();
    names.join(", ").into()
}

fn owner(object: &Value) -> Value {
    items(&object["metadata"]["ownerReferences"])
        .find(|owner| owner["controller"] == true)
        .map_or_else(
            || NONE.into(),
            |owner| {
                let version = text(&owner["apiVersion"]);
                let kind = text(&owner["kind"]).to_lowercase();
                let group = version
                    .split_once('/')
                    .map(|(group, _)| format!(".{group}"));
                let group = group.unwrap_or_default();
                format!("{kind}{group}/{}", text(&owner["name"])).into()
            },
        )
}

fn parameters(reference: &Value) -> Value {
    if reference.is_null() {
        return NONE.into();
    }
    let group = match text(&reference["apiGroup"]) {
        "" => String::new(),
        group => format!(".{group}"),
    };
    format!(
        "{}{group}/{}",
        text(&reference["kind"]),
        text(&reference["name"])
    )
    .into()
}

/// What is used of what is allowed: limits on one side, everything else on the other.
fn quota(object: &Value, limits: bool) -> Value {
    let status = &object["status"];
    let mut names: Vec<&String> = status["hard"]
        .as_object()
        .into_iter()
        .flat_map(|m| m.keys())
        .collect();
    names.sort_unstable();
    let amounts: Vec<String> = names
        .into_iter()
        .filter(|name| name.starts_with("limits") == limits)
        .map(|name| {
            let used = or(&status["used"][name], "0");
            format!("{name}: {}/{}", text(&used), text(&status["hard"][name]))
        })
        .collect();
    amounts.join(", ").into()
}

fn listed(values: &[String], otherwise: &str) -> Value {
    if values.is_empty() {
        return otherwise.into();
    }
    let more = values.len().saturating_sub(SHOWN);
    let shown = values[..values.len() - more].join(",");
    if more > 0 {
        format!("{shown} + {more} more...").into()
    } else {
        shown.into()
    }
}

fn condition(request: &Value) -> String {
    let has = |kind: &str| items(&request["status"]["conditions"]).any(|c| c["type"] == kind);
    let mut state = if has("Denied") {
        "Denied"
    } else if has("Approved") {
        "Approved"
    } else {
        "Pending"
    }
    .to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !text(&request["status"]["certificate"]).is_empty() {
        state.push_str(",Issued");
    }
    state
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bindings_list_their_subjects_by_kind() {
        let binding = json!({"subjects": [
            {"kind": "User", "name": "u"}, {"kind": "User", "name": "v"},
            {"kind": "ServiceAccount", "name": "s", "namespace": "a"}]});
        assert_eq!(cell("Users", &binding), Some("u, v".into()));
        assert_eq!(cell("Groups", &binding), Some("".into()));
        assert_eq!(cell("ServiceAccounts", &binding), Some("a/s".into()));
    }

    #[test]
    fn long_lists_are_cut() {
        let slice = json!({"addressType": "IPv4", "ports": [{"port": 80}],
            "endpoints": [{"addresses": ["1.1.1.1", "1.1.1.2"]}, {"addresses": ["1.1.1.3", "1.1.1.4"]}]});
        assert_eq!(cell("Ports", &slice), Some("80".into()));
        let cut = "1.1.1.1,1.1.1.2,1.1.1.3 + 1 more...";
        assert_eq!(cell("Endpoints", &slice), Some(cut.into()));
    }

    #[test]
    fn quotas_show_what_is_used() {
        let quota =
            json!({"status": {"hard": {"pods": "2", "limits.cpu": "1"}, "used": {"pods": "1"}}});
        assert_eq!(cell("Request", &quota), Some("pods: 1/2".into()));
        assert_eq!(cell("Limit", &quota), Some("limits.cpu: 0/1".into()));
    }
}
