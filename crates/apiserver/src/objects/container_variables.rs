//! What is wrong with the variables of a container: their names, and where their values come from.

use serde_json::Value;

use crate::status::Cause;

use super::names;
use super::values::{items, text};

/// The fields of a pod that a variable can have.
const POD_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields that Pods can be selected by, but that no variable can have.
const OTHER_POD_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "spec.hostNetwork",
    "spec.restartPolicy",
    "spec.schedulerName",
    "status.phase",
];
const SOURCES: &[&str] = &[
    "fieldRef",
    "resourceFieldRef",
    "configMapKeyRef",
    "secretKeyRef",
];

/// Problems of the variables of a container; `path` leads to it.
pub fn validate(container: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, variable) in items(&container["env"]).enumerate() {
        let path = format!("{path}.env[{index}]");
        let (field, name) = (format!("{path}.name"), text(&variable["name"]));
        if name.is_empty() {
            causes.push(Cause::required(field, ""));
        } else if name.contains('=') || !name.chars().all(|c| (' '..='~').contains(&c)) {
            let why = "a valid environment variable name must consist only of printable ASCII \
                       characters other than '='";
            causes.push(Cause::invalid(field, &name.into(), why));
        }
        causes.extend(comes_from(variable, &format!("{path}.valueFrom")));
    }
    let all = format!("{path}.envFrom");
    for (index, source) in items(&container["envFrom"]).enumerate() {
        let mut count = 0;
        for reference in ["configMapRef", "secretRef"] {
            if source[reference].is_object() {
                count += 1;
                let name = format!("{all}[{index}].{reference}.name");
                causes.extend(object_name(&source[reference], name));
            }
        }
        let why = match count {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        causes.push(Cause::invalid(all.clone(), &"".into(), why));
    }
    causes
}

/// Where the value of a variable comes from, if it does not say it.
fn comes_from(variable: &Value, path: &str) -> Vec<Cause> {
    let source = &variable["valueFrom"];
    if !source.is_object() {
        return Vec::new();
    }
    let given = SOURCES.iter().filter(|name| source[**name].is_object());
    let mut causes: Vec<Cause> = given
        .clone()
        .flat_map(|name| refers(name, &source[*name], &format!("{path}.{name}")))
        .collect();
    let why = match given.count() {
        0 => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or \
             `secretKeyRef`"
        }
        _ if !text(&variable["value"]).is_empty() => {
            "may not be specified when `value` is not empty"
        }
        1 => return causes,
        _ => "may not have more than one field specified at a time",
    };
    causes.push(Cause::invalid(path, &"".into(), why));
    causes
}

fn refers(source: &str, reference: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    match source {
        "fieldRef" => causes.extend(pod_field(reference, format!("{path}.fieldPath"))),
        "resourceFieldRef" => {
            if text(&reference["resource"]).is_empty() {
                causes.push(Cause::required(format!("{path}.resource"), ""));
            }
        }
        _ => {
            causes.extend(object_name(reference, format!("{path}.name")));
            if text(&reference["key"]).is_empty() {
                causes.push(Cause::required(format!("{path}.key"), ""));
            }
        }
    }
    causes
}

fn pod_field(reference: &Value, field: String) -> Option<Cause> {
    let path = text(&reference["fieldPath"]);
    let one_of_map = ["metadata.annotations['", "metadata.labels['"];
    if path.is_empty() {
        Some(Cause::required(field, ""))
    } else if POD_FIELDS.contains(&path)
        || one_of_map.iter().any(|map| path.starts_with(map)) && path.ends_with("']")
    {
        None
    } else if OTHER_POD_FIELDS.contains(&path) {
        Some(Cause::not_supported(field, &path.into(), POD_FIELDS))
    } else {
        let why = format!("error converting fieldPath: field label not supported: {path}");
        Some(Cause::invalid(field, &path.into(), why))
    }
}

fn object_name(reference: &Value, field: String) -> Vec<Cause> {
    let name = text(&reference["name"]);
    if name.is_empty() {
        return vec![Cause::required(field, "")];
    }
    let problems = names::subdomain(name).into_iter();
    problems
        .map(|why| Cause::invalid(field.clone(), &name.into(), why))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_variable_has_one_value() {
        let secret = json!({"secretKeyRef": {"name": "s", "key": "k"}});
        for (variable, wrong) in [
            (json!({"name": "A", "value": "1"}), None),
            (json!({"name": "A", "valueFrom": secret}), None),
            (json!({"name": "A=B"}), Some("name")),
            (
                json!({"name": "A", "value": "1", "valueFrom": secret}),
                Some("valueFrom"),
            ),
            (json!({"name": "A", "valueFrom": {}}), Some("valueFrom")),
            (
                json!({"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}),
                Some("valueFrom.secretKeyRef.key"),
            ),
            (
                json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.containers"}}}),
                Some("valueFrom.fieldRef.fieldPath"),
            ),
            (
                json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}}),
                None,
            ),
        ] {
            let causes = validate(&json!({"env": [variable]}), "c");
            let found: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
            let wanted: Vec<String> = wrong
                .iter()
                .map(|field| format!("c.env[0].{field}"))
                .collect();
            assert_eq!(found, wanted, "{variable}");
        }
    }

    #[test]
    fn many_variables_come_from_one_object() {
        let both = json!({"configMapRef": {"name": "a"}, "secretRef": {"name": ""}});
        let causes = validate(
            &json!({"envFrom": [{"secretRef": {"name": "s"}}, both, {}]}),
            "c",
        );
        let found: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
        assert_eq!(
            found,
            ["c.envFrom[1].secretRef.name", "c.envFrom", "c.envFrom"]
        );
    }
}
