//! The rules for Flux Kustomizations among each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::{Finding, Severity};
use crate::graph::{Graph, Key, Kustomization};

use super::Rule;

/// The rules of this module.
pub const RULES: [&Rule; 5] = [&FLX003, &FLX004, &FLX005, &FLX007, &FLX018];

/// A dependency that nobody makes.
pub static FLX003: Rule = Rule {
    id: "FLX003",
    title: "what a Kustomization depends on exists",
    severity: Severity::Error,
    consequence: "the Kustomization stays DependencyNotReady, and nothing of it is ever applied",
    fix: "correct the name or the namespace of the dependency",
    page: include_str!("pages/FLX003.md"),
};

/// Kustomizations that wait for each other.
pub static FLX004: Rule = Rule {
    id: "FLX004",
    title: "Kustomizations do not wait for each other in a circle",
    severity: Severity::Error,
    consequence: "none of them is ever applied",
    fix: "remove one of the dependencies",
    page: include_str!("pages/FLX004.md"),
};

/// A dependency that is ready before its objects are.
pub static FLX005: Rule = Rule {
    id: "FLX005",
    title: "a Kustomization that others depend on can tell when its objects are ready",
    severity: Severity::Warning,
    consequence: "what depends on it begins as soon as it is applied, before it works",
    fix: "set `wait: true` on the dependency, or give it `healthChecks`",
    page: include_str!("pages/FLX005.md"),
};

/// Health checks that are not looked at.
pub static FLX007: Rule = Rule {
    id: "FLX007",
    title: "`healthChecks` and `wait: true` do not stand together",
    severity: Severity::Warning,
    consequence: "Flux ignores the `healthChecks` and waits for every object",
    fix: "remove `healthChecks`, or set `wait: false`",
    page: include_str!("pages/FLX007.md"),
};

/// A namespace that nobody makes.
pub static FLX018: Rule = Rule {
    id: "FLX018",
    title: "a namespace that is used is made by somebody",
    severity: Severity::Error,
    consequence: "on a new cluster the objects cannot be applied, for their namespace is not there",
    fix: "add a Namespace object, or correct the namespace",
    page: include_str!("pages/FLX018.md"),
};

/// Namespaces that every cluster has, or that Flux's own installation makes.
const GIVEN: [&str; 5] = [
    "default",
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "flux-system",
];

/// What breaks the rules of this module.
pub fn check(graph: &Graph) -> Vec<Finding> {
    let mut findings = missing_namespaces(graph);
    for kustomization in graph.kustomizations.values() {
        findings.extend(dependencies(graph, kustomization));
        findings.extend(ignored_health_checks(kustomization));
    }
    findings.extend(circles(graph));
    findings
}

fn dependencies(graph: &Graph, kustomization: &Kustomization) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ((namespace, name), entry) in kustomization.dependencies() {
        let at = entry.get("name").map_or(entry.at, |name| name.at);
        match graph.kustomizations.get(&(namespace.clone(), name.clone())) {
            None => {
                let message =
                    format!("it depends on Kustomization {namespace}/{name}, which does not exist");
                let finding = Finding::new(&FLX003, at, message).about(&kustomization.object);
                findings.push(match elsewhere(graph, &name) {
                    Some(namespace) => finding.fix(format!(
                        "set `namespace: {namespace}`, where there is one of this name"
                    )),
                    None => finding,
                });
            }
            Some(provider) if !provider.signals_readiness() => {
                let message = format!(
                    "it depends on Kustomization {namespace}/{name}, which has neither `wait` nor `healthChecks`"
                );
                findings.push(Finding::new(&FLX005, at, message).about(&kustomization.object));
            }
            Some(_) => {}
        }
    }
    findings
}

/// The only namespace with a Kustomization of this name.
fn elsewhere(graph: &Graph, name: &str) -> Option<String> {
    let mut namespaces = graph
        .kustomizations
        .keys()
        .filter(|(_, known)| known == name);
    let (namespace, _) = namespaces.next()?;
    namespaces.next().is_none().then(|| namespace.clone())
}

fn ignored_health_checks(kustomization: &Kustomization) -> Option<Finding> {
    let field = kustomization
        .object
        .node
        .get("spec")?
        .field("healthChecks")?;
    let message = "`healthChecks` stands beside `wait: true`";
    let is_ignored = kustomization.waits() && !field.node.items().is_empty();
    is_ignored.then(|| Finding::new(&FLX007, field.key_at, message).about(&kustomization.object))
}

fn missing_namespaces(graph: &Graph) -> Vec<Finding> {
    let made: BTreeSet<&str> = graph
        .objects()
        .filter(|(_, object)| object.kind() == "Namespace" && object.group().is_empty())
        .map(|(_, object)| object.name())
        .chain(GIVEN)
        .collect();
    let mut missing = BTreeMap::new();
    for (_, object) in graph.objects() {
        let used = object.node.path(&["metadata", "namespace"]);
        let target = object.node.path(&["spec", "targetNamespace"]);
        for node in [used, target].into_iter().flatten() {
            let namespace = node
                .text()
                .filter(|name| !name.is_empty() && !made.contains(name));
            if let Some(namespace) = namespace {
                missing.entry(namespace).or_insert((node.at, object));
            }
        }
    }
    let findings = missing.into_iter().map(|(namespace, (at, object))| {
        Finding::new(
            &FLX018,
            at,
            format!("no Namespace object makes the namespace {namespace:?}"),
        )
        .about(object)
    });
    findings.collect()
}

/// One finding for each circle, on its first Kustomization.
fn circles(graph: &Graph) -> Vec<Finding> {
    let mut finished = BTreeSet::new();
    let mut findings = Vec::new();
    for start in graph.kustomizations.keys() {
        let Some(circle) = circle_from(graph, start, &mut finished) else {
            continue;
        };
        let names: Vec<_> = circle
            .iter()
            .map(|(namespace, name)| format!("{namespace}/{name}"))
            .collect();
        let first = &graph.kustomizations[&circle[0]];
        let next = circle.get(1).unwrap_or(&circle[0]);
        let entry = first.dependencies().find(|(key, _)| key == next);
        let at = entry.map_or(first.object.node.at, |(_, entry)| entry.at);
        let message = format!(
            "it waits for itself: {} -> {}",
            names.join(" -> "),
            names[0]
        );
        findings.push(Finding::new(&FLX004, at, message).about(&first.object));
    }
    findings
}

/// A circle that is reached from `start` and has nothing to do with what is finished. Depth first,
/// without recursion.
fn circle_from(graph: &Graph, start: &Key, finished: &mut BTreeSet<Key>) -> Option<Vec<Key>> {
    let mut path: Vec<(Key, Vec<Key>)> = Vec::new();
    let mut circle = None;
    let open = |key: &Key| {
        let known = graph.kustomizations.get(key);
        let next = known.map(|known| known.dependencies().map(|(key, _)| key).collect());
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
