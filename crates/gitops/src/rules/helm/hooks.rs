//! Hooks that wait for what waits for them.

use crate::build::Object;
use crate::finding::{Finding, Severity};
use crate::graph::Graph;
use crate::rules::{Context, Rule};
use crate::yaml::{Node, Value};

use super::chart;

/// A hook that the workload waits for.
pub static HR009: Rule = Rule {
    id: "HR009",
    title: "a release does not wait for workloads that wait for its hooks",
    severity: Severity::Warning,
    consequence: "the Pods wait for the hook, the hook begins when the Pods are ready, and the release fails at its timeout",
    fix: "set `useHelmHooks: false`, or `disableWait: true`",
    page: include_str!("../pages/HR009.md"),
};

/// The jobs of the Airflow chart that its Pods wait for.
const AIRFLOW_JOBS: [&str; 2] = ["createUserJob", "migrateDatabaseJob"];

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let releases = context.graph.helm_releases();
    let mut findings = Vec::new();
    for release in releases {
        let waits = ["install", "upgrade"].iter().any(|action| {
            let disabled = release.spec(&[action, "disableWait"]);
            disabled.is_none_or(|disabled| disabled.value != Value::Bool(true))
        });
        if waits {
            findings.extend(written(release));
            findings.extend(by_default(context.graph, release));
        }
    }
    findings
}

fn written(release: &Object) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(values) = release.spec(&["values"]) {
        collect(values, &mut found);
    }
    let message = "jobs run as hooks, and the release waits for its workloads";
    let finding = |node: &Node| Finding::new(&HR009, node.at, message).about(release);
    found.into_iter().map(finding).collect()
}

/// Every `useHelmHooks: true`.
fn collect<'a>(node: &'a Node, found: &mut Vec<&'a Node>) {
    for field in node.fields() {
        if &*field.key == "useHelmHooks" && field.node.value == Value::Bool(true) {
            found.push(&field.node);
        }
        collect(&field.node, found);
    }
    for item in node.items() {
        collect(item, found);
    }
}

/// The Airflow chart uses hooks where nothing else is said.
fn by_default(graph: &Graph, release: &Object) -> Option<Finding> {
    let is_airflow = chart::name(graph, release).as_deref() == Some("airflow");
    let has_more = release.spec(&["valuesFrom"]).is_some();
    let job = AIRFLOW_JOBS
        .iter()
        .find(|job| release.spec(&["values", job, "useHelmHooks"]).is_none())?;
    let message =
        format!("the chart runs `{job}` as a hook, and the release waits for its workloads");
    let at = release.spec_field_at("values");
    (is_airflow && !has_more).then(|| Finding::new(&HR009, at, message).about(release))
}
