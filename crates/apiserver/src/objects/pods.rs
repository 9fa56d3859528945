//! Rules of Pods and of pod templates.

use serde_json::{Value, json};

use crate::status::Cause;

use super::kinds::{fields, items, items_mut, put, set_default, text};
use super::{names, pod_parts, storage};

const CONTAINER_LISTS: &[&str] = &["containers", "initContainers", "ephemeralContainers"];

/// Defaults of a Pod.
pub fn pod_defaults(pod: &mut Value) {
    if !pod["spec"].is_object() {
        pod["spec"] = json!({});
    }
    let spec = &mut pod["spec"];
    spec_defaults(spec);
    set_default(spec, "enableServiceLinks", true.into());
    set_default(spec, "serviceAccountName", "default".into());
    // The old name of the same field.
    let account = spec["serviceAccountName"].clone();
    spec["serviceAccount"] = account;
    if spec["hostNetwork"] == true {
        for list in ["containers", "initContainers"] {
            for container in items_mut(spec.get_mut(list)) {
                for port in items_mut(container.get_mut("ports")) {
                    let number = port["containerPort"].clone();
                    set_default(port, "hostPort", number);
                }
            }
        }
    }
    for list in CONTAINER_LISTS {
        for container in items_mut(spec.get_mut(*list)) {
            requests_from_limits(container);
        }
    }
}

/// Defaults of the `spec` of Pods and of pod templates.
pub fn spec_defaults(spec: &mut Value) {
    for list in CONTAINER_LISTS {
        for container in items_mut(spec.get_mut(*list)) {
            container_defaults(container);
        }
    }
    for volume in items_mut(spec.get_mut("volumes")) {
        volume_defaults(volume);
    }
    set_default(spec, "restartPolicy", "Always".into());
    set_default(spec, "terminationGracePeriodSeconds", 30.into());
    set_default(spec, "dnsPolicy", "ClusterFirst".into());
    set_default(spec, "securityContext", json!({}));
    set_default(spec, "schedulerName", "default-scheduler".into());
}

fn volume_defaults(volume: &mut Value) {
    for source in ["secret", "configMap", "projected", "downwardAPI"] {
        if volume[source].is_object() {
            set_default(&mut volume[source], "defaultMode", 420.into());
        }
    }
    if volume["hostPath"].is_object() {
        set_default(&mut volume["hostPath"], "type", "".into());
    }
    if let Some(claim) = volume.pointer_mut("/ephemeral/volumeClaimTemplate") {
        storage::claim_defaults(claim);
    }
    for source in items_mut(volume.pointer_mut("/projected/sources")) {
        if source["serviceAccountToken"].is_object() {
            let token = &mut source["serviceAccountToken"];
            set_default(token, "expirationSeconds", 3600.into());
        }
        field_defaults(source.pointer_mut("/downwardAPI/items"), "/fieldRef");
    }
    field_defaults(volume.pointer_mut("/downwardAPI/items"), "/fieldRef");
}

/// The fields of Pods that are referred to are those of the first version.
fn field_defaults(items: Option<&mut Value>, reference: &str) {
    for item in items_mut(items) {
        if let Some(reference) = item.pointer_mut(reference).filter(|it| it.is_object()) {
            set_default(reference, "apiVersion", "v1".into());
        }
    }
}

