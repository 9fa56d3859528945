//! What Flux would apply, seen as a whole: every Kustomization that is reached, and its objects.
//!
//! A Kustomization's namespace is the one that it has after it was built by its parent; that is the
//! one by which dependencies and sources are found. [`discover`] says where following them begins,
//! [`clusters`] which of them belong together.

mod clusters;
mod discover;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::OnceLock;

use crate::build::{Id, Object, Undefined, Variables};
use crate::finding::Finding;
use crate::source::FileId;
use crate::yaml::Node;

/// The API group of Flux Kustomizations.
pub const KUSTOMIZE_GROUP: &str = "kustomize.toolkit.fluxcd.io";

/// The API group of HelmReleases.
pub const HELM_GROUP: &str = "helm.toolkit.fluxcd.io";

/// The API group of sources.
pub const SOURCE_GROUP: &str = "source.toolkit.fluxcd.io";

/// A namespace and a name.
pub type Key = (String, String);

/// The Kustomizations of a repository and what they make.
#[derive(Debug, Default)]
pub struct Graph {
    /// By namespace and name.
    pub kustomizations: BTreeMap<Key, Kustomization>,
    /// What was wrong while building them, and while building each folder by itself.
    pub findings: Vec<Finding>,
    /// Objects that no Kustomization applies: those of loose files and of other kustomizations.
    pub rest: Vec<Object>,
    /// Kustomizations in files below the path of another one that does not take them in.
    pub unregistered: Vec<Unregistered>,
    /// The sources of the Kustomizations that a cluster is started with. They need not be here: they
    /// are made together with Flux.
    pub root_sources: BTreeSet<SourceName>,
    /// The files that some build takes in, that of a folder by itself too.
    pub taken_in: BTreeSet<FileId>,
    /// The files that a Kustomization takes in.
    pub applied: BTreeSet<FileId>,
    /// The folder in which the cluster begins, where the repository has several.
    pub home: Option<String>,
    /// Folders that bring Kustomizations of the same name and namespace: they are of different clusters.
    rivals: BTreeSet<String>,
    /// The folders that `flux bootstrap` has made.
    bootstrapped: BTreeSet<String>,
    index: HashMap<Id, (Key, usize)>,
    /// Where the objects of each kind are; made when it is first asked for, as is the next.
    kinds: OnceLock<Kinds>,
    /// By what is waited for.
    dependants: OnceLock<BTreeMap<Key, BTreeSet<Key>>>,
}

/// Where the objects of each kind are, by `GROUP/KIND`.
#[derive(Debug, Default)]
struct Kinds {
    keys: Vec<Key>,
    places: HashMap<String, Vec<Place>>,
}

/// Where an object is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// The number of its Kustomization, and its own among the objects of that.
    Applied(usize, usize),
    /// Its number among those that nothing applies.
    Rest(usize),
}

impl Kinds {
    fn of(graph: &Graph) -> Self {
        let mut kinds = Self {
            keys: graph.kustomizations.keys().cloned().collect(),
            ..Self::default()
        };
        for (by, kustomization) in graph.kustomizations.values().enumerate() {
            for (index, object) in kustomization.objects.iter().enumerate() {
                kinds.add(object, Place::Applied(by, index));
            }
        }
        for (index, object) in graph.rest.iter().enumerate() {
            kinds.add(object, Place::Rest(index));
        }
        kinds
    }

    fn add(&mut self, object: &Object, place: Place) {
        let kind = format!("{}/{}", object.group(), object.kind());
        self.places.entry(kind).or_default().push(place);
    }
}

/// A Flux Kustomization.
#[derive(Debug)]
pub struct Kustomization {
    /// The folder in which the cluster begins that it is followed from.
    pub home: String,
    /// The object, as its parent makes it.
    pub object: Object,
    /// The objects that it makes. Empty where its path is not in this repository.
    pub objects: Vec<Object>,
    /// Variables in them that nothing gives a value.
    pub undefined: Vec<Undefined>,
    /// The variables that were put in.
    pub variables: Variables,
    /// Whether its path is in this repository, and not in another one.
    pub is_here: bool,
    /// Whether `objects` are all: nothing was missing, fetched from elsewhere or not understood.
    pub is_complete: bool,
}

/// A Kustomization that nobody applies.
#[derive(Debug)]
pub struct Unregistered {
    /// The object as it is written.
    pub object: Object,
    /// The Kustomization below whose path its file lies.
    pub below: Key,
}

