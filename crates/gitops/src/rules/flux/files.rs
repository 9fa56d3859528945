//! Files and paths: what is named is there, what is there is used, nothing comes from the network.
//!
//! What is missing is found by building; what is left over is found here.

use std::collections::BTreeSet;

use crate::build::{self, Object};
use crate::finding::{Finding, Severity};
use crate::graph::{Graph, KUSTOMIZE_GROUP, SOURCE_GROUP};
use crate::load::Repository;
use crate::rules::sources::SRC001;
use crate::rules::{Context, Rule};
use crate::yaml::Node;

/// A path that leads nowhere.
pub static FLX014: Rule = Rule {
    id: "FLX014",
    title: "the path of a Kustomization exists and holds something",
    severity: Severity::Error,
    consequence: "the Kustomization is never ready: its path is not found",
    fix: "correct `spec.path`",
    page: include_str!("../pages/FLX014.md"),
};

/// A Kustomization that nothing applies.
pub static FLX015: Rule = Rule {
    id: "FLX015",
    title: "a Kustomization below the path of another one is taken in by it",
    severity: Severity::Error,
    consequence: "neither the Kustomization nor anything of it is ever applied",
    fix: "list the file under `resources` of the kustomization above it",
    page: include_str!("../pages/FLX015.md"),
};

/// A file that a kustomization names and that is not there, or the other way round.
pub static FLX021: Rule = Rule {
    id: "FLX021",
    title: "what a kustomization names is in the repository, and what lies beside it is named",
    severity: Severity::Error,
    consequence: "the build fails, and nothing of the Kustomization is applied",
    fix: "correct the path, or add the file",
    page: include_str!("../pages/FLX021.md"),
};

/// A base or resource on another machine.
pub static FLX022: Rule = Rule {
    id: "FLX022",
    title: "a kustomization needs nothing from the network",
    severity: Severity::Warning,
    consequence: "the build fails while that machine cannot be reached, and runs what it hands out",
    fix: "keep a copy in the repository, or make it a source of its own",
    page: include_str!("../pages/FLX022.md"),
};

/// What is left over.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = unregistered(context.graph);
    findings.extend(unusual_paths(context));
    findings.extend(unused(context));
    findings
}

/// Kustomizations whose path is not where the owner wants it. Those that a cluster is started with have
/// paths of their own.
fn unusual_paths(context: &Context<'_>) -> Vec<Finding> {
    let Some(convention) = &context.settings.conventions.path else {
        return Vec::new();
    };
    let kustomizations = context.graph.objects().map(|(_, object)| object);
    let kustomizations =
        kustomizations.filter(|object| object.is(KUSTOMIZE_GROUP, "Kustomization"));
    let unusual = kustomizations.filter_map(|object| {
        let path = object.spec(&["path"])?;
        let namespace = object.spec(&["targetNamespace"]).and_then(Node::text);
        let namespace = namespace.unwrap_or(object.namespace());
        if convention.fits(path.text()?, namespace, object.name()) {
            return None;
        }
        let message = format!("the path is not of the form {}", convention.pattern());
        Some(
            Finding::new(&FLX014, path.at, message)
                .about(object)
                .severity(Severity::Warning)
                .consequence("it may be the path of something else, copied")
                .fix("correct `spec.path`, or `conventions.path` in .nico.yaml"),
        )
    });
    unusual.collect()
}

fn unregistered(graph: &Graph) -> Vec<Finding> {
    let all = graph.unregistered.iter();
    all.map(|unregistered| {
        let (namespace, name) = &unregistered.below;
        let message = format!(
            "the file lies below the path of Kustomization {namespace}/{name}, and no kustomization there takes it in"
        );
        let object = &unregistered.object;
        Finding::new(&FLX015, object.name_at(), message).about(object)
    })
    .collect()
}

/// Objects in files beside a kustomization that no kustomization names.
fn unused(context: &Context<'_>) -> Vec<Finding> {
    let Context {
        repository, graph, ..
    } = context;
    let folders: BTreeSet<String> = build::folders(repository).into_iter().collect();
    let mut findings = Vec::new();
    let mut last = None;
    for document in &repository.documents {
        if graph.taken_in.contains(&document.file) || last == Some(document.file) {
            continue;
        }
        let path = &repository.sources.get(document.file).path;
        let folder = path.rsplit_once('/').map_or(".", |(folder, _)| folder);
        let Some(object) = Object::new(document.root.clone()).filter(|_| folders.contains(folder))
        else {
            continue;
        };
        let is_reported = graph
            .unregistered
            .iter()
            .any(|other| other.object.node.at.file == document.file);
        if !is_reported && is_below_a_path(repository, graph, folder) {
            last = Some(document.file);
            findings.push(unused_file(&object));
        }
    }
    findings
}

fn unused_file(object: &Object) -> Finding {
    let message = "no kustomization takes in this file, and there is one in its folder";
    let rule = if object.group() == SOURCE_GROUP {
        &SRC001
    } else {
        &FLX021
    };
    let finding = Finding::new(rule, object.name_at(), message).about(object);
    if object.group() == SOURCE_GROUP {
        return finding;
    }
    finding
        .severity(Severity::Warning)
        .consequence("the object is not applied")
        .fix("list the file under `resources`, or remove it")
}

/// Whether the kustomization in a folder is one that Flux builds: what else lies in the repository is
/// for others to use.
fn is_below_a_path(repository: &Repository, graph: &Graph, folder: &str) -> bool {
    let file = build::kustomization_file(repository, folder);
    file.is_some_and(|file| graph.applied.contains(&file))
}
