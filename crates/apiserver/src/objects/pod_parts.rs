//! What is wrong with the parts of a pod's spec: volumes, mounts, ports, variables, amounts.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::status::Cause;

use super::kinds::{fields, items, text};
use super::{names, quantity};

const PULL_POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];
const DNS_POLICIES: &[&str] = &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

/// Problems of what belongs to the pod as a whole; `path` leads to its spec.
pub fn validate_pod(spec: &Value, path: &str) -> Vec<Cause> {
    let mut causes = volumes(spec, path);
    let dns = text(&spec["dnsPolicy"]);
    if !dns.is_empty() && !DNS_POLICIES.contains(&dns) {
        let field = format!("{path}.dnsPolicy");
        causes.push(Cause::not_supported(field, &dns.into(), DNS_POLICIES));
    }
    let grace = &spec["terminationGracePeriodSeconds"];
    if grace.as_i64().is_some_and(|seconds| seconds < 0) {
        let field = format!("{path}.terminationGracePeriodSeconds");
        let why = "must be greater than or equal to 0";
        causes.push(Cause::invalid(field, grace, why));
    }
    let deadline = &spec["activeDeadlineSeconds"];
    let range = 1..=i64::from(i32::MAX);
    if deadline
        .as_i64()
        .is_some_and(|seconds| !range.contains(&seconds))
    {
        let field = format!("{path}.activeDeadlineSeconds");
        let why = "must be between 1 and 2147483647, inclusive";
        causes.push(Cause::invalid(field, deadline, why));
    }
    for (field, label) in [("hostname", "hostname"), ("subdomain", "subdomain")] {
        let name = text(&spec[field]);
        if !name.is_empty() {
            for why in names::label(name) {
                causes.push(Cause::invalid(format!("{path}.{label}"), &name.into(), why));
            }
        }
    }
    for (key, value) in fields(&spec["nodeSelector"]) {
        let field = format!("{path}.nodeSelector");
        for why in names::qualified(key) {
            causes.push(Cause::invalid(field.clone(), &key.as_str().into(), why));
        }
        for why in names::label_value(text(value)) {
            causes.push(Cause::invalid(field.clone(), value, why));
        }
    }
    causes
}

fn volumes(spec: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, volume) in items(&spec["volumes"]).enumerate() {
        let field = format!("{path}.volumes[{index}]");
        let name = text(&volume["name"]);
        if name.is_empty() {
            causes.push(Cause::required(format!("{field}.name"), ""));
        } else {
            for why in names::label(name) {
                causes.push(Cause::invalid(format!("{field}.name"), &name.into(), why));
            }
            if !seen.insert(name) {
                causes.push(Cause::duplicate(format!("{field}.name"), &name.into()));
            }
        }
        let sources = fields(volume).filter(|(key, _)| *key != "name").count();
        if sources == 0 {
            causes.push(Cause::required(field, "must specify a volume type"));
        } else if sources > 1 {
            let extra = fields(volume).filter(|(key, _)| *key != "name").skip(1);
            for (source, _) in extra {
                let why = "may not specify more than 1 volume type";
                causes.push(Cause::forbidden(format!("{field}.{source}"), why));
            }
        }
    }
    causes
}

/// Problems of a container; `path` leads to it, `spec` is that of its pod.
pub fn validate_container(container: &Value, spec: &Value, path: &str) -> Vec<Cause> {
    let mut causes = ports(container, path);
    let policy = text(&container["imagePullPolicy"]);
    if !policy.is_empty() && !PULL_POLICIES.contains(&policy) {
        let field = format!("{path}.imagePullPolicy");
        causes.push(Cause::not_supported(field, &policy.into(), PULL_POLICIES));
    }
    for (index, variable) in items(&container["env"]).enumerate() {
        let name = text(&variable["name"]);
        let field = format!("{path}.env[{index}].name");
        if name.is_empty() {
            causes.push(Cause::required(field, ""));
        } else if name.contains('=') || !name.chars().all(|c| (' '..='~').contains(&c)) {
            let why = "a valid environment variable name must consist only of printable ASCII \
                       characters other than '='";
            causes.push(Cause::invalid(field, &name.into(), why));
        }
    }
    causes.extend(mounts(container, spec, path));
    causes.extend(amounts(
        &container["resources"],
        &format!("{path}.resources"),
    ));
    causes
}

fn ports(container: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, port) in items(&container["ports"]).enumerate() {
        let field = |name: &str| format!("{path}.ports[{index}].{name}");
        let name = text(&port["name"]);
        if !name.is_empty() {
            for why in names::port(name) {
                causes.push(Cause::invalid(field("name"), &name.into(), why));
            }
            if !seen.insert(name) {
                causes.push(Cause::duplicate(field("name"), &name.into()));
            }
        }
        let why = "must be between 1 and 65535, inclusive";
        match port["containerPort"].as_i64().unwrap_or_default() {
            0 => causes.push(Cause::required(field("containerPort"), "")),
            1..=65535 => {}
            other => causes.push(Cause::invalid(field("containerPort"), &other.into(), why)),
        }
        let host = port["hostPort"].as_i64().unwrap_or_default();
        if !(0..=65535).contains(&host) {
            causes.push(Cause::invalid(field("hostPort"), &host.into(), why));
        }
        let protocol = text(&port["protocol"]);
        if !PROTOCOLS.contains(&protocol) {
            let value = protocol.into();
            causes.push(Cause::not_supported(field("protocol"), &value, PROTOCOLS));
        }
    }
    causes
}