/// What a source is called: its kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName {
    /// As in `GitRepository`.
    pub kind: String,
    /// The namespace; that of the object which refers to it, where none is written.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Graph {
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

    /// Every object of the repository, applied by a Kustomization or not.
    pub fn all_objects(&self) -> impl Iterator<Item = &Object> {
        let applied = self.objects().map(|(_, object)| object);
        applied.chain(&self.rest)
    }

    /// Every object of the repository, and the Kustomizations with which a cluster is started.
    pub fn checked_objects(&self) -> impl Iterator<Item = &Object> {
        let kustomizations = self.kustomizations.values().map(|known| &known.object);
        self.all_objects().chain(kustomizations)
    }

    /// The objects of a kind, applied by a Kustomization or not.
    pub fn of_kind<'a>(
        &'a self,
        group: &str,
        kind: &str,
    ) -> impl Iterator<Item = &'a Object> + use<'a> {
        let kinds = self.kinds.get_or_init(|| Kinds::of(self));
        let places = kinds.places.get(&format!("{group}/{kind}"));
        let places = places.map_or(&[][..], Vec::as_slice).iter();
        places.filter_map(|place| match *place {
            Place::Applied(by, index) => {
                let kustomization = self.kustomizations.get(&kinds.keys[by])?;
                kustomization.objects.get(index)
            }
            Place::Rest(index) => self.rest.get(index),
        })
    }

    /// The object of that kind and name that a Kustomization applies.
    pub fn find(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Option<&Object> {
        let id = Id {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let (key, position) = self.index.get(&id)?;
        self.kustomizations.get(key)?.objects.get(*position)
    }

    /// Every HelmRelease that a Kustomization applies.
    pub fn helm_releases(&self) -> impl Iterator<Item = &Object> {
        let objects = self.objects().map(|(_, object)| object);
        objects.filter(|object| object.is(HELM_GROUP, "HelmRelease"))
    }

    /// Whether all objects that Flux applies are known here.
    pub fn is_complete(&self) -> bool {
        let mut all = self.kustomizations.values();
        all.all(|kustomization| kustomization.is_here && kustomization.is_complete)
    }

    /// Whether some Kustomization comes from another repository, whose objects are not known.
    pub fn has_foreign(&self) -> bool {
        let mut all = self.kustomizations.values();
        all.any(|kustomization| !kustomization.is_here)
    }

    /// What waits for this Kustomization.
    pub fn dependants(&self, key: &Key) -> impl Iterator<Item = &Kustomization> {
        let dependants = self.dependants.get_or_init(|| {
            let mut dependants: BTreeMap<Key, BTreeSet<Key>> = BTreeMap::new();
            for (key, kustomization) in &self.kustomizations {
                for (needed, _) in kustomization.dependencies() {
                    dependants.entry(needed).or_default().insert(key.clone());
                }
            }
            dependants
        });
        let keys = dependants.get(key).into_iter().flatten();
        keys.filter_map(|key| self.kustomizations.get(key))
    }

    /// Whether `from` waits for `to`, directly or through others.
    pub fn waits_for(&self, from: &Key, to: &Key) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![from.clone()];
        while let Some(key) = open.pop() {
            let Some(kustomization) = self.kustomizations.get(&key) else {
                continue;
            };
            for (next, _) in kustomization.dependencies() {
                if next == *to {
                    return true;
                }
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        false
    }
}

impl Kustomization {
    /// Its namespace and name.
    pub fn key(&self) -> Key {
        key_of(&self.object)
    }

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
        self.waits() || self.has_health_checks()
    }

    /// Whether it has `healthChecks`.
    pub fn has_health_checks(&self) -> bool {
        let checks = self.spec("healthChecks");
        checks.is_some_and(|checks| !checks.items().is_empty())
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

/// The source that a `sourceRef` or `chartRef` names, seen from an object.
pub fn source_name(object: &Object, reference: &Node) -> SourceName {
    let text = |key| reference.text_of(key).filter(|text| !text.is_empty());
    SourceName {
        kind: text("kind").unwrap_or_default().to_owned(),
        namespace: text("namespace").unwrap_or(object.namespace()).to_owned(),
        name: text("name").unwrap_or_default().to_owned(),
    }
}

/// The namespace and name of an object.
pub fn key_of(object: &Object) -> Key {
    (object.namespace().to_owned(), object.name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{RawFile, Repository};

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
        Graph::clusters(&repository).remove(0)
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
