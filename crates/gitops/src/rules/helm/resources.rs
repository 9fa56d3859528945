//! What the workloads of a release ask for.

use crate::finding::{Finding, Severity};
use crate::rules::{Context, Rule};
use crate::yaml::{Node, Value};

use super::values::values;

/// A release whose workloads ask for nothing.
pub static HR005: Rule = Rule {
    id: "HR005",
    title: "the values of a release set requests and limits",
    severity: Severity::Warning,
    consequence: "unless the chart does it by itself, the Pods are the first to be evicted, or take a node's memory from the others",
    fix: "set `resources` where the chart looks for them",
    page: include_str!("../pages/HR005.md"),
};

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let releases = context.graph.helm_releases();
    let silent = releases.filter_map(|release| {
        let values = values(context.graph, release);
        let sets = values.parts.iter().any(sets_resources);
        let message = "the values set no requests and no limits";
        let at = release.spec_field_at("values");
        (values.is_complete && !sets).then(|| Finding::new(&HR005, at, message).about(release))
    });
    silent.collect()
}

/// Whether requests or limits are set anywhere below. `resources` of a rule for access rights or of an
/// Ingress are something else.
fn sets_resources(node: &Node) -> bool {
    let is_set = |node: &Node| {
        let parts = ["requests", "limits"].map(|part| node.get(part));
        parts
            .into_iter()
            .flatten()
            .any(|part| !part.fields().is_empty())
    };
    match &node.value {
        Value::Mapping(fields) => fields.iter().any(|field| {
            field.key.to_ascii_lowercase().ends_with("resources") && is_set(&field.node)
                || sets_resources(&field.node)
        }),
        Value::Sequence(items) => items.iter().any(sets_resources),
        _ => false,
    }
}
