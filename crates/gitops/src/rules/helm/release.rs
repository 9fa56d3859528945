//! The names that Helm gives to releases.

use std::collections::HashMap;

use crate::build::Object;
use crate::finding::{Finding, Severity};
use crate::rules::{Context, Rule};
use crate::yaml::Node;

/// A release name that is too long or taken.
pub static HR006: Rule = Rule {
    id: "HR006",
    title: "the name of a release is short enough, and used once",
    severity: Severity::Error,
    consequence: "Helm refuses the release, or two HelmReleases overwrite each other",
    fix: "set another `releaseName`",
    page: include_str!("../pages/HR006.md"),
};

/// Helm's limit.
const MAX_NAME: usize = 53;

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut known: HashMap<(String, String), &Object> = HashMap::new();
    for release in context.graph.helm_releases() {
        let name = name(release);
        if name.contains("${") {
            continue;
        }
        findings.extend(too_long(release, &name));
        let key = (storage_namespace(release).to_owned(), name.clone());
        if let Some(other) = known
            .insert(key, release)
            .filter(|other| other.id() != release.id())
        {
            let message = format!(
                "{} makes a release {name:?} in the same namespace",
                other.display_name()
            );
            let at = written(release).map_or(release.name_at(), |node| node.at);
            findings.push(Finding::new(&HR006, at, message).about(release));
        }
    }
    findings
}

fn written(release: &Object) -> Option<&Node> {
    release.spec(&["releaseName"])
}

/// The name of the release, before Flux makes it shorter.
fn name(release: &Object) -> String {
    if let Some(name) = written(release).and_then(Node::text) {
        return name.to_owned();
    }
    match release.spec(&["targetNamespace"]).and_then(Node::text) {
        Some(target) => format!("{target}-{}", release.name()),
        None => release.name().to_owned(),
    }
}

fn storage_namespace(release: &Object) -> &str {
    let storage = release.spec(&["storageNamespace"]).and_then(Node::text);
    storage.unwrap_or(release.namespace())
}

fn too_long(release: &Object, name: &str) -> Option<Finding> {
    let length = name.len();
    if length <= MAX_NAME {
        return None;
    }
    let message =
        format!("the release name {name:?} has {length} characters; Helm takes {MAX_NAME}");
    if let Some(node) = written(release) {
        return Some(Finding::new(&HR006, node.at, message).about(release));
    }
    let finding = Finding::new(&HR006, release.name_at(), message).about(release);
    let finding = finding
        .severity(Severity::Warning)
        .fix("set a shorter `releaseName`");
    Some(finding.consequence(
        "Flux cuts the name and adds a hash, and nobody finds the release by its name",
    ))
}
