//! Rules of Pods and of pod templates.

use serde_json::{Value, json};

use crate::status::Cause;

use super::values::{items, items_mut, put, set_default, text};
use super::{containers, pod_parts, pod_placement, storage};

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
    pod_placement::tolerate_short_outages(&mut pod["spec"]);
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

/// What the server gave a Pod stays. The subresources change their part of the spec only; `podIP`
/// and `podIPs` say the same.
pub fn before_update(pod: &mut Value, old: &Value, subresource: Option<&str>) {
    match subresource {
        None => {
            pod_placement::tolerate_short_outages(&mut pod["spec"]);
            for field in ["priority", "preemptionPolicy"] {
                if pod["spec"][field].is_null() {
                    put(&mut pod["spec"], field, old["spec"].get(field).cloned());
                }
            }
        }
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

/// What is wrong with a Pod.
pub fn validate(pod: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = validate_spec(&pod["spec"], "spec");
    if old.is_none() && items(&pod["spec"]["ephemeralContainers"]).next().is_some() {
        let why = "cannot be set on create";
        causes.push(Cause::forbidden("spec.ephemeralContainers", why));
    }
    causes
}

/// What is wrong with a template of Pods; `path` leads to its spec.
pub fn validate_template(spec: &Value, path: &str) -> Vec<Cause> {
    let mut causes = validate_spec(spec, path);
    if items(&spec["ephemeralContainers"]).next().is_some() {
        let why = "ephemeral containers not allowed in pod template";
        causes.push(Cause::forbidden(format!("{path}.ephemeralContainers"), why));
    }
    causes
}

fn validate_spec(spec: &Value, path: &str) -> Vec<Cause> {
    let mut causes = pod_parts::validate_pod(spec, path);
    causes.extend(containers::validate(spec, path));
    causes.extend(pod_placement::validate(spec, path));
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
    let mut causes = pod_parts::validate_update(pod, old);
    causes.extend(pod_placement::validate_update(pod, old));
    if !causes.is_empty() || frozen(pod, old) == frozen(old, old) {
        return causes;
    }
    let why = "pod updates may not change fields other than `spec.containers[*].image`,\
               `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` \
               (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` \
               (allow it to be set to 1 if it was previously negative)";
    vec![Cause::forbidden("spec", why)]
}

/// The part of the spec that may not change, given what it was.
fn frozen(pod: &Value, old: &Value) -> Value {
    let mut spec = pod["spec"].clone();
    for list in ["containers", "initContainers"] {
        for container in items_mut(spec.get_mut(list)) {
            container["image"] = Value::Null;
        }
    }
    if let Value::Object(map) = &mut spec {
        // An account has two names for one thing. What may change of the others is said elsewhere.
        for field in [
            "activeDeadlineSeconds",
            "tolerations",
            "schedulingGates",
            "serviceAccount",
        ] {
            map.shift_remove(field);
        }
        if pod_placement::is_held_back(&old["spec"]) {
            map.shift_remove("nodeSelector");
        }
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
}
