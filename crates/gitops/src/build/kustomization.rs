//! One kustomization file: which fields it has, and which of them are understood.

use crate::finding::Finding;
use crate::rules::build::{BLD001, BLD002};
use crate::yaml::{Node, Value};

/// Fields that the build does something with.
const SUPPORTED: [&str; 27] = [
    "apiVersion",
    "kind",
    "metadata",
    "resources",
    "bases",
    "components",
    "namespace",
    "namePrefix",
    "nameSuffix",
    "patches",
    "patchesStrategicMerge",
    "patchesJson6902",
    "configMapGenerator",
    "secretGenerator",
    "generatorOptions",
    "configurations",
    "labels",
    "commonLabels",
    "commonAnnotations",
    "images",
    "replicas",
    "replacements",
    // Say how something is written, and change no object.
    "sortOptions",
    "buildMetadata",
    "openapi",
    "validators",
    "crds",
];

/// Fields that change the objects, and that the build does not know how to follow.
const UNSUPPORTED: [&str; 7] = [
    "vars",
    "helmCharts",
    "helmChartInflationGenerator",
    "helmGlobals",
    "generators",
    "transformers",
    "imageTags",
];

/// Fields that are lists.
const LISTS: [&str; 13] = [
    "resources",
    "bases",
    "components",
    "patches",
    "patchesStrategicMerge",
    "patchesJson6902",
    "configMapGenerator",
    "secretGenerator",
    "configurations",
    "labels",
    "images",
    "replicas",
    "replacements",
];

/// Of the supported fields, those that only matter with content that changes objects.
const UNSUPPORTED_WITH_CONTENT: [&str; 4] = ["buildMetadata", "openapi", "validators", "crds"];

/// What is wrong with the fields of a kustomization.
pub(super) fn check(kustomization: &Node) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !matches!(kustomization.value, Value::Mapping(_)) {
        let message = "a kustomization has fields, and this has none";
        findings.push(Finding::new(&BLD001, kustomization.at, message));
    }
    for field in kustomization.fields() {
        let key = &*field.key;
        let is_empty =
            field.node.is_null() || field.node.items().is_empty() && field.node.fields().is_empty();
        if UNSUPPORTED.contains(&key) || UNSUPPORTED_WITH_CONTENT.contains(&key) && !is_empty {
            findings.push(Finding::new(
                &BLD002,
                field.key_at,
                format!("`{key}` is a feature of kustomize that is not supported here"),
            ));
        } else if LISTS.contains(&key) && !is_list(&field.node) {
            let message = format!("`{key}` is a list, and this is none");
            findings.push(Finding::new(&BLD001, field.node.at, message).fix("write a list"));
        } else if !SUPPORTED.contains(&key) {
            findings.push(
                Finding::new(
                    &BLD001,
                    field.key_at,
                    format!("a kustomization has no field `{key}`"),
                )
                .fix("correct the field's name, or remove it"),
            );
        }
    }
    findings
}

fn is_list(node: &Node) -> bool {
    matches!(node.value, Value::Sequence(_) | Value::Null)
}

/// Whether the document is a component, which changes what its user has so far.
pub(super) fn is_component(kustomization: &Node) -> bool {
    kustomization.text_of("kind") == Some("Component")
}
