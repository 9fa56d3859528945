//! Components that wait for a namespace which their user must give.

use crate::build::{self, Object};
use crate::finding::{Finding, Severity};
use crate::load::Repository;
use crate::rules::{Context, Rule};
use crate::yaml::Node;

/// A component whose user gives it no namespace.
pub static FLX020: Rule = Rule {
    id: "FLX020",
    title: "a kustomization gives its namespace to a component that needs one",
    severity: Severity::Error,
    consequence: "a Namespace of the component's placeholder name is made, and the component's objects land in a wrong namespace",
    fix: "add `namespace:` to the kustomization",
    page: include_str!("../pages/FLX020.md"),
};

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let Context {
        repository, graph, ..
    } = context;
    let mut findings = Vec::new();
    for folder in build::folders(repository) {
        let Some(root) = kustomization(repository, &folder) else {
            continue;
        };
        let components = root.get("components").map_or(&[][..], Node::items);
        if root.get("namespace").is_some() || components.is_empty() {
            continue;
        }
        for entry in components {
            let path = entry.text().and_then(|path| build::join(&folder, path));
            let Some(namespace) = path.and_then(|path| placeholder(repository, &path)) else {
                continue;
            };
            // A user of this user may still give one.
            let mut applied = graph.objects().map(|(_, object)| object);
            let is_left = applied.any(|object| {
                object.is("", "Namespace")
                    && object.node.at == namespace.at
                    && object.name() == object.written_name()
            });
            if is_left {
                let message = "the component needs a namespace, and this kustomization gives none";
                findings.push(Finding::new(&FLX020, entry.at, message));
            }
        }
    }
    findings
}

fn kustomization<'a>(repository: &'a Repository, folder: &str) -> Option<&'a Node> {
    let file = build::kustomization_file(repository, folder)?;
    repository
        .documents_of(file)
        .first()
        .map(|document| &document.root)
}

/// The Namespace of a component with other objects that have no namespace of their own.
fn placeholder<'a>(repository: &'a Repository, folder: &str) -> Option<&'a Node> {
    let root = kustomization(repository, folder)?;
    let entries = root.get("resources").map_or(&[][..], Node::items).iter();
    let files = entries.filter_map(|entry| {
        let path = build::join(folder, entry.text()?)?;
        repository.sources.find(&path)
    });
    let documents: Vec<&Node> = files
        .flat_map(|file| repository.documents_of(file))
        .map(|document| &document.root)
        .collect();
    let objects = documents
        .iter()
        .filter_map(|node| Object::new((*node).clone()));
    let mut needing =
        objects.filter(|object| build::is_namespaced(object) && object.namespace().is_empty());
    let is_namespace = |node: &&&Node| {
        node.text_of("kind") == Some("Namespace") && node.text_of("apiVersion") == Some("v1")
    };
    needing.next()?;
    documents.iter().find(is_namespace).copied()
}
