//! Dependencies: what is waited for exists, ends, and can tell when it is ready.

use std::collections::{BTreeMap, BTreeSet};

use crate::build::Object;
use crate::finding::{Finding, Severity};
use crate::graph::{self, Graph, Key, Kustomization, key_of};
use crate::rules::{Context, Rule};
use crate::source::Location;
use crate::yaml::Node;

/// A dependency that nobody makes.
pub static FLX003: Rule = Rule {
    id: "FLX003",
    title: "what a Kustomization or HelmRelease depends on exists",
    severity: Severity::Error,
    consequence: "it stays DependencyNotReady, and nothing of it is ever applied",
    fix: "correct the name or the namespace of the dependency",
    page: include_str!("../pages/FLX003.md"),
};

/// Objects that wait for each other.
pub static FLX004: Rule = Rule {
    id: "FLX004",
    title: "Kustomizations, and HelmReleases, do not wait for each other in a circle",
    severity: Severity::Error,
    consequence: "none of them is ever applied",
    fix: "remove one of the dependencies",
    page: include_str!("../pages/FLX004.md"),
};

/// A dependency that is ready before its objects are.
pub static FLX005: Rule = Rule {
    id: "FLX005",
    title: "a Kustomization that others depend on can tell when its objects are ready",
    severity: Severity::Warning,
    consequence: "what depends on it begins as soon as it is applied, before it works",
    fix: "set `wait: true` on the dependency, or give it `healthChecks`",
    page: include_str!("../pages/FLX005.md"),
};

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let graph = context.graph;
    let kustomizations = graph
        .kustomizations
        .values()
        .map(|known| (known.key(), &known.object));
    let releases = graph
        .helm_releases()
        .map(|release| (key_of(release), release));
    let mut findings = Vec::new();
    for objects in [
        Objects::from_iter(kustomizations),
        Objects::from_iter(releases),
    ] {
        for object in objects.values() {
            findings.extend(dangling(&objects, object));
        }
        findings.extend(circles(&objects));
    }
    for kustomization in graph.kustomizations.values() {
        findings.extend(weak(graph, kustomization));
    }
    findings
}

/// The objects of a kind, among which dependencies are looked for.
type Objects<'a> = BTreeMap<Key, &'a Object>;

fn dangling(objects: &Objects<'_>, object: &Object) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, entry) in graph::dependencies(object) {
        if objects.contains_key(&key) || key.1.contains("${") {
            continue;
        }
        let (namespace, name) = &key;
        let kind = object.kind();
        let message = format!("it depends on {kind} {namespace}/{name}, which does not exist");
        let finding = Finding::new(&FLX003, name_of(entry), message).about(object);
        findings.push(match elsewhere(objects, name) {
            Some(namespace) => finding.fix(format!(
                "set `namespace: {namespace}`, where there is one of this name"
            )),
            None => finding,
        });
    }
    findings
}

fn weak(graph: &Graph, kustomization: &Kustomization) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, entry) in kustomization.dependencies() {
        let provider = graph.kustomizations.get(&key);
        if provider.is_some_and(|provider| !provider.signals_readiness()) {
            let (namespace, name) = &key;
            let message = format!(
                "it depends on Kustomization {namespace}/{name}, which has neither `wait` nor `healthChecks`"
            );
            let finding = Finding::new(&FLX005, name_of(entry), message);
            findings.push(finding.about(&kustomization.object));
        }
    }
    findings
}

fn name_of(entry: &Node) -> Location {
    entry.get("name").map_or(entry.at, |name| name.at)
}

/// The only namespace with an object of this name.
fn elsewhere(objects: &Objects<'_>, name: &str) -> Option<String> {
    let mut namespaces = objects.keys().filter(|(_, known)| known == name);
    let (namespace, _) = namespaces.next()?;
    namespaces.next().is_none().then(|| namespace.clone())
}

/// One finding for each circle, on its first object.
fn circles(objects: &Objects<'_>) -> Vec<Finding> {
    let mut finished = BTreeSet::new();
    let mut findings = Vec::new();
    for start in objects.keys() {
        let Some(circle) = circle_from(objects, start, &mut finished) else {
            continue;
        };
        let names: Vec<_> = circle
            .iter()
            .map(|(namespace, name)| format!("{namespace}/{name}"))
            .collect();
        let first = objects[&circle[0]];
        let next = circle.get(1).unwrap_or(&circle[0]);
        let entry = graph::dependencies(first).find(|(key, _)| key == next);
        let at = entry.map_or(first.node.at, |(_, entry)| name_of(entry));
        let message = format!(
            "it waits for itself: {} -> {}",
            names.join(" -> "),
            names[0]
        );
        findings.push(Finding::new(&FLX004, at, message).about(first));
    }
    findings
}

/// A circle that is reached from `start` and has nothing to do with what is finished. Depth first,
/// without recursion.
fn circle_from(
    objects: &Objects<'_>,
    start: &Key,
    finished: &mut BTreeSet<Key>,
) -> Option<Vec<Key>> {
    let mut path: Vec<(Key, Vec<Key>)> = Vec::new();
    let mut circle = None;
    let open = |key: &Key| {
        let known = objects.get(key);
        let next = known.map(|known| graph::dependencies(known).map(|(key, _)| key).collect());
        (key.clone(), next.unwrap_or_default())
    };
    if !finished.contains(start) {
        path.push(open(start));
    }
    while let Some((key, next)) = path.last_mut() {
        let Some(next) = next.pop() else {
            finished.insert(key.clone());
            path.pop();
            continue;
        };
        if let Some(begin) = path.iter().position(|(open, _)| *open == next) {
            circle
                .get_or_insert_with(|| path[begin..].iter().map(|(key, _)| key.clone()).collect());
        } else if !finished.contains(&next) {
            path.push(open(&next));
        }
    }
    circle
}
