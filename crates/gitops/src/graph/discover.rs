//! Where a cluster begins, and everything that is reached from there.
//!
//! A cluster is started with the Kustomizations that nothing else brings: those in files that no
//! kustomization takes in, those that apply their own file (as `flux bootstrap` makes them), and those
//! of a kustomization that stands alone. A file below the path of a Kustomization is that one's to
//! take in; where it does not, the file is not applied at all.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use crate::build::{self, Build, Builds, Object, Variables};
use crate::finding::Finding;
use crate::load::Repository;
use crate::rules::build::BLD002;
use crate::rules::flux::files::{FLX021, FLX022};
use crate::source::FileId;
use crate::yaml::Node;

use super::clusters::{Part, is_in};
use super::{
    Graph, KUSTOMIZE_GROUP, Key, Kustomization, SourceName, Unregistered, key_of, source_name,
};

/// The build of a folder by itself.
struct Folder {
    path: String,
    files: BTreeSet<FileId>,
    findings: Vec<Finding>,
    kustomizations: Vec<Object>,
    is_component: bool,
}

/// A Kustomization with which a cluster is started.
struct Root {
    /// The folder in which it begins.
    home: String,
    object: Object,
    /// Whether it applies its own file.
    is_bootstrapped: bool,
}

/// The kinds that `substituteFrom` names.
const BRINGS_VARIABLES: [&str; 2] = ["ConfigMap", "Secret"];

/// What is the same for all clusters of a repository.
pub(super) struct Survey<'a> {
    repository: &'a Repository,
    builds: Builds<'a>,
    folders: Vec<Folder>,
    /// Which of the folders no other one takes in.
    tops: Vec<usize>,
    taken_in: BTreeSet<FileId>,
}

impl<'a> Survey<'a> {
    pub(super) fn new(repository: &'a Repository) -> Self {
        let builds = Builds::new(repository);
        let folders = build_folders(&builds, repository);
        let used: BTreeSet<_> = folders
            .iter()
            .flat_map(|folder| {
                let own = build::kustomization_file(repository, &folder.path);
                let files = folder.files.iter().copied();
                files.filter(move |file| Some(*file) != own)
            })
            .collect();
        let is_top = |folder: &Folder| {
            let own = build::kustomization_file(repository, &folder.path);
            !folder.is_component && own.is_some_and(|own| !used.contains(&own))
        };
        let tops = folders.iter().enumerate();
        let tops = tops.filter(|(_, folder)| is_top(folder));
        let tops = tops.map(|(index, _)| index).collect();
        let taken_in = folders.iter().flat_map(|folder| &folder.files);
        Self {
            repository,
            taken_in: taken_in.copied().collect(),
            builds,
            folders,
            tops,
        }
    }

    fn tops(&self, part: &Part) -> impl Iterator<Item = &Folder> {
        let tops = self.tops.iter().map(|index| &self.folders[*index]);
        tops.filter(|folder| part.has(&format!("{}/", folder.path)))
    }

    /// Follows all Kustomizations of a part of the repository, beginning with those that a cluster is
    /// started with.
    pub(super) fn discover(&self, part: &Part) -> Graph {
        let mut graph = Graph {
            taken_in: self.taken_in.clone(),
            ..Graph::default()
        };
        let folders = self.folders.iter().filter(|folder| !folder.is_component);
        let findings = folders.flat_map(|folder| &folder.findings);
        graph.findings.extend(findings.cloned());
        let (roots, below) = roots(self.repository, &graph.taken_in, part);
        let bootstrapped = roots.iter().filter(|root| root.is_bootstrapped);
        let bootstrapped = bootstrapped.map(|root| root.home.clone());
        graph.bootstrapped.extend(bootstrapped);
        self.follow(&mut graph, roots);
        self.place_below(&mut graph, below);
        let (alone, below) = self.alone(&graph, part);
        graph.unregistered.extend(below);
        self.follow(&mut graph, alone);
        graph
    }

