//! What is wrong with the containers of a pod: names, images, ports, mounts, amounts, rights.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde_json::Value;

use crate::status::Cause;

use super::values::{fields, items, text};
use super::{container_hooks, container_variables, names, quantity};

const PULL_POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];
const TERMINATION_POLICIES: &[&str] = &["FallbackToLogsOnError", "File"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
/// What a container for a closer look cannot have.
const NOT_EPHEMERAL: &[&str] = &[
    "ports",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];
/// The resources that a container can ask for, beside those with a domain.
const RESOURCES: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// Problems of all containers of a pod; `path` leads to its spec.
pub fn validate(spec: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    if items(&spec["containers"]).next().is_none() {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    let mut seen = BTreeSet::new();
    // A name that is taken is complained about in this order.
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        let mut host_ports = BTreeSet::new();
        for (index, container) in items(&spec[list]).enumerate() {
            let path = format!("{path}.{list}[{index}]");
            causes.extend(named(container, &path, &mut seen));
            causes.extend(common(container, spec, &path));
            match list {
                "containers" => causes.extend(container_hooks::validate(container, &path)),
                "initContainers" if container["restartPolicy"] == "Always" => {
                    causes.extend(container_hooks::validate(container, &path));
                }
                "initContainers" => {
                    causes.extend(container_hooks::validate_initial(container, &path));
                    // They run one after the other.
                    host_ports.clear();
                }
                _ => {
                    let set = NOT_EPHEMERAL
                        .iter()
                        .filter(|name| !container[**name].is_null());
                    let why = "cannot be set for an Ephemeral Container";
                    causes.extend(set.map(|name| Cause::forbidden(format!("{path}.{name}"), why)));
                }
            }
            causes.extend(conflicts(container, &path, &mut host_ports));
        }
    }
    causes
}

fn named<'a>(container: &'a Value, path: &str, seen: &mut BTreeSet<&'a str>) -> Vec<Cause> {
    let (field, name) = (format!("{path}.name"), text(&container["name"]));
    if name.is_empty() {
        return vec![Cause::required(field, "")];
    }
    let problems = names::label(name).into_iter();
    let mut causes: Vec<Cause> = problems
        .map(|why| Cause::invalid(field.clone(), &name.into(), why))
        .collect();
    if !seen.insert(name) {
        causes.push(Cause::duplicate(field, &name.into()));
    }
    causes
}

fn common(container: &Value, spec: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let image = text(&container["image"]);
    if image.is_empty() {
        causes.push(Cause::required(format!("{path}.image"), ""));
    } else if image.trim() != image {
        let why = "must not have leading or trailing whitespace";
        causes.push(Cause::invalid(format!("{path}.image"), &image.into(), why));
    }
    causes.extend(ports(container, spec, path));
    for (name, known) in [
        ("imagePullPolicy", PULL_POLICIES),
        ("terminationMessagePolicy", TERMINATION_POLICIES),
    ] {
        let policy = text(&container[name]);
        if !policy.is_empty() && !known.contains(&policy) {
            let field = format!("{path}.{name}");
            causes.push(Cause::not_supported(field, &policy.into(), known));
        }
    }
    causes.extend(container_variables::validate(container, path));
    causes.extend(mounts(container, spec, path));
    causes.extend(amounts(
        &container["resources"],
        &format!("{path}.resources"),
    ));
    causes.extend(rights(
        &container["securityContext"],
        &format!("{path}.securityContext"),
    ));
    causes
}

fn ports(container: &Value, spec: &Value, path: &str) -> Vec<Cause> {
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
        if spec["hostNetwork"] == true && host != 0 && port["containerPort"] != host {
            let why = "must match `hostPort` when `hostNetwork` is true";
            causes.push(Cause::invalid(
                field("containerPort"),
                &port["containerPort"],
                why,
            ));
        }
        let protocol = text(&port["protocol"]);
        if !PROTOCOLS.contains(&protocol) {
            let value = protocol.into();
            causes.push(Cause::not_supported(field("protocol"), &value, PROTOCOLS));
        }
    }
    causes
}

