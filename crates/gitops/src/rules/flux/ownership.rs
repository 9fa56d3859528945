//! Ownership: each object has one Kustomization.

use std::collections::{BTreeSet, HashMap};

use crate::build::{Id, Object};
use crate::finding::{Finding, Severity};
use crate::graph::{Graph, Key, Kustomization};
use crate::rules::{Context, Rule};
use crate::yaml::Node;

/// An object with two owners.
pub static FLX016: Rule = Rule {
    id: "FLX016",
    title: "an object is applied by one Kustomization",
    severity: Severity::Error,
    consequence: "the two change it back and forth, and removing one of them removes the object of the other",
    fix: "leave the object to one of the two",
    page: include_str!("../pages/FLX016.md"),
};

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let graph = context.graph;
    let (mut findings, same) = same_path(graph);
    let mut owners: HashMap<Id, &Kustomization> = HashMap::new();
    for (kustomization, object) in graph.objects() {
        // Variables may make two objects of one name.
        if object.name().contains("${") || object.namespace().contains("${") {
            continue;
        }
        let Some(owner) = owners.insert(object.id(), kustomization) else {
            continue;
        };
        let pair = (owner.key(), kustomization.key());
        if owner.key() != kustomization.key() && !same.contains(&pair) {
            findings.push(two_owners(owner, object));
        }
    }
    findings
}

fn two_owners(owner: &Kustomization, object: &Object) -> Finding {
    let (namespace, name) = owner.key();
    let message = format!("Kustomization {namespace}/{name} applies this object too");
    Finding::new(&FLX016, object.name_at(), message).about(object)
}

/// Kustomizations of one path into one namespace: one finding for all their objects.
fn same_path(graph: &Graph) -> (Vec<Finding>, BTreeSet<(Key, Key)>) {
    let mut findings = Vec::new();
    let mut pairs = BTreeSet::new();
    let mut known: HashMap<(String, String), &Kustomization> = HashMap::new();
    for kustomization in graph.kustomizations.values().filter(|known| known.is_here) {
        let text = |key| {
            kustomization
                .spec(key)
                .and_then(Node::text)
                .unwrap_or_default()
        };
        let path = text("path")
            .trim_start_matches("./")
            .trim_end_matches('/')
            .to_owned();
        let target = text("targetNamespace").to_owned();
        // Patches, variables and the like may make other objects of the same files.
        let is_changed = ["patches", "postBuild", "components"]
            .iter()
            .any(|field| kustomization.spec(field).is_some());
        let Some(other) = known.insert((path, target), kustomization) else {
            continue;
        };
        if is_changed
            && kustomization
                .objects
                .iter()
                .all(|object| !makes(other, object))
        {
            continue;
        }
        pairs.insert((other.key(), kustomization.key()));
        let (namespace, name) = other.key();
        let message =
            format!("Kustomization {namespace}/{name} applies this path into the same namespace");
        let object = &kustomization.object;
        let finding = Finding::new(&FLX016, object.spec_field_at("path"), message).about(object);
        findings.push(finding.fix("correct the path, or remove one of the two"));
    }
    (findings, pairs)
}

fn makes(kustomization: &Kustomization, object: &Object) -> bool {
    let id = object.id();
    kustomization.objects.iter().any(|object| object.id() == id)
}