fn mounts(container: &Value, spec: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut seen = BTreeSet::new();
    let known = |name: &str| {
        let claimed = items(&spec["volumes"]);
        claimed.into_iter().any(|volume| volume["name"] == name)
    };
    for (index, mount) in items(&container["volumeMounts"]).enumerate() {
        let field = |name: &str| format!("{path}.volumeMounts[{index}].{name}");
        let (name, place) = (text(&mount["name"]), text(&mount["mountPath"]));
        if name.is_empty() {
            causes.push(Cause::required(field("name"), ""));
        } else if !known(name) {
            causes.push(Cause::not_found(field("name"), &name.into()));
        }
        if place.is_empty() {
            causes.push(Cause::required(field("mountPath"), ""));
        } else if !seen.insert(place) {
            let why = "must be unique";
            causes.push(Cause::invalid(field("mountPath"), &place.into(), why));
        }
    }
    causes
}

fn amounts(resources: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (limits, requests) = (&resources["limits"], &resources["requests"]);
    for (list, amounts) in [("limits", limits), ("requests", requests)] {
        for (name, amount) in fields(amounts) {
            let negative =
                quantity::compare(text(amount), "0").is_some_and(std::cmp::Ordering::is_lt);
            if negative {
                let why = "must be greater than or equal to 0";
                causes.push(Cause::invalid(
                    format!("{path}.{list}[{name}]"),
                    amount,
                    why,
                ));
            }
        }
    }
    for (name, request) in fields(requests) {
        let Some(limit) = limits.get(name) else {
            continue;
        };
        let greater =
            quantity::compare(text(request), text(limit)).is_some_and(std::cmp::Ordering::is_gt);
        if greater {
            let why = format!(
                "must be less than or equal to {name} limit of {}",
                text(limit)
            );
            causes.push(Cause::invalid(format!("{path}.requests"), request, why));
        }
    }
    causes
}

/// What may change of a pod's deadline and tolerations.
pub fn validate_update(pod: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let field = "spec.activeDeadlineSeconds";
    let deadline = |pod: &Value| pod["spec"]["activeDeadlineSeconds"].as_i64();
    match (deadline(pod), deadline(old)) {
        (Some(new), Some(old)) if new > old => {
            let why = "must be less than or equal to previous value";
            causes.push(Cause::invalid(field, &new.into(), why));
        }
        (None, Some(_)) => {
            let why = "must not update from a positive integer to nil value";
            causes.push(Cause::invalid(field, &Value::Null, why));
        }
        _ => {}
    }
    // How long a toleration lasts may change; the toleration itself may not.
    let lasting = |toleration: &Value| {
        let mut toleration = toleration.clone();
        toleration["tolerationSeconds"] = json!(null);
        toleration
    };
    let new: Vec<Value> = items(&pod["spec"]["tolerations"]).map(lasting).collect();
    if !items(&old["spec"]["tolerations"]).all(|old| new.contains(&lasting(old))) {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        causes.push(Cause::forbidden("spec.tolerations", why));
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(causes: &[Cause]) -> Vec<&str> {
        causes.iter().map(|cause| cause.field.as_str()).collect()
    }

    #[test]
    fn mounts_need_a_volume_and_a_place() {
        let spec = json!({"volumes": [{"name": "v", "emptyDir": {}}]});
        let container = json!({"volumeMounts": [
            {"name": "v", "mountPath": "/a"}, {"name": "w", "mountPath": "/a"}, {"name": "v"}]});
        let causes = validate_container(&container, &spec, "c");
        let expected = [
            "c.volumeMounts[1].name",
            "c.volumeMounts[1].mountPath",
            "c.volumeMounts[2].mountPath",
        ];
        assert_eq!(found(&causes), expected);
        assert_eq!(causes[0].reason, "FieldValueNotFound");
    }

    #[test]
    fn volumes_have_a_unique_name_and_one_source() {
        let spec = json!({"volumes": [
            {"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}, {"name": "w"},
            {"name": "x", "emptyDir": {}, "hostPath": {"path": "/"}}]});
        assert_eq!(
            found(&validate_pod(&spec, "spec")),
            [
                "spec.volumes[1].name",
                "spec.volumes[2]",
                "spec.volumes[3].hostPath"
            ]
        );
    }

    #[test]
    fn nothing_may_ask_for_more_than_its_limit() {
        let container = json!({"resources": {
            "requests": {"cpu": "1500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}});
        let causes = validate_container(&container, &json!({}), "c");
        assert_eq!(found(&causes), ["c.resources.requests"]);
    }

    #[test]
    fn ports_are_in_range_and_have_short_names() {
        let container = json!({"ports": [
            {"containerPort": 80, "protocol": "TCP", "name": "far-too-long-a-name"},
            {"protocol": "TCP"}, {"containerPort": 70000, "protocol": "X"}]});
        assert_eq!(
            found(&validate_container(&container, &json!({}), "c")),
            [
                "c.ports[0].name",
                "c.ports[1].containerPort",
                "c.ports[2].containerPort",
                "c.ports[2].protocol",
            ]
        );
    }

    #[test]
    fn a_deadline_only_gets_shorter_and_tolerations_only_more() {
        let pod = |deadline: Value, tolerations: Value| json!({"spec": {"activeDeadlineSeconds": deadline, "tolerations": tolerations}});
        let one = json!([{"key": "a"}]);
        let old = pod(10.into(), one.clone());
        assert!(validate_update(&pod(5.into(), one.clone()), &old).is_empty());
        assert_eq!(
            found(&validate_update(&pod(11.into(), one), &old)),
            ["spec.activeDeadlineSeconds"]
        );
        assert_eq!(
            found(&validate_update(&pod(10.into(), json!([])), &old)),
            ["spec.tolerations"]
        );
    }
}
