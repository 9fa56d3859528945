//! The rules for HelmReleases.

use crate::finding::{Finding, Severity};
use crate::graph::Graph;
use crate::yaml::Node;

use super::Rule;

/// The rules of this module.
pub const RULES: [&Rule; 1] = [&HR001];

/// Retries without end.
pub static HR001: Rule = Rule {
    id: "HR001",
    title: "a HelmRelease does not retry for ever",
    severity: Severity::Error,
    consequence: "a release that cannot work is installed and removed without end, and never reported as failed",
    fix: "set a finite number of retries, such as 3",
    page: include_str!("pages/HR001.md"),
};

/// What breaks the rules of this module.
pub fn check(graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for release in graph.helm_releases() {
        for action in ["install", "upgrade"] {
            let retries = release
                .node
                .path(&["spec", action, "remediation", "retries"]);
            let is_endless = |retries: &&Node| {
                retries
                    .to_json()
                    .as_i64()
                    .is_some_and(|retries| retries < 0)
            };
            if let Some(retries) = retries.filter(is_endless) {
                let message = format!("a failed {action} is retried for ever");
                findings.push(Finding::new(&HR001, retries.at, message).about(release));
            }
        }
    }
    findings
}
