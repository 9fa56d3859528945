//! What is not wrong, but should be said: old labels, lost variables, old kinds.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::registry::Kind;

use super::names;
use super::values::{fields, items, text};

/// Labels of nodes that have a newer name, since when, and that name.
const OLD_LABELS: &[(&str, &str, &str)] = &[
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    (
        "beta.kubernetes.io/instance-type",
        "v1.17",
        "node.kubernetes.io/instance-type",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "v1.17",
        "topology.kubernetes.io/region",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "v1.17",
        "topology.kubernetes.io/zone",
    ),
];

/// What every request for a kind is warned of.
pub fn of_kind(kind: &Kind) -> Option<&'static str> {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "ComponentStatus") => Some("v1 ComponentStatus is deprecated in v1.19+"),
        ("", "Endpoints") => {
            Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
        }
        _ => None,
    }
}

/// What the writer of an object is warned of.
pub fn of_object(kind: &Kind, object: &Value) -> Vec<String> {
    if kind.custom().is_some() {
        let finalizers = items(&object["metadata"]["finalizers"]);
        return finalizers
            .filter(|finalizer| !text(finalizer).contains('/'))
            .map(|finalizer| {
                format!(
                    "metadata.finalizers: {finalizer}: prefer a domain-qualified finalizer name \
                     including a path (/) to avoid accidental conflicts with other finalizer \
                     writers"
                )
            })
            .collect();
    }
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => {
            let mut warnings = of_pod(&object["spec"], "spec");
            let problems = names::label(text(&object["metadata"]["name"]));
            if !problems.is_empty() {
                warnings.insert(
                    0,
                    format!(
                        "metadata.name: this is used in the Pod's hostname, which can result in \
                         surprising behavior; a DNS label is recommended: [{}]",
                        problems.join(" ")
                    ),
                );
            }
            warnings
        }
        ("batch", "CronJob") => of_pod(
            &object["spec"]["jobTemplate"]["spec"]["template"]["spec"],
            "spec.jobTemplate.spec.template.spec",
        ),
        ("apps" | "batch", _) | ("", "ReplicationController") => {
            of_pod(&object["spec"]["template"]["spec"], "spec.template.spec")
        }
        _ => Vec::new(),
    }
}

fn of_pod(spec: &Value, path: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    for (key, _) in fields(&spec["nodeSelector"]) {
        if let Some((_, since, new)) = OLD_LABELS.iter().find(|(old, _, _)| old == key) {
            warnings.push(format!(
                "{path}.nodeSelector[{key}]: deprecated since {since}; use \"{new}\" instead"
            ));
        }
    }
    for list in ["initContainers", "containers"] {
        for (index, container) in items(&spec[list]).enumerate() {
            let mut seen = BTreeSet::new();
            for (variable, definition) in items(&container["env"]).enumerate() {
                let name = text(&definition["name"]);
                if !seen.insert(name) {
                    warnings.push(format!(
                        "{path}.{list}[{index}].env[{variable}]: hides previous definition of \
                         {name:?}, which may be dropped when using apply"
                    ));
                }
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn old_labels_and_hidden_variables_are_told() {
        let spec = json!({
            "nodeSelector": {"beta.kubernetes.io/os": "linux", "x": "y"},
            "containers": [{"env": [{"name": "A"}, {"name": "B"}, {"name": "A"}]}]});
        assert_eq!(
            of_pod(&spec, "spec"),
            [
                "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \
                 \"kubernetes.io/os\" instead",
                "spec.containers[0].env[2]: hides previous definition of \"A\", which may be \
                 dropped when using apply",
            ]
        );
    }
}
