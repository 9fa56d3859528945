//! Namespaces: each one is made by somebody, is not removed by accident, and is where it seems to be.

use std::collections::{BTreeMap, BTreeSet};

use crate::build::Object;
use crate::finding::{Finding, Severity};
use crate::graph::{Graph, HELM_GROUP, KUSTOMIZE_GROUP, Kustomization, SOURCE_GROUP};
use crate::rules::{Context, Rule};
use crate::yaml::{Node, Value};

/// A namespace in a file that is not the object's.
pub static FLX017: Rule = Rule {
    id: "FLX017",
    title: "a Flux object is in the namespace that its file says",
    severity: Severity::Warning,
    consequence: "who reads the file looks for its sources and dependencies in the wrong namespace",
    fix: "write the namespace that the kustomization gives it, or leave the field out",
    page: include_str!("../pages/FLX017.md"),
};

/// A namespace that nobody makes.
pub static FLX018: Rule = Rule {
    id: "FLX018",
    title: "a namespace that is used is made by somebody",
    severity: Severity::Error,
    consequence: "on a new cluster the objects cannot be applied, for their namespace is not there",
    fix: "add a Namespace object, or correct the namespace",
    page: include_str!("../pages/FLX018.md"),
};

/// A namespace that goes with its Kustomization.
pub static FLX019: Rule = Rule {
    id: "FLX019",
    title: "a Namespace is kept when its Kustomization is removed",
    severity: Severity::Warning,
    consequence: "removing the Kustomization removes the namespace with everything in it, also what others have put there",
    fix: "annotate it with `kustomize.toolkit.fluxcd.io/prune: disabled`",
    page: include_str!("../pages/FLX019.md"),
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
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let graph = context.graph;
    let mut findings = missing(graph);
    for (kustomization, object) in graph.objects() {
        findings.extend(moved(object));
        findings.extend(removed_with(kustomization, object));
    }
    findings
}

fn moved(object: &Object) -> Option<Finding> {
    let is_flux = [HELM_GROUP, KUSTOMIZE_GROUP, SOURCE_GROUP].contains(&object.group());
    let written = object.written_namespace().filter(|_| is_flux)?;
    let message = format!(
        "the file says namespace {:?}, and the kustomization puts the object into {:?}",
        written.text()?,
        object.namespace()
    );
    Some(Finding::new(&FLX017, written.at, message).about(object))
}

fn removed_with(kustomization: &Kustomization, object: &Object) -> Option<Finding> {
    let prunes = kustomization.spec("prune")?.value == Value::Bool(true);
    let keeps =
        |field| object.metadata(field, "kustomize.toolkit.fluxcd.io/prune") == Some("disabled");
    let is_kept = !prunes || keeps("annotations") || keeps("labels");
    let is_namespace = object.is("", "Namespace") && !GIVEN.contains(&object.name());
    let message = "the Namespace may be pruned";
    // Its name may be written in a kustomization; the annotation belongs here.
    let at = object
        .node
        .field("metadata")
        .map_or(object.node.at, |field| field.key_at);
    (is_namespace && !is_kept).then(|| Finding::new(&FLX019, at, message).about(object))
}

fn missing(graph: &Graph) -> Vec<Finding> {
    let namespaces = graph.objects().map(|(_, object)| object);
    let namespaces = namespaces.filter(|object| object.is("", "Namespace"));
    let made: BTreeSet<&str> = namespaces
        .map(Object::name)
        .chain(graph.helm_releases().filter_map(created_by))
        .chain(GIVEN)
        .collect();
    let mut missing = BTreeMap::new();
    for (_, object) in graph.objects() {
        let used = object.node.path(&["metadata", "namespace"]);
        let target = object.spec(&["targetNamespace"]);
        for node in [used, target].into_iter().flatten() {
            let namespace = node
                .text()
                .filter(|name| !name.is_empty() && !name.contains("${") && !made.contains(name));
            if let Some(namespace) = namespace {
                missing.entry(namespace).or_insert((node.at, object));
            }
        }
    }
    let findings = missing.into_iter().map(|(namespace, (at, object))| {
        let message = format!("no Namespace object makes the namespace {namespace:?}");
        Finding::new(&FLX018, at, message).about(object)
    });
    findings.collect()
}

/// The namespace that a HelmRelease makes for itself.
fn created_by(release: &Object) -> Option<&str> {
    let creates = release.spec(&["install", "createNamespace"])?;
    let target = release.spec(&["targetNamespace"]).and_then(Node::text);
    target.filter(|_| creates.value == Value::Bool(true))
}
