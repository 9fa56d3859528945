//! Disruptions: a node can be emptied, and what is critical survives it.

use crate::build::Object;
use crate::finding::{Finding, Severity};
use crate::graph::Graph;
use crate::rules::{Context, Rule};
use crate::settings::Settings;
use crate::yaml::Node;

use super::pods::{Workload, workloads};

/// A workload that does not survive, or does not allow, a drained node.
pub static WKL004: Rule = Rule {
    id: "WKL004",
    title: "critical workloads have two replicas, and every budget allows a disruption",
    severity: Severity::Warning,
    consequence: "a node cannot be drained, or the workload is away while it is",
    fix: "run two replicas or more, and let the budget allow one to be away",
    page: include_str!("../pages/WKL004.md"),
};

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let graph = context.graph;
    let mut findings = Vec::new();
    for budget in graph.of_kind("policy", "PodDisruptionBudget") {
        findings.extend(blocked(graph, budget));
    }
    for workload in workloads(graph) {
        findings.extend(single(graph, context.settings, &workload));
    }
    findings
}

fn blocked(graph: &Graph, budget: &Object) -> Option<Finding> {
    let report =
        |node: &Node, message: String| Some(Finding::new(&WKL004, node.at, message).about(budget));
    if let Some(node) = budget.spec(&["maxUnavailable"]) {
        let allows_none = matches!(node.scalar_text(), Some("0" | "0%"));
        return if allows_none {
            report(node, "the budget allows no Pod to be away".to_owned())
        } else {
            None
        };
    }
    let node = budget.spec(&["minAvailable"])?;
    let text = node.scalar_text()?;
    if text == "100%" {
        return report(node, "the budget wants every Pod to be there".to_owned());
    }
    let least: u64 = text.parse().ok()?;
    let selector = budget.spec(&["selector"])?;
    let mut selected = workloads(graph).filter(|workload| {
        workload.object.namespace() == budget.namespace() && workload.is_selected_by(selector)
    });
    let workload = selected.next()?;
    let replicas = workload.replicas()?;
    // Several workloads add up, and something else may scale this one.
    let is_alone = selected.next().is_none();
    let message = format!(
        "the budget wants {least} Pod(s), and {} has {replicas}",
        workload.object.display_name()
    );
    if is_alone && replicas > 0 && least >= replicas {
        report(node, message)
    } else {
        None
    }
}

/// A Deployment on which others rely: critical, and reached through a Service.
fn single(graph: &Graph, settings: &Settings, workload: &Workload<'_>) -> Option<Finding> {
    let object = workload.object;
    let is_one = object.kind() == "Deployment" && workload.replicas() == Some(1);
    let is_reached = || {
        graph.of_kind("", "Service").any(|service| {
            let wanted = service.spec(&["selector"]).map_or(&[][..], Node::fields);
            let labels = workload.template.path(&["metadata", "labels"]);
            service.namespace() == object.namespace()
                && !wanted.is_empty()
                && wanted.iter().all(|field| {
                    let label = labels.and_then(|labels| labels.get(&field.key));
                    label.and_then(Node::scalar_text) == field.node.scalar_text()
                })
        })
    };
    let is_scaled = || {
        graph
            .of_kind("autoscaling", "HorizontalPodAutoscaler")
            .any(|scaler| {
                scaler
                    .spec(&["scaleTargetRef", "name"])
                    .and_then(Node::text)
                    == Some(object.name())
            })
    };
    let is_wrong =
        is_one && settings.is_critical(object.namespace()) && is_reached() && !is_scaled();
    let message = "a critical workload has one replica";
    is_wrong.then(|| Finding::new(&WKL004, object.spec_field_at("replicas"), message).about(object))
}