/// Two containers that run at once cannot have the same port of the Node.
fn conflicts(container: &Value, path: &str, taken: &mut BTreeSet<String>) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, port) in items(&container["ports"]).enumerate() {
        let Some(number) = port["hostPort"].as_i64().filter(|number| *number != 0) else {
            continue;
        };
        let (protocol, address) = (text(&port["protocol"]), text(&port["hostIP"]));
        let port = format!("{protocol}/{address}/{number}");
        if !taken.insert(port.clone()) {
            let field = format!("{path}.ports[{index}].hostPort");
            causes.push(Cause::duplicate(field, &port.into()));
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
            let field = format!("{path}.{list}[{name}]");
            causes.extend(resource_name(name, &field));
            if quantity::compare(text(amount), "0").is_some_and(Ordering::is_lt) {
                let why = "must be greater than or equal to 0";
                causes.push(Cause::invalid(field, amount, why));
            } else if is_extended(name) && !quantity::is_whole(text(amount)) {
                causes.push(Cause::invalid(field, amount, "must be an integer"));
            }
        }
    }
    for (name, request) in fields(requests) {
        let whole = is_extended(name) || name.starts_with("hugepages-");
        let Some(limit) = limits.get(name) else {
            if whole {
                let why = "Limit must be set for non overcommitable resources";
                causes.push(Cause::required(format!("{path}.limits"), why));
            }
            continue;
        };
        let order = quantity::compare(text(request), text(limit));
        let wanted = match order {
            Some(Ordering::Less | Ordering::Greater) if whole => "equal to",
            Some(Ordering::Greater) => "less than or equal to",
            _ => continue,
        };
        let why = format!("must be {wanted} {name} limit of {}", text(limit));
        causes.push(Cause::invalid(format!("{path}.requests"), request, why));
    }
    causes
}

