//! The rules for the helmfile with which a cluster is started, before Flux runs.

use std::collections::{BTreeMap, BTreeSet};

use crate::build::{self, Object};
use crate::finding::{Finding, Severity};
use crate::load::Repository;
use crate::rules::helm::chart;
use crate::rules::{Context, Rule};
use crate::source::Location;
use crate::yaml::Node;

/// A chart that changes as soon as Flux runs.
pub static BOO001: Rule = Rule {
    id: "BOO001",
    title: "the versions in the helmfile are those of the HelmReleases",
    severity: Severity::Warning,
    consequence: "the first run of Flux raises or lowers the chart, of the network for instance, while the cluster starts",
    fix: "write the version of the HelmRelease",
    page: include_str!("pages/BOO001.md"),
};

/// A release that waits for nothing, or for itself.
pub static BOO002: Rule = Rule {
    id: "BOO002",
    title: "what a release of the helmfile needs exists",
    severity: Severity::Error,
    consequence: "the cluster cannot be started",
    fix: "correct the name or the path",
    page: include_str!("pages/BOO002.md"),
};

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let repository = context.repository;
    let mut findings = Vec::new();
    let mut releases = Vec::new();
    for document in &repository.documents {
        let path = &repository.sources.get(document.file).path;
        let is_helmfile =
            path.contains("helmfile.d/") || path.rsplit('/').next() == Some("helmfile.yaml");
        let list = document.root.get("releases").filter(|_| is_helmfile);
        let folder = path.rsplit_once('/').map_or(".", |(folder, _)| folder);
        releases.extend(
            list.map_or(&[][..], Node::items)
                .iter()
                .map(|node| (folder, node)),
        );
    }
    let known: BTreeMap<String, &Node> = releases
        .iter()
        .map(|(_, node)| (name(node), *node))
        .collect();
    for (folder, release) in &releases {
        findings.extend(other_version(context, release));
        findings.extend(absent(&known, release));
        findings.extend(values(repository, folder, release));
    }
    findings.extend(circle(&known));
    findings
}

/// The name by which others need a release: with its namespace, where it has one.
fn name(release: &Node) -> String {
    let name = release.text_of("name").unwrap_or_default();
    match release.text_of("namespace") {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

fn needs(release: &Node) -> &[Node] {
    release.get("needs").map_or(&[][..], Node::items)
}

fn other_version(context: &Context<'_>, release: &Node) -> Option<Finding> {
    let graph = context.graph;
    let written = release.get("version")?;
    let mut all = graph.helm_releases();
    let is_same = |other: &&Object| {
        let namespace = release.text_of("namespace");
        Some(other.name()) == release.text_of("name")
            && namespace.is_none_or(|namespace| namespace == other.namespace())
    };
    let other = all.find(is_same)?;
    let version = chart::version_of(graph, other)?.scalar_text()?;
    let here = written.scalar_text()?;
    let is_other = here.trim_start_matches('v') != version.trim_start_matches('v');
    let message = format!(
        "the helmfile has version {here}, and {} has {version}",
        other.display_name()
    );
    let is_plain = !version.contains(['*', '>', '<', '~', '^', '$']) && !here.contains("{{");
    (is_other && is_plain).then(|| Finding::new(&BOO001, written.at, message))
}

fn absent(known: &BTreeMap<String, &Node>, release: &Node) -> Vec<Finding> {
    let missing = needs(release).iter().filter_map(|need| {
        let text = need.text().filter(|text| !text.contains("{{"))?;
        // A context may stand before the namespace; a name alone is looked for in all of them.
        let is_meant = |name: &String| {
            name == text
                || text.ends_with(&format!("/{name}"))
                || name.ends_with(&format!("/{text}"))
        };
        let message = format!("there is no release {text:?}");
        (!known.keys().any(is_meant)).then(|| Finding::new(&BOO002, need.at, message))
    });
    missing.collect()
}

/// The first circle of releases that need each other.
fn circle(known: &BTreeMap<String, &Node>) -> Option<Finding> {
    let mut finished = BTreeSet::new();
    for start in known.keys() {
        let mut open: Vec<(&str, usize)> = vec![(start, 0)];
        while let Some((name, next)) = open.pop() {
            let Some(need) = known.get(name).and_then(|release| needs(release).get(next)) else {
                finished.insert(name.to_owned());
                continue;
            };
            open.push((name, next + 1));
            let text = need.text().unwrap_or_default();
            if open.iter().any(|(open, _)| *open == text) {
                return Some(in_a_circle(need.at, name, text));
            }
            if known.contains_key(text) && !finished.contains(text) {
                open.push((text, 0));
            }
        }
    }
    None
}

fn in_a_circle(at: Location, from: &str, to: &str) -> Finding {
    let message = format!("{from} needs {to}, which waits for {from}");
    Finding::new(&BOO002, at, message).fix("remove one of the two")
}

fn values(repository: &Repository, folder: &str, release: &Node) -> Vec<Finding> {
    let entries = release.get("values").map_or(&[][..], Node::items);
    let missing = entries.iter().filter_map(|entry| {
        let path = entry.text()?;
        let (folder, rest) = match path.rsplit_once("}}") {
            // A template for the root of the repository.
            Some((template, rest)) if template.contains("ROOT") => {
                (".", rest.trim_start_matches('/'))
            }
            Some(_) => return None,
            None => (folder, path),
        };
        let exists = build::join(folder, rest).is_some_and(|path| repository.exists(&path));
        let message = format!("the file {rest} with values does not exist");
        (!exists).then(|| Finding::new(&BOO002, entry.at, message))
    });
    missing.collect()
}