    fn follow(&self, graph: &mut Graph, roots: Vec<Root>) {
        let mut waiting: VecDeque<_> = roots
            .into_iter()
            .map(|root| {
                let source = source(&root.object);
                graph.root_sources.insert(source.clone());
                (root.home, source, root.object)
            })
            .collect();
        let mut postponed = 0;
        while let Some((home, own, object)) = waiting.pop_front() {
            let key = key_of(&object);
            if let Some(known) = graph.kustomizations.get(&key) {
                if known.home != home {
                    graph.rivals.extend([known.home.clone(), home]);
                }
                continue;
            }
            // What is still to be built may bring the variables.
            let is_last_try = postponed == waiting.len();
            let variables = graph.variables(self.repository, &object, is_last_try);
            if !variables.absent.is_empty() && !is_last_try {
                postponed += 1;
                waiting.push_back((home, own, object));
                continue;
            }
            // What comes from another repository is not here. A namespace may be wrong by mistake.
            let named = source(&object);
            let is_here = named.kind == own.kind && named.name == own.name;
            let built = if is_here {
                self.builds.flux(&object, &variables)
            } else {
                Build::default()
            };
            let objects = built.objects.iter();
            let children = objects.filter(|object| object.is(KUSTOMIZE_GROUP, "Kustomization"));
            waiting.extend(children.map(|child| (home.clone(), own.clone(), child.clone())));
            // Only these can bring what others wait for.
            let mut objects = built.objects.iter();
            if objects.any(|object| BRINGS_VARIABLES.contains(&object.kind())) {
                postponed = 0;
            }
            let missing = [FLX021.id, FLX022.id, BLD002.id];
            let mut findings = built.findings.iter();
            let is_complete = !findings.any(|finding| missing.contains(&finding.rule.id));
            graph.findings.extend(built.findings);
            graph.taken_in.extend(&built.files);
            graph.applied.extend(built.files);
            let kustomization = Kustomization {
                home,
                object,
                objects: built.objects,
                undefined: built.undefined,
                variables,
                is_here,
                is_complete,
            };
            for (position, object) in kustomization.objects.iter().enumerate() {
                let place = (key.clone(), position);
                graph.index.entry(object.id()).or_insert(place);
            }
            graph.kustomizations.insert(key, kustomization);
        }
    }

    /// Of the Kustomizations in files below the path of another one: those that it did not bring.
    fn place_below(&self, graph: &mut Graph, below: Vec<Root>) {
        let mut roots = Vec::new();
        let owners = graph.owners();
        for root in below {
            let file = root.object.node.at.file;
            if graph.taken_in.contains(&file) {
                continue;
            }
            match owner_of(&owners, &self.repository.sources.get(file).path) {
                Some(below) => graph.unregistered.push(Unregistered {
                    object: root.object,
                    below,
                }),
                None => roots.push(root),
            }
        }
        self.follow(graph, roots);
    }

    /// The Kustomizations of kustomizations that nothing takes in: those that stand alone, and those that
    /// lie below the path of another one, which does not bring them.
    fn alone(&self, graph: &Graph, part: &Part) -> (Vec<Root>, Vec<Unregistered>) {
        let mut alone = Vec::new();
        let mut unregistered = Vec::new();
        let owners = graph.owners();
        for folder in self.tops(part) {
            for object in &folder.kustomizations {
                let file = object.node.at.file;
                if graph.applied.contains(&file) {
                    continue;
                }
                let object = object.clone();
                match owner_of(&owners, &self.repository.sources.get(file).path) {
                    Some(below) => unregistered.push(Unregistered { object, below }),
                    None => alone.push(Root {
                        home: folder.path.clone(),
                        object,
                        is_bootstrapped: false,
                    }),
                }
            }
        }
        (alone, unregistered)
    }

    /// Adds the objects of a part of the repository that nothing applies.
    pub(super) fn collect_rest(&self, graph: &mut Graph, part: &Part) {
        let path_of = |file| &self.repository.sources.get(file).path;
        for folder in self.tops(part) {
            if folder.files.is_subset(&graph.applied) {
                continue;
            }
            let build = self.builds.folder(&folder.path).unwrap_or_default();
            let objects = build.objects.into_iter();
            let rest = objects.filter(|object| !graph.applied.contains(&object.node.at.file));
            graph.rest.extend(rest);
        }
        let documents = self.repository.documents.iter();
        let loose = documents
            .filter(|document| !graph.taken_in.contains(&document.file))
            .filter(|document| part.has(path_of(document.file)))
            .filter_map(|document| Object::new(document.root.clone()));
        graph.rest.extend(loose);
    }
}

