//! Sources: what a Kustomization or HelmRelease is made from exists.

use crate::build::Object;
use crate::finding::{Finding, Severity};
use crate::graph::{Graph, SOURCE_GROUP, SourceName, source_name};
use crate::rules::{Context, Rule};
use crate::yaml::{Field, Node};

/// A source that nobody makes.
pub static FLX001: Rule = Rule {
    id: "FLX001",
    title: "the source of a Kustomization or HelmRelease exists",
    severity: Severity::Error,
    consequence: "the object is never ready: its source is not found",
    fix: "correct the kind, name or namespace of the source",
    page: include_str!("../pages/FLX001.md"),
};

/// A source in another namespace, without that namespace.
pub static FLX002: Rule = Rule {
    id: "FLX002",
    title: "a `sourceRef` names the namespace of its source, where that is not its own",
    severity: Severity::Warning,
    consequence: "the source is looked for in the namespace of the object itself, and is not there",
    fix: "write the namespace of the source",
    page: include_str!("../pages/FLX002.md"),
};

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let graph = context.graph;
    let mut findings = Vec::new();
    for kustomization in graph.kustomizations.values() {
        let object = &kustomization.object;
        findings.extend(look_up(graph, object, &["sourceRef"]));
    }
    for release in graph.helm_releases() {
        findings.extend(look_up(graph, release, &["chart", "spec", "sourceRef"]));
        findings.extend(look_up(graph, release, &["chartRef"]));
    }
    findings
}

fn look_up(graph: &Graph, object: &Object, path: &[&str]) -> Vec<Finding> {
    let Some((last, parents)) = path.split_last() else {
        return Vec::new();
    };
    let parent = object.spec(parents);
    let Some(field) = parent.and_then(|parent| parent.field(last)) else {
        return Vec::new();
    };
    let source = source_name(object, &field.node);
    // What is incomplete is for the schema to say; what has variables is only known in the cluster.
    let is_unclear = source.name.is_empty() || source.kind.is_empty() || source.name.contains("${");
    if is_unclear || exists(graph, &source) {
        return Vec::new();
    }
    let elsewhere = elsewhere(graph, &source);
    let mut findings = vec![missing(
        graph,
        object,
        &field.node,
        &source,
        elsewhere.as_deref(),
    )];
    if field.node.text_of("namespace").is_none()
        && let Some(namespace) = elsewhere
    {
        findings.push(without_namespace(object, field, &namespace));
    }
    findings
}

fn missing(
    graph: &Graph,
    object: &Object,
    reference: &Node,
    source: &SourceName,
    elsewhere: Option<&str>,
) -> Finding {
    let SourceName {
        kind,
        namespace,
        name,
    } = source;
    let at = reference.get("name").map_or(reference.at, |name| name.at);
    let message = format!("the source {kind} {namespace}/{name} does not exist");
    let mut finding = Finding::new(&FLX001, at, message).about(object);
    if let Some(elsewhere) = elsewhere {
        finding = finding.fix(format!(
            "set `namespace: {elsewhere}`, where there is one of this name"
        ));
    } else if graph.has_foreign() {
        finding = finding
            .severity(Severity::Warning)
            .consequence("the object is never ready, unless another repository makes the source");
    }
    finding
}

fn without_namespace(object: &Object, field: &Field, namespace: &str) -> Finding {
    let message = format!(
        "without a namespace, the source is looked for in {:?}; it is in {namespace:?}",
        object.namespace()
    );
    let fix = format!("add `namespace: {namespace}`");
    Finding::new(&FLX002, field.key_at, message)
        .about(object)
        .fix(fix)
}

fn exists(graph: &Graph, source: &SourceName) -> bool {
    let SourceName {
        kind,
        namespace,
        name,
    } = source;
    graph.find(SOURCE_GROUP, kind, namespace, name).is_some() || graph.root_sources.contains(source)
}

/// The only namespace with a source of this kind and name.
fn elsewhere(graph: &Graph, source: &SourceName) -> Option<String> {
    let objects = graph.objects().map(|(_, object)| object);
    let mut namespaces: Vec<&str> = objects
        .filter(|object| object.is(SOURCE_GROUP, &source.kind) && object.name() == source.name)
        .map(Object::namespace)
        .collect();
    let roots = graph.root_sources.iter();
    let roots = roots.filter(|root| root.kind == source.kind && root.name == source.name);
    namespaces.extend(roots.map(|root| root.namespace.as_str()));
    namespaces.sort_unstable();
    namespaces.dedup();
    match namespaces[..] {
        [only] => Some(only.to_owned()),
        _ => None,
    }
}
