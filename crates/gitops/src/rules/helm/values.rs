//! Values: where they come from, and whether the chart knows them.

use crate::build::{self, Object};
use crate::finding::{Finding, Severity};
use crate::graph::Graph;
use crate::load::{self, Repository};
use crate::rules::{Context, Rule};
use crate::source::FileId;
use crate::yaml::Node;

/// Values from an object that nobody makes.
pub static HR007: Rule = Rule {
    id: "HR007",
    title: "the ConfigMaps and Secrets of `valuesFrom` exist",
    severity: Severity::Warning,
    consequence: "the HelmRelease is not ready before somebody makes the object",
    fix: "correct the name, add the object, or mark the entry `optional`",
    page: include_str!("../pages/HR007.md"),
};

/// Values that the chart does not know.
pub static HR008: Rule = Rule {
    id: "HR008",
    title: "each value is one that the chart has",
    severity: Severity::Warning,
    consequence: "Helm ignores the value without a word",
    fix: "correct the name of the value",
    page: include_str!("../pages/HR008.md"),
};

/// The values of a release, as far as they are written in the repository.
pub struct Values {
    /// Inline values, and those of ConfigMaps.
    pub parts: Vec<Node>,
    /// Whether there are no others.
    pub is_complete: bool,
}

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let Context {
        repository, graph, ..
    } = context;
    let mut findings = Vec::new();
    for release in graph.helm_releases() {
        findings.extend(missing(graph, release));
        findings.extend(unknown(repository, graph, release));
    }
    findings
}

/// The values of a release. Parts from ConfigMaps have no places.
pub fn values(graph: &Graph, release: &Object) -> Values {
    let inline = release.spec(&["values"]).filter(|values| !values.is_null());
    let mut values = Values {
        parts: inline.cloned().into_iter().collect(),
        is_complete: true,
    };
    for entry in release.spec(&["valuesFrom"]).map_or(&[][..], Node::items) {
        let part = values_of(graph, release, entry);
        values.is_complete &= part.is_some();
        values.parts.extend(part);
    }
    values
}

fn values_of(graph: &Graph, release: &Object, entry: &Node) -> Option<Node> {
    let kind = entry.text_of("kind").filter(|kind| *kind == "ConfigMap")?;
    let object = graph.find("", kind, release.namespace(), entry.text_of("name")?)?;
    let key = entry.text_of("valuesKey").unwrap_or("values.yaml");
    let text = object.node.path(&["data", key])?.text()?;
    let parsed = load::parse(FileId::default(), text);
    parsed
        .documents
        .into_iter()
        .next()
        .filter(|_| parsed.findings.is_empty() && entry.get("targetPath").is_none())
}

fn missing(graph: &Graph, release: &Object) -> Vec<Finding> {
    let entries = release.spec(&["valuesFrom"]).map_or(&[][..], Node::items);
    let missing = entries.iter().filter_map(|entry| {
        let (kind, name) = (entry.text_of("kind")?, entry.text_of("name")?);
        let is_optional = entry.get("optional").and_then(Node::scalar_text) == Some("true");
        let exists = is_made(graph, kind, release.namespace(), name);
        if is_optional || exists || name.contains("${") {
            return None;
        }
        let message = format!("nothing makes {kind} {}/{name}", release.namespace());
        let at = entry.get("name").map_or(entry.at, |name| name.at);
        Some(Finding::new(&HR007, at, message).about(release))
    });
    missing.collect()
}

/// Whether an object of the repository is, or makes, this ConfigMap or Secret.
pub fn is_made(graph: &Graph, kind: &str, namespace: &str, name: &str) -> bool {
    let target = |object: &Object| {
        let target = object.spec(&["target", "name"]).and_then(Node::text);
        target.unwrap_or(object.name()).to_owned()
    };
    let made_by = |object: &Object| match (object.group(), object.kind()) {
        ("external-secrets.io", "ExternalSecret") => target(object) == name,
        ("bitnami.com", "SealedSecret") => object.name() == name,
        ("cert-manager.io", "Certificate") => {
            object.spec(&["secretName"]).and_then(Node::text) == Some(name)
        }
        _ => false,
    };
    graph.find("", kind, namespace, name).is_some()
        || kind == "Secret"
            && graph
                .objects()
                .any(|(_, object)| object.namespace() == namespace && made_by(object))
}

/// Values at the root that a chart in this repository does not have.
fn unknown(repository: &Repository, graph: &Graph, release: &Object) -> Vec<Finding> {
    let Some(chart) = chart_folder(repository, graph, release) else {
        return Vec::new();
    };
    let document = |name: &str| {
        let file = repository.sources.find(&format!("{chart}/{name}"))?;
        repository
            .documents_of(file)
            .first()
            .map(|document| &document.root)
    };
    let Some(defaults) = document("values.yaml") else {
        return Vec::new();
    };
    let dependencies = document("Chart.yaml").and_then(|chart| chart.get("dependencies"));
    let dependencies = dependencies.map_or(&[][..], Node::items);
    let is_known = |key: &str| {
        let is_chart = |dependency: &Node| {
            ["name", "alias"]
                .iter()
                .any(|field| dependency.text_of(field) == Some(key))
        };
        key == "global" || defaults.get(key).is_some() || dependencies.iter().any(is_chart)
    };
    let values = release.spec(&["values"]).map_or(&[][..], Node::fields);
    let unknown = values.iter().filter(|field| !is_known(&field.key));
    unknown
        .map(|field| {
            let message = format!("the chart in {chart} has no value `{}`", field.key);
            Finding::new(&HR008, field.key_at, message).about(release)
        })
        .collect()
}

/// The folder of the chart, where it is in this repository.
pub fn chart_folder(repository: &Repository, graph: &Graph, release: &Object) -> Option<String> {
    let chart = release.spec(&["chart", "spec"])?;
    let source = crate::graph::source_name(release, chart.get("sourceRef")?);
    let is_here = graph.root_sources.contains(&source);
    let folder = build::join(".", chart.text_of("chart")?)?;
    let path = format!("{folder}/Chart.yaml");
    (is_here && repository.sources.find(&path).is_some()).then_some(folder)
}
