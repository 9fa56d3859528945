//! Images: which one runs does not change by itself.

use crate::finding::{Finding, Severity};
use crate::graph::Graph;
use crate::rules::{Context, Rule};
use crate::yaml::Node;

use super::pods::workloads;

/// An image that changes by itself.
pub static WKL003: Rule = Rule {
    id: "WKL003",
    title: "an image has a tag that stays, or a digest",
    severity: Severity::Warning,
    consequence: "another version runs after a restart, on some nodes, without a commit here",
    fix: "write the tag of a release, or a digest",
    page: include_str!("../pages/WKL003.md"),
};

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let graph = context.graph;
    let mut findings = Vec::new();
    for workload in workloads(graph) {
        for image in workload
            .all_containers()
            .filter_map(|container| container.get("image"))
        {
            if let Some(message) = image.text().and_then(moves) {
                findings.push(Finding::new(&WKL003, image.at, message).about(workload.object));
            }
        }
    }
    findings.extend(in_values(graph));
    findings
}

fn moves(image: &str) -> Option<String> {
    if image.contains("${") || image.contains('@') {
        return None;
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    match name.split_once(':') {
        None => Some(format!("the image {image} has no tag")),
        Some((_, "latest")) => Some(format!("the image {image} has the tag `latest`")),
        Some(_) => None,
    }
}

/// `repository` and `tag: latest` side by side in the values of a chart.
fn in_values(graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for release in graph.helm_releases() {
        let mut open: Vec<&Node> = release.spec(&["values"]).into_iter().collect();
        while let Some(node) = open.pop() {
            let tag = node.get("tag").filter(|tag| tag.text() == Some("latest"));
            if let (Some(tag), Some(repository)) = (tag, node.text_of("repository")) {
                let message = format!("the image {repository} has the tag `latest`");
                findings.push(Finding::new(&WKL003, tag.at, message).about(release));
            }
            open.extend(node.fields().iter().map(|field| &field.node));
            open.extend(node.items());
        }
    }
    findings
}