fn container_defaults(container: &mut Value) {
    set_default(container, "resources", json!({}));
    set_default(
        container,
        "terminationMessagePath",
        "/dev/termination-log".into(),
    );
    set_default(container, "terminationMessagePolicy", "File".into());
    let image = text(&container["image"]).to_owned();
    if !image.is_empty() {
        set_default(container, "imagePullPolicy", pull_policy(&image).into());
    }
    for port in items_mut(container.get_mut("ports")) {
        set_default(port, "protocol", "TCP".into());
    }
    field_defaults(container.get_mut("env"), "/valueFrom/fieldRef");
    for hook in ["/lifecycle/postStart/httpGet", "/lifecycle/preStop/httpGet"] {
        let request = container.pointer_mut(hook);
        if let Some(request) = request.filter(|it| it.is_object()) {
            set_default(request, "path", "/".into());
            set_default(request, "scheme", "HTTP".into());
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if container[probe].is_object() {
            let probe = &mut container[probe];
            for (field, value) in [
                ("timeoutSeconds", 1),
                ("periodSeconds", 10),
                ("successThreshold", 1),
                ("failureThreshold", 3),
            ] {
                set_default(probe, field, value.into());
            }
            if probe["httpGet"].is_object() {
                set_default(&mut probe["httpGet"], "path", "/".into());
                set_default(&mut probe["httpGet"], "scheme", "HTTP".into());
            }
            if probe["grpc"].is_object() {
                set_default(&mut probe["grpc"], "service", "".into());
            }
        } else if let Value::Object(map) = container {
            map.shift_remove(probe);
        }
    }
}

/// Images without a tag, or with `latest`, are always pulled.
fn pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    match name.split_once(':') {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

fn requests_from_limits(container: &mut Value) {
    let Some(Value::Object(limits)) = container["resources"].get("limits").cloned() else {
        return;
    };
    set_default(&mut container["resources"], "requests", json!({}));
    for (resource, amount) in limits {
        set_default(&mut container["resources"]["requests"], &resource, amount);
    }
}

/// A new Pod is pending.
pub fn before_create(pod: &mut Value) {
    pod["status"] = json!({"phase": "Pending", "qosClass": quality_of_service(&pod["spec"])});
    if items(&pod["spec"]["schedulingGates"]).next().is_some() {
        pod["status"]["conditions"] = json!([{
            "type": "PodScheduled",
            "status": "False",
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }]);
    }
}

/// The subresources change their part of the spec only; `podIP` and `podIPs` say the same.
pub fn before_update(pod: &mut Value, old: &Value, subresource: Option<&str>) {
    match subresource {
        Some("ephemeralcontainers") => {
            let containers = pod["spec"].get("ephemeralContainers").cloned();
            pod["spec"] = old["spec"].clone();
            put(&mut pod["spec"], "ephemeralContainers", containers);
        }
        Some("resize") => {
            let wanted = pod["spec"].clone();
            pod["spec"] = old["spec"].clone();
            for list in ["containers", "initContainers"] {
                let resized = items(&wanted[list]);
                for (container, wanted) in items_mut(pod["spec"].get_mut(list)).zip(resized) {
                    for field in ["resources", "resizePolicy"] {
                        put(container, field, wanted.get(field).cloned());
                    }
                }
            }
        }
        _ => {}
    }
    let status = &mut pod["status"];
    let ip = text(&status["podIP"]).to_owned();
    if let Value::Object(map) = status {
        map.retain(|_, value| !value.is_null());
    }
    if !ip.is_empty() {
        let first = status["podIPs"][0]["ip"].as_str() == Some(&ip);
        if !first {
            status["podIPs"] = json!([{"ip": ip}]);
        } else if let Value::Object(map) = status {
            map.retain(|_, value| !value.is_null());
        }
    }
}

fn quality_of_service(spec: &Value) -> &'static str {
    let containers = || items(&spec["containers"]).chain(items(&spec["initContainers"]));
    let resources =
        |container: &Value, kind: &str, name: &str| container["resources"][kind].get(name).cloned();
    let counted = ["cpu", "memory"];
    let any = containers().any(|c| {
        counted.iter().any(|name| {
            resources(c, "limits", name).is_some() || resources(c, "requests", name).is_some()
        })
    });
    if !any {
        return "BestEffort";
    }
    let all = containers().all(|c| {
        counted.iter().all(|name| {
            let limit = resources(c, "limits", name);
            limit.is_some() && limit == resources(c, "requests", name)
        })
    });
    if all { "Guaranteed" } else { "Burstable" }
}

/// What is wrong with a pod's spec; `path` leads to it.
pub fn validate(spec: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    if items(&spec["containers"]).next().is_none() {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    causes.extend(pod_parts::validate_pod(spec, path));
    let mut seen: Vec<&str> = Vec::new();
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for (index, container) in items(&spec[list]).enumerate() {
            let field = format!("{path}.{list}[{index}]");
            let name = text(&container["name"]);
            if name.is_empty() {
                causes.push(Cause::required(format!("{field}.name"), ""));
            } else {
                for problem in names::label(name) {
                    causes.push(Cause::invalid(
                        format!("{field}.name"),
                        &name.into(),
                        problem,
                    ));
                }
                if seen.contains(&name) {
                    causes.push(Cause::duplicate(format!("{field}.name"), &name.into()));
                }
                seen.push(name);
            }
            if text(&container["image"]).is_empty() {
                causes.push(Cause::required(format!("{field}.image"), ""));
            }
            causes.extend(pod_parts::validate_container(container, spec, &field));
        }
    }
    let restart = text(&spec["restartPolicy"]);
    let known = ["Always", "OnFailure", "Never"];
    if !known.contains(&restart) {
        let field = format!("{path}.restartPolicy");
        causes.push(Cause::not_supported(field, &restart.into(), &known));
    }
    causes
}

/// Only images, deadlines and additional tolerations of a Pod may change, and what a subresource
/// is for.
pub fn validate_update(pod: &Value, old: &Value, subresource: Option<&str>) -> Vec<Cause> {
    match subresource {
        Some("ephemeralcontainers") => return ephemeral_containers_kept(pod, old),
        Some("resize") => return Vec::new(),
        _ => {}
    }
    let count = |pod: &Value, list: &str| items(&pod["spec"][list]).count();
    for list in ["containers", "initContainers"] {
        if count(pod, list) != count(old, list) {
            let why = "pod updates may not add or remove containers";
            return vec![Cause::forbidden(format!("spec.{list}"), why)];
        }
    }
    let causes = pod_parts::validate_update(pod, old);
    if !causes.is_empty() || frozen(pod) == frozen(old) {
        return causes;
    }
    let why = "pod updates may not change fields other than `spec.containers[*].image`,\
               `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` \
               (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` \
               (allow it to be set to 1 if it was previously negative)";
    vec![Cause::forbidden("spec", why)]
}

/// The part of the spec that may not change.
fn frozen(pod: &Value) -> Value {
    let mut spec = pod["spec"].clone();
    for list in ["containers", "initContainers"] {
        for container in items_mut(spec.get_mut(list)) {
            container["image"] = Value::Null;
        }
    }
    // Gates may be lifted. An account has two names for one thing.
    for field in [
        "activeDeadlineSeconds",
        "tolerations",
        "schedulingGates",
        "serviceAccount",
    ] {
        if let Value::Object(map) = &mut spec {
            map.shift_remove(field);
        }
    }
    if let Value::Object(map) = &mut spec {
        map.sort_keys();
    }
    spec
}

/// Containers for a closer look are added and stay as they are.
fn ephemeral_containers_kept(pod: &Value, old: &Value) -> Vec<Cause> {
    let field = "spec.ephemeralContainers";
    let find =
        |name: &Value| items(&pod["spec"]["ephemeralContainers"]).find(|c| c["name"] == *name);
    let mut causes = Vec::new();
    for container in items(&old["spec"]["ephemeralContainers"]) {
        let name = &container["name"];
        match find(name) {
            None => {
                let why = format!("existing ephemeral containers {name} may not be removed");
                causes.push(Cause::forbidden(field, why));
            }
            Some(now) if now != container => {
                let why = format!("existing ephemeral containers {name} may not be changed");
                causes.push(Cause::forbidden(field, why));
            }
            Some(_) => {}
        }
    }
    causes
}

/// The labels of a selector with `matchLabels` only that `labels` do not have.
pub fn selects(selector: &Value, labels: &Value) -> bool {
    let equal = fields(&selector["matchLabels"]).all(|(key, value)| labels.get(key) == Some(value));
    let matches = |expression: &Value| {
        let value = labels.get(text(&expression["key"]));
        let among = || value.is_some_and(|value| items(&expression["values"]).any(|v| v == value));
        match text(&expression["operator"]) {
            "In" => among(),
            "NotIn" => !among(),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    };
    equal && items(&selector["matchExpressions"]).all(matches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untagged_and_latest_images_are_always_pulled() {
        for (image, policy) in [
            ("x", "Always"),
            ("y:latest", "Always"),
            ("example.com:5000/x", "Always"),
            ("example.com/main:1", "IfNotPresent"),
            ("x@sha256:00", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }

    #[test]
    fn quality_of_service_follows_requests_and_limits() {
        let spec = |resources: Value| json!({"containers": [{"resources": resources}]});
        let both = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(quality_of_service(&spec(json!({}))), "BestEffort");
        assert_eq!(
            quality_of_service(&spec(json!({"limits": {"cpu": "1"}}))),
            "Burstable"
        );
        let equal = json!({"limits": both, "requests": both});
        assert_eq!(quality_of_service(&spec(equal)), "Guaranteed");
    }

    #[test]
    fn selectors_know_labels_and_expressions() {
        let selector = json!({"matchLabels": {"a": "1"}, "matchExpressions": [
            {"key": "b", "operator": "In", "values": ["x", "y"]},
            {"key": "c", "operator": "DoesNotExist"}]});
        assert!(selects(&selector, &json!({"a": "1", "b": "x"})));
        assert!(!selects(&selector, &json!({"a": "1", "b": "z"})));
        assert!(!selects(&selector, &json!({"a": "1", "b": "x", "c": ""})));
    }
}