impl Graph {
    /// The variables of a Kustomization, from the objects that were built so far. With `in_any_file`,
    /// also from those that nothing has built: somebody applies them by hand.
    fn variables(&self, repository: &Repository, object: &Object, in_any_file: bool) -> Variables {
        Variables::of(object, &|kind, name| {
            let built = self.find("", kind, object.namespace(), name);
            let built = built.map(|built| &built.node);
            built.or_else(|| {
                let mut documents = repository.documents.iter().map(|document| &document.root);
                let is_meant = |node: &&Node| {
                    let metadata = |key| node.path(&["metadata", key]).and_then(Node::text);
                    let namespace = metadata("namespace").unwrap_or_default();
                    node.text_of("kind") == Some(kind)
                        && metadata("name") == Some(name)
                        && (namespace.is_empty() || namespace == object.namespace())
                };
                documents.find(|node| in_any_file && is_meant(node))
            })
        })
    }

    /// The Kustomizations by their paths.
    fn owners(&self) -> HashMap<String, Key> {
        let mut owners = HashMap::new();
        for (key, known) in self
            .kustomizations
            .iter()
            .filter(|(_, known)| known.is_here)
        {
            if let Some(folder) = folder_of(&known.object) {
                let first = owners.entry(folder.to_owned());
                first.or_insert_with(|| key.clone());
            }
        }
        owners
    }
}

/// The Kustomization below whose path a file lies: the nearest.
fn owner_of(owners: &HashMap<String, Key>, path: &str) -> Option<Key> {
    folders_above(path).find_map(|folder| owners.get(folder).cloned())
}

/// The folders that a file lies in, the innermost first, without the root.
fn folders_above(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').map(|(end, _)| &path[..end])
}

fn build_folders(builds: &Builds<'_>, repository: &Repository) -> Vec<Folder> {
    let folders = build::folders(repository).into_iter();
    folders
        .filter_map(|path| {
            let build = builds.folder(&path)?;
            let is_component = build::is_component(repository, &path);
            let mut kustomizations = build.objects;
            kustomizations.retain(|object| object.is(KUSTOMIZE_GROUP, "Kustomization"));
            Some(Folder {
                path,
                files: build.files,
                findings: build.findings,
                kustomizations,
                is_component,
            })
        })
        .collect()
}

/// The source of a Kustomization.
fn source(object: &Object) -> SourceName {
    let reference = object.node.path(&["spec", "sourceRef"]);
    source_name(object, reference.unwrap_or(&object.node))
}

/// The Kustomizations to begin with, and those that should be brought by one of them.
fn roots(
    repository: &Repository,
    taken_in: &BTreeSet<FileId>,
    part: &Part,
) -> (Vec<Root>, Vec<Root>) {
    let path_of = |object: &Object| &repository.sources.get(object.node.at.file).path;
    let documents = repository.documents.iter();
    let all: Vec<_> = documents
        .filter_map(|document| Object::new(document.root.clone()))
        .filter(|object| object.is(KUSTOMIZE_GROUP, "Kustomization") && part.has(path_of(object)))
        .collect();
    let folders: HashSet<&str> = all.iter().filter_map(folder_of).collect();
    let mut roots = Vec::new();
    let mut below = Vec::new();
    for object in &all {
        let path = path_of(object);
        if let Some(home) = folder_of(object).filter(|home| is_in(path, home)) {
            roots.push(Root {
                home: home.to_owned(),
                object: object.clone(),
                is_bootstrapped: true,
            });
        } else if !taken_in.contains(&object.node.at.file) {
            let folder = path.rsplit_once('/').map_or(".", |(folder, _)| folder);
            let is_anothers = folders_above(path).any(|folder| folders.contains(folder));
            let list = if is_anothers { &mut below } else { &mut roots };
            list.push(Root {
                home: folder.to_owned(),
                object: object.clone(),
                is_bootstrapped: false,
            });
        }
    }
    (roots, below)
}

/// The path of a Kustomization; none where it is that of the whole repository: everything lies below it.
fn folder_of(kustomization: &Object) -> Option<&str> {
    let path = kustomization.node.path(&["spec", "path"])?.text()?;
    let path = path.trim_start_matches("./").trim_matches('/');
    (!path.is_empty() && path != ".").then_some(path)
}
