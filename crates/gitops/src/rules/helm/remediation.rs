//! What happens when a release fails.

use crate::build::Object;
use crate::finding::{Finding, Severity};
use crate::rules::{Context, Rule};
use crate::yaml::Node;

/// Retries without end.
pub static HR001: Rule = Rule {
    id: "HR001",
    title: "a HelmRelease does not retry for ever",
    severity: Severity::Error,
    consequence: "a release that cannot work is installed and removed without end, and never reported as failed",
    fix: "set a finite number of retries, such as 3",
    page: include_str!("../pages/HR001.md"),
};

/// No retries.
pub static HR002: Rule = Rule {
    id: "HR002",
    title: "a HelmRelease says what happens when it fails",
    severity: Severity::Warning,
    consequence: "the first failure, of whatever kind, stops the release until somebody comes",
    fix: "set `install.remediation.retries` and `upgrade.remediation.retries`, such as 3",
    page: include_str!("../pages/HR002.md"),
};

const ACTIONS: [&str; 2] = ["install", "upgrade"];

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for release in context.graph.helm_releases() {
        findings.extend(ACTIONS.iter().filter_map(|action| endless(release, action)));
        findings.extend(none(release));
    }
    findings
}

fn endless(release: &Object, action: &str) -> Option<Finding> {
    let retries = release.spec(&[action, "remediation", "retries"])?;
    let is_endless = retries
        .to_json()
        .as_i64()
        .is_some_and(|retries| retries < 0);
    let message = format!("a failed {action} is retried for ever");
    is_endless.then(|| Finding::new(&HR001, retries.at, message).about(release))
}

fn none(release: &Object) -> Option<Finding> {
    let says = |action: &&str| {
        let retries = release.spec(&[action, "remediation", "retries"]);
        let retries = retries.and_then(|node| node.to_json().as_i64());
        let strategy = release
            .spec(&[action, "strategy", "name"])
            .and_then(Node::text);
        retries.is_some_and(|retries| retries != 0) || strategy == Some("RetryOnFailure")
    };
    let message = "neither install nor upgrade is tried again after a failure";
    let is_none = !ACTIONS.iter().any(says);
    is_none.then(|| Finding::new(&HR002, release.spec_at(), message).about(release))
}
