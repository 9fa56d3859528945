//! What Pod Security lets through.

use crate::finding::{Finding, Severity};
use crate::graph::Graph;
use crate::rules::{Context, Rule};
use crate::source::Location;
use crate::yaml::{Node, Value};

use super::pods::{Workload, workloads};

/// A privileged workload in a namespace that allows none.
pub static WKL006: Rule = Rule {
    id: "WKL006",
    title: "a namespace with privileged workloads says so",
    severity: Severity::Warning,
    consequence: "where Pod Security is enforced, as on Talos, the Pods are refused",
    fix: "label the Namespace with `pod-security.kubernetes.io/enforce: privileged`",
    page: include_str!("../pages/WKL006.md"),
};

const LABEL: &str = "pod-security.kubernetes.io/enforce";

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let graph = context.graph;
    let mut findings = Vec::new();
    for workload in workloads(graph) {
        let namespace = workload.object.namespace();
        // Talos exempts this one.
        if namespace == "kube-system" || is_allowed(graph, namespace) {
            continue;
        }
        if let Some((at, what)) = privileges(&workload) {
            let message =
                format!("the Pods want {what}, and the namespace {namespace:?} does not allow it");
            findings.push(Finding::new(&WKL006, at, message).about(workload.object));
        }
    }
    findings
}

fn is_allowed(graph: &Graph, namespace: &str) -> bool {
    let mut namespaces = graph.of_kind("", "Namespace");
    let found = namespaces.find(|object| object.name() == namespace);
    found.is_some_and(|object| object.metadata("labels", LABEL) == Some("privileged"))
}

/// The first thing in the Pods that the level `baseline` forbids, and where it is written.
fn privileges(workload: &Workload<'_>) -> Option<(Location, &'static str)> {
    let pod = workload.pod()?;
    let is_true = |node: Option<&Node>| node.is_some_and(|node| node.value == Value::Bool(true));
    for (key, what) in [
        ("hostNetwork", "the network of the host"),
        ("hostPID", "the processes of the host"),
        ("hostIPC", "the memory of the host"),
    ] {
        if let Some(field) = pod.field(key).filter(|field| is_true(Some(&field.node))) {
            return Some((field.key_at, what));
        }
    }
    for volume in pod.get("volumes").map_or(&[][..], Node::items) {
        if let Some(field) = volume.field("hostPath") {
            return Some((field.key_at, "a folder of the host"));
        }
    }
    workload.all_containers().find_map(|container| {
        let field = container.get("securityContext")?.field("privileged")?;
        is_true(Some(&field.node)).then_some((field.key_at, "a privileged container"))
    })
}
