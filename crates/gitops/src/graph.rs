//! What Flux would apply, seen as a whole: every Kustomization that is reached, and its objects.
//!
//! A Kustomization's namespace is the one that it has after it was built by its parent; that is the
//! one by which dependencies and sources are found. Kustomizations are reached from the files that no
//! kustomization takes in, as those that a cluster is started with.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::build::{self, Build, Object, Undefined, Variables};
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
    /// Variables in them that nothing gives a value.
    pub undefined: Vec<Undefined>,
}

impl Graph {
    /// Follows all Kustomizations, beginning with those that no kustomization takes in.
    pub fn new(repository: &Repository) -> Self {
        let mut graph = Self::default();
        let roots = roots(repository).into_iter();
        let mut waiting: VecDeque<_> = roots.map(|root| (source(&root), root)).collect();
        let mut postponed = 0;
        while let Some((own_source, object)) = waiting.pop_front() {
            let key = (object.namespace().to_owned(), object.name().to_owned());
            if graph.kustomizations.contains_key(&key) {
                continue;
            }
            // What is still to be built may bring the variables.
            let is_last_try = postponed == waiting.len();
            let variables = graph.variables(repository, &object, is_last_try);
            if !variables.absent.is_empty() && !is_last_try {
                postponed += 1;
                waiting.push_back((own_source, object));
                continue;
            }
            postponed = 0;
            // What comes from another repository is not here.
            let is_here = source(&object) == own_source;
            let built = if is_here {
                build::build_flux(repository, &object, &variables)
            } else {
                Build::default()
            };
            let children = built
                .objects
                .iter()
                .filter(|object| is_kustomization(object));
            waiting.extend(children.map(|child| (own_source.clone(), child.clone())));
            graph.findings.extend(built.findings);
            let kustomization = Kustomization {
                object,
                objects: built.objects,
                undefined: built.undefined,
            };
            graph.kustomizations.insert(key, kustomization);
        }
        graph
    }

    /// The variables of a Kustomization, from the objects that were built so far. With `in_any_file`,
    /// also from those that nothing has built: somebody applies them by hand.
    fn variables(&self, repository: &Repository, object: &Object, in_any_file: bool) -> Variables {
        Variables::of(object, &|kind, name| {
            let is_meant = |node: &Node, namespaces: &[&str]| {
                let namespace = node.path(&["metadata", "namespace"]);
                let namespace = namespace.and_then(Node::text).unwrap_or_default();
                node.text_of("kind") == Some(kind)
                    && node.path(&["metadata", "name"]).and_then(Node::text) == Some(name)
                    && namespaces.contains(&namespace)
            };
            let mut built = self.objects().map(|(_, object)| &object.node);
            let own = [object.namespace()];
            let built = built.find(|node| is_meant(node, &own));
            built.or_else(|| {
                let mut documents = repository.documents.iter().map(|document| &document.root);
                let anywhere = [object.namespace(), ""];
                documents.find(|node| in_any_file && is_meant(node, &anywhere))
            })
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::RawFile;

    const CLUSTER: &str = "\
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: app, namespace: flux-system}
spec:
  path: app
  postBuild: {substituteFrom: [{kind: ConfigMap, name: settings}]}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: settings, namespace: flux-system}
spec: {path: settings, targetNamespace: flux-system}
";

    fn graph(files: &[(&str, &str)]) -> Graph {
        let repository = Repository::from_files(files.iter().map(|(path, text)| RawFile {
            path: (*path).to_owned(),
            content: Ok(text.as_bytes().to_vec()),
        }));
        assert!(repository.findings.is_empty());
        Graph::new(&repository)
    }

    fn value_in(graph: &Graph) -> Option<&str> {
        let key = ("flux-system".to_owned(), "app".to_owned());
        graph.kustomizations[&key].objects[0]
            .node
            .path(&["data", "host"])?
            .text()
    }

    #[test]
    fn variables_come_from_what_another_kustomization_makes() {
        let app = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {host: '${HOST}'}\n";
        let settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {HOST: b.example}\n";
        let other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: other}\ndata: {HOST: wrong}\n";
        let files = [("cluster.yaml", CLUSTER), ("app/a.yaml", app)];
        let (built, by_hand) = (("settings/s.yaml", settings), ("by-hand/s.yaml", settings));
        let rest = ("settings/t.yaml", app);
        for (more, expected) in [
            (vec![built], "b.example"),
            (vec![rest, by_hand], "b.example"),
            (vec![("a/other.yaml", other), built], "b.example"),
            (vec![("a/other.yaml", other), rest], "${HOST}"),
        ] {
            let graph = graph(&[&files[..], &more].concat());
            assert_eq!(value_in(&graph), Some(expected), "{more:?}");
        }
    }
}
