//! How a Kustomization is applied: whether it waits, and what it removes.

use crate::finding::{Finding, Severity};
use crate::graph::{Graph, Kustomization};
use crate::rules::{Context, Rule};
use crate::yaml::Value;

/// A choice that is not made.
pub static FLX010: Rule = Rule {
    id: "FLX010",
    title: "a Kustomization says whether it waits for its objects",
    severity: Severity::Info,
    consequence: "nobody can tell whether the order was thought about",
    fix: "write `wait: true` or `wait: false`",
    page: include_str!("../pages/FLX010.md"),
};

/// Objects that stay when they are removed from Git.
pub static FLX011: Rule = Rule {
    id: "FLX011",
    title: "a Kustomization removes what is no longer in Git",
    severity: Severity::Warning,
    consequence: "objects that are taken out of Git stay in the cluster for ever",
    fix: "set `prune: true`",
    page: include_str!("../pages/FLX011.md"),
};

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for kustomization in context.graph.kustomizations.values() {
        findings.extend(undecided(context.graph, kustomization));
        findings.extend(unpruned(kustomization));
    }
    findings
}

fn undecided(graph: &Graph, kustomization: &Kustomization) -> Option<Finding> {
    let is_undecided = kustomization.spec("wait").is_none() && !kustomization.has_health_checks();
    if !is_undecided {
        return None;
    }
    let object = &kustomization.object;
    let dependants = graph.dependants(&kustomization.key()).count();
    if dependants == 0 {
        let message = "the Kustomization does not say whether it waits";
        return Some(Finding::new(&FLX010, object.spec_at(), message).about(object));
    }
    let message = format!(
        "the Kustomization does not wait for its objects, and {dependants} other(s) depend on it"
    );
    let finding = Finding::new(&FLX010, object.spec_at(), message).about(object);
    let finding = finding.severity(Severity::Warning).fix("set `wait: true`");
    Some(finding.consequence("what depends on it begins before its objects work"))
}

fn unpruned(kustomization: &Kustomization) -> Option<Finding> {
    let prune = kustomization.spec("prune")?;
    let object = &kustomization.object;
    let is_off = prune.value == Value::Bool(false);
    is_off.then(|| Finding::new(&FLX011, prune.at, "`prune` is off").about(object))
}
