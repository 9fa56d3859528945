//! What Flux would apply, seen as a whole: every Kustomization that is reached, and its objects.
//!
//! A Kustomization's namespace is the one that it has after it was built by its parent; that is the
//! one by which dependencies and sources are found. Kustomizations are reached from the files that no
//! kustomization takes in, as those that a cluster is started with.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::build::{self, Build, Object};
use crate::finding::Finding;
use crate::load::Repository;
use crate::yaml::Node;

/// The API group of Flux Kustomizations.
const KUSTOMIZE_GROUP: &str = "kustomize.toolkit.fluxcd.io";

/// The API group of HelmReleases.
const HELM_GROUP: &str = "helm.toolkit.fluxcd.io";

/// A namespace and a name.
pub type Key = (String, String);

/// The Kustomizations of a repository and what they make.
#[derive(Debug, Default)]
pub struct Graph {
    /// By namespace and name.
    pub kustomizations: BTreeMap<Key, Kustomization>,
    /// What was wrong while building them.
    pub findings: Vec<Finding>,
}

/// A Flux Kustomization.
#[derive(Debug)]
pub struct Kustomization {
    /// The object, as its parent makes it.
    pub object: Object,
    /// The objects that it makes. Empty where its path is not in this repository.
    pub objects: Vec<Object>,
}

impl Graph {
    /// Follows all Kustomizations, beginning with those that no kustomization takes in.
    pub fn new(repository: &Repository) -> Self {
        let mut graph = Self::default();
        let roots = roots(repository).into_iter();
        let mut waiting: VecDeque<_> = roots.map(|root| (source(&root), root)).collect();
        while let Some((own_source, object)) = waiting.pop_front() {
            let key = (object.namespace().to_owned(), object.name().to_owned());
            if graph.kustomizations.contains_key(&key) {
                continue;
            }
            // What comes from another repository is not here.
            let is_here = source(&object) == own_source;
            let built = if is_here {
                build::build_flux(repository, &object)
            } else {
                Build::default()
            };
            let children = built
                .objects
                .iter()
                .filter(|object| is_kustomization(object));
            waiting.extend(children.map(|child| (own_source.clone(), child.clone())));
            graph.findings.extend(built.findings);
            let objects = built.objects;
            graph
                .kustomizations
                .insert(key, Kustomization { object, objects });
        }
        graph
    }

    /// Every object that is applied, with the Kustomization that makes it.
    pub fn objects(&self) -> impl Iterator<Item = (&Kustomization, &Object)> {
        let all = self.kustomizations.values();
        all.flat_map(|kustomization| {
            kustomization
                .objects
                .iter()
                .map(move |object| (kustomization, object))
        })
    }

    /// Every HelmRelease.
    pub fn helm_releases(&self) -> impl Iterator<Item = &Object> {
        let objects = self.objects().map(|(_, object)| object);
        objects.filter(|object| object.kind() == "HelmRelease" && object.group() == HELM_GROUP)
    }
}

impl Kustomization {
    /// A part of its specification.
    pub fn spec(&self, key: &str) -> Option<&Node> {
        self.object.node.path(&["spec", key])
    }

    /// What it waits for: the namespace and name, and where that is written.
    pub fn dependencies(&self) -> impl Iterator<Item = (Key, &Node)> {
        dependencies(&self.object)
    }

    /// Whether `wait` is true.
    pub fn waits(&self) -> bool {
        let wait = self.spec("wait");
        wait.and_then(Node::scalar_text) == Some("true")
    }

    /// Whether it can be ready only when its objects are.
    pub fn signals_readiness(&self) -> bool {
        let has_checks = self
            .spec("healthChecks")
            .is_some_and(|checks| !checks.items().is_empty());
        self.waits() || has_checks
    }
}

/// What a Kustomization or HelmRelease waits for. Without a namespace, it is the object's own.
pub fn dependencies(object: &Object) -> impl Iterator<Item = (Key, &Node)> {
    let entries = object.node.path(&["spec", "dependsOn"]);
    entries
        .map_or(&[][..], Node::items)
        .iter()
        .filter_map(|entry| {
            let namespace = entry
                .text_of("namespace")
                .filter(|namespace| !namespace.is_empty());
            let namespace = namespace.unwrap_or(object.namespace()).to_owned();
            Some(((namespace, entry.text_of("name")?.to_owned()), entry))
        })
}

/// Kind, namespace and name of the source.
fn source(object: &Object) -> (String, String, String) {
    let reference = object.node.path(&["spec", "sourceRef"]);
    let text = |key| {
        reference
            .and_then(|reference| reference.text_of(key))
            .filter(|text| !text.is_empty())
    };
    (
        text("kind").unwrap_or_default().to_owned(),
        text("namespace").unwrap_or(object.namespace()).to_owned(),
        text("name").unwrap_or_default().to_owned(),
    )
}

fn is_kustomization(object: &Object) -> bool {
    object.kind() == "Kustomization" && object.group() == KUSTOMIZE_GROUP
}

/// The Kustomizations in files that no kustomization takes in.
fn roots(repository: &Repository) -> Vec<Object> {
    let folders = build::folders(repository);
    let taken_in: BTreeSet<_> = folders
        .iter()
        .filter_map(|folder| build::build(repository, folder))
        .flat_map(|build| build.files)
        .collect();
    let documents = repository.documents.iter();
    documents
        .filter(|document| !taken_in.contains(&document.file))
        .filter_map(|document| Object::new(document.root.clone()))
        .filter(is_kustomization)
        .collect()
}
