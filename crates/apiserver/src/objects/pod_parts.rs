//! What is wrong with what belongs to a pod as a whole: its volumes, names, deadlines, policies.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::status::Cause;

use super::values::{fields, items, text};
use super::{containers, names};

/// Fields that have one of some values, and those values.
const POLICIES: &[(&str, &[&str])] = &[
    ("restartPolicy", &["Always", "OnFailure", "Never"]),
    (
        "dnsPolicy",
        &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
    ),
    ("preemptionPolicy", &["Never", "PreemptLowerPriority"]),
];
const SYSTEMS: &[&str] = &["linux", "windows"];
/// What some sources of volumes cannot do without.
const SOURCES: &[(&str, &str)] = &[
    ("secret", "secretName"),
    ("configMap", "name"),
    ("persistentVolumeClaim", "claimName"),
    ("hostPath", "path"),
    ("nfs", "server"),
    ("nfs", "path"),
    ("csi", "driver"),
];

/// Problems of what belongs to the pod as a whole; `path` leads to its spec.
pub fn validate_pod(spec: &Value, path: &str) -> Vec<Cause> {
    let at = |name: &str| format!("{path}.{name}");
    let mut causes = volumes(spec, path);
    for (name, known) in POLICIES {
        let policy = &spec[*name];
        let must_be_there = *name == "restartPolicy";
        if (must_be_there || !policy.is_null()) && !known.contains(&text(policy)) {
            causes.push(Cause::not_supported(at(name), &text(policy).into(), known));
        }
    }
    if spec["dnsPolicy"] == "None" && items(&spec["dnsConfig"]["nameservers"]).next().is_none() {
        let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        causes.push(Cause::required(at("dnsConfig.nameservers"), why));
    }
    let grace = &spec["terminationGracePeriodSeconds"];
    if grace.as_i64().is_some_and(|seconds| seconds < 0) {
        let why = "must be greater than or equal to 0";
        causes.push(Cause::invalid(
            at("terminationGracePeriodSeconds"),
            grace,
            why,
        ));
    }
    let deadline = &spec["activeDeadlineSeconds"];
    let range = 1..=i64::from(i32::MAX);
    if deadline
        .as_i64()
        .is_some_and(|seconds| !range.contains(&seconds))
    {
        let why = "must be between 1 and 2147483647, inclusive";
        causes.push(Cause::invalid(at("activeDeadlineSeconds"), deadline, why));
    }
    causes.extend(well_named(spec, path));
    for (index, alias) in items(&spec["hostAliases"]).enumerate() {
        let ip = &alias["ip"];
        if text(ip).parse::<IpAddr>().is_err() {
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            causes.push(Cause::invalid(
                at(&format!("hostAliases[{index}].ip")),
                ip,
                why,
            ));
        }
    }
    let system = &spec["os"];
    if system.is_object() {
        match text(&system["name"]) {
            "" => causes.push(Cause::required(at("os.name"), "cannot be empty")),
            name if SYSTEMS.contains(&name) => {}
            name => causes.push(Cause::not_supported(at("os.name"), &name.into(), SYSTEMS)),
        }
    }
    if spec["hostPID"] == true && spec["shareProcessNamespace"] == true {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        causes.push(Cause::invalid(
            at("shareProcessNamespace"),
            &true.into(),
            why,
        ));
    }
    causes.extend(containers::identities(
        &spec["securityContext"],
        &at("securityContext"),
    ));
    causes
}

/// Names of other things in a pod's spec are names.
fn well_named(spec: &Value, path: &str) -> Vec<Cause> {
    type Rule = fn(&str) -> Vec<String>;
    let mut named: Vec<(String, &Value, Rule)> = Vec::new();
    for field in ["hostname", "subdomain"] {
        named.push((field.to_owned(), &spec[field], names::label));
    }
    for field in [
        "serviceAccountName",
        "priorityClassName",
        "runtimeClassName",
    ] {
        named.push((field.to_owned(), &spec[field], names::subdomain));
    }
    for (index, gate) in items(&spec["readinessGates"]).enumerate() {
        let field = format!("readinessGates[{index}].conditionType");
        named.push((field, &gate["conditionType"], names::qualified));
    }
    let mut causes = Vec::new();
    for (field, name, problems) in named {
        for why in name.as_str().map(problems).unwrap_or_default() {
            causes.push(Cause::invalid(format!("{path}.{field}"), name, why));
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
        for (source, required) in SOURCES {
            if volume[*source].is_object() && text(&volume[*source][*required]).is_empty() {
                causes.push(Cause::required(format!("{field}.{source}.{required}"), ""));
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
    fn volumes_have_a_unique_name_and_one_source() {
        let spec = json!({"volumes": [
            {"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}, {"name": "w"},
            {"name": "x", "emptyDir": {}, "hostPath": {"path": "/"}}]});
        assert_eq!(
            found(&volumes(&spec, "spec")),
            [
                "spec.volumes[1].name",
                "spec.volumes[2]",
                "spec.volumes[3].hostPath"
            ]
        );
    }

    #[test]
    fn a_volume_says_what_it_is_made_of() {
        let spec = json!({"restartPolicy": "Always", "volumes": [
            {"name": "v", "secret": {}}, {"name": "w", "hostPath": {"path": "/"}}]});
        assert_eq!(
            found(&validate_pod(&spec, "spec")),
            ["spec.volumes[0].secret.secretName"]
        );
    }

    #[test]
    fn a_pod_says_what_exists() {
        for (spec, field) in [
            (json!({"dnsPolicy": "Never"}), "s.dnsPolicy"),
            (json!({"dnsPolicy": "None"}), "s.dnsConfig.nameservers"),
            (json!({"preemptionPolicy": "Ask"}), "s.preemptionPolicy"),
            (json!({"os": {"name": "beos"}}), "s.os.name"),
            (
                json!({"hostAliases": [{"ip": "here"}]}),
                "s.hostAliases[0].ip",
            ),
            (
                json!({"hostPID": true, "shareProcessNamespace": true}),
                "s.shareProcessNamespace",
            ),
            (
                json!({"securityContext": {"fsGroup": -1}}),
                "s.securityContext.fsGroup",
            ),
            (json!({"subdomain": "a.b"}), "s.subdomain"),
            (
                json!({"readinessGates": [{"conditionType": "a b"}]}),
                "s.readinessGates[0].conditionType",
            ),
        ] {
            let mut pod = spec.clone();
            pod["restartPolicy"] = "Always".into();
            assert_eq!(found(&validate_pod(&pod, "s")), [field], "{spec}");
        }
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