/// Whether a resource belongs to others than Kubernetes. Nobody gets more of those than there is.
fn is_extended(resource: &str) -> bool {
    let domain = resource.split_once('/').map(|(domain, _)| domain);
    domain.is_some_and(|domain| domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io"))
}

fn resource_name(name: &str, field: &str) -> Vec<Cause> {
    let mut problems = names::qualified(name);
    let known = RESOURCES.contains(&name) || name.starts_with("hugepages-");
    if problems.is_empty() && !name.contains('/') && !known {
        problems.push("must be a standard resource type or fully qualified".to_owned());
        problems.push("must be a standard resource for containers".to_owned());
    }
    let problems = problems.into_iter();
    problems
        .map(|why| Cause::invalid(field, &name.into(), why))
        .collect()
}

/// What the processes of a container may do.
fn rights(context: &Value, path: &str) -> Vec<Cause> {
    let mut causes = identities(context, path);
    if context["allowPrivilegeEscalation"] == false {
        let added = &context["capabilities"]["add"];
        if context["privileged"] == true {
            let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            causes.push(Cause::invalid(path, context, why));
        }
        if items(added).any(|capability| capability == "CAP_SYS_ADMIN") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` \
                       CAP_SYS_ADMIN";
            causes.push(Cause::invalid(path, context, why));
        }
    }
    causes
}

/// Users and groups are numbers that systems have.
pub(super) fn identities(context: &Value, path: &str) -> Vec<Cause> {
    let mut found: Vec<(String, &Value)> = ["runAsUser", "runAsGroup", "fsGroup"]
        .iter()
        .map(|name| (format!("{path}.{name}"), &context[*name]))
        .collect();
    let groups = items(&context["supplementalGroups"]).enumerate();
    found.extend(
        groups.map(|(index, group)| (format!("{path}.supplementalGroups[{index}]"), group)),
    );
    let range = 0..=i64::from(i32::MAX);
    let why = "must be between 0 and 2147483647, inclusive";
    found
        .into_iter()
        .filter(|(_, number)| {
            number
                .as_i64()
                .is_some_and(|number| !range.contains(&number))
        })
        .map(|(field, number)| Cause::invalid(field, number, why))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(causes: &[Cause]) -> Vec<&str> {
        causes.iter().map(|cause| cause.field.as_str()).collect()
    }

    fn with_image(mut container: Value) -> Value {
        container["image"] = "i".into();
        container
    }

    #[test]
    fn mounts_need_a_volume_and_a_place() {
        let spec = json!({"volumes": [{"name": "v", "emptyDir": {}}]});
        let container = json!({"volumeMounts": [
            {"name": "v", "mountPath": "/a"}, {"name": "w", "mountPath": "/a"}, {"name": "v"}]});
        let causes = common(&with_image(container), &spec, "c");
        let expected = [
            "c.volumeMounts[1].name",
            "c.volumeMounts[1].mountPath",
            "c.volumeMounts[2].mountPath",
        ];
        assert_eq!(found(&causes), expected);
        assert_eq!(causes[0].reason, "FieldValueNotFound");
    }

    #[test]
    fn nothing_may_ask_for_more_than_its_limit() {
        let container = json!({"resources": {
            "requests": {"cpu": "1500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}});
        let causes = common(&with_image(container), &json!({}), "c");
        assert_eq!(found(&causes), ["c.resources.requests"]);
    }

    #[test]
    fn ports_are_in_range_and_have_short_names() {
        let container = json!({"ports": [
            {"containerPort": 80, "protocol": "TCP", "name": "far-too-long-a-name"},
            {"protocol": "TCP"}, {"containerPort": 70000, "protocol": "X"}]});
        assert_eq!(
            found(&common(&with_image(container), &json!({}), "c")),
            [
                "c.ports[0].name",
                "c.ports[1].containerPort",
                "c.ports[2].containerPort",
                "c.ports[2].protocol",
            ]
        );
    }

    #[test]
    fn of_what_others_define_all_is_asked_for_or_nothing() {
        let container = with_image(json!({"resources": {
            "requests": {"example.com/gpu": "1", "example.com/fpga": "1"},
            "limits": {"example.com/gpu": "2", "tpu": "1", "example.com/half": "500m"}}}));
        assert_eq!(
            found(&common(&container, &json!({}), "c")),
            [
                "c.resources.limits[tpu]",
                "c.resources.limits[tpu]",
                "c.resources.limits[example.com/half]",
                "c.resources.requests",
                "c.resources.limits",
            ]
        );
    }

    #[test]
    fn rights_do_not_contradict_each_other() {
        let container = with_image(json!({"securityContext": {
            "privileged": true, "allowPrivilegeEscalation": false, "runAsUser": -1}}));
        assert_eq!(
            found(&common(&container, &json!({}), "c")),
            ["c.securityContext.runAsUser", "c.securityContext"]
        );
    }

    #[test]
    fn the_container_that_comes_later_has_a_name_too_much() {
        let one = json!({"name": "a", "image": "i"});
        let spec =
            json!({"initContainers": [one], "containers": [one], "ephemeralContainers": [one]});
        assert_eq!(
            found(&validate(&spec, "s")),
            ["s.initContainers[0].name", "s.ephemeralContainers[0].name"]
        );
    }

    #[test]
    fn ports_of_the_node_are_taken_once_by_those_that_run_at_once() {
        let container = |name: &str| {
            json!({"name": name, "image": "i", "ports": [
            {"containerPort": 80, "hostPort": 8080, "protocol": "TCP"}]})
        };
        let spec = json!({"containers": [container("a"), container("b")],
            "initContainers": [container("c"), container("d")]});
        assert_eq!(
            found(&validate(&spec, "s")),
            ["s.containers[1].ports[0].hostPort"]
        );
        let shared = json!({"hostNetwork": true, "containers": [container("a")]});
        assert_eq!(
            found(&validate(&shared, "s")),
            ["s.containers[0].ports[0].containerPort"]
        );
    }
}
