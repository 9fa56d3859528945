//! Probes: whether a Pod serves is known.

use crate::finding::{Finding, Severity};
use crate::rules::{Context, Rule};
use crate::yaml::Node;

use super::pods::workloads;

/// A container that cannot say whether it serves.
pub static WKL007: Rule = Rule {
    id: "WKL007",
    title: "a container with ports has a readiness probe",
    severity: Severity::Info,
    consequence: "requests reach the container before it can answer them, at each update",
    fix: "add a `readinessProbe`",
    page: include_str!("../pages/WKL007.md"),
};

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for workload in workloads(context.graph) {
        if !matches!(
            workload.object.kind(),
            "Deployment" | "StatefulSet" | "DaemonSet"
        ) {
            continue;
        }
        for container in workload.containers() {
            let has_ports = container
                .get("ports")
                .is_some_and(|ports| !ports.items().is_empty());
            if has_ports && container.get("readinessProbe").is_none() {
                let name = container.get("name");
                let called = name.and_then(Node::text).unwrap_or_default();
                let at = name.map_or(container.at, |name| name.at);
                let message =
                    format!("the container {called:?} has ports, and no `readinessProbe`");
                findings.push(Finding::new(&WKL007, at, message).about(workload.object));
            }
        }
    }
    findings
}
