//! Where a cluster begins, and everything that is reached from there.
//!
//! A cluster is started with the Kustomizations that nothing else brings: those in files that no
//! kustomization takes in, those that apply their own file (as `flux bootstrap` makes them), and those
//! of a kustomization that stands alone. A file below the path of a Kustomization is that one's to
//! take in; where it does not, the file is not applied at all.

use std::collections::{BTreeSet, VecDeque};

use crate::build::{self, Build, Builds, Object, Variables};
use crate::finding::Finding;
use crate::load::Repository;
use crate::rules::build::BLD002;
use crate::rules::flux::files::{FLX021, FLX022};
use crate::source::FileId;
use crate::yaml::Node;

use super::{Graph, KUSTOMIZE_GROUP, Kustomization, SourceName, Unregistered, key_of, source_name};

/// The build of a folder by itself.
struct Folder {
    path: String,
    files: BTreeSet<FileId>,
    findings: Vec<Finding>,
    kustomizations: Vec<Object>,
    is_component: bool,
}

impl Graph {
    /// Follows all Kustomizations, beginning with those that a cluster is started with.
    pub fn new(repository: &Repository) -> Self {
        let mut graph = Self::default();
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
        let tops: Vec<&Folder> = folders
            .iter()
            .filter(|folder| !folder.is_component)
            .filter(|folder| {
                let own = build::kustomization_file(repository, &folder.path);
                own.is_some_and(|own| !used.contains(&own))
            })
            .collect();
        for folder in &folders {
            graph.taken_in.extend(&folder.files);
            if !folder.is_component {
                graph.findings.extend(folder.findings.iter().cloned());
            }
        }
        let (roots, below) = roots(repository, &graph.taken_in);
        graph.follow(&builds, repository, roots);
        graph.place_below(&builds, repository, below);
        let (alone, below) = alone(repository, &graph, &tops);
        graph.unregistered.extend(below);
        graph.follow(&builds, repository, alone);
        graph.collect_rest(&builds, repository, &tops);
        graph
    }

    fn follow(&mut self, builds: &Builds<'_>, repository: &Repository, roots: Vec<Object>) {
        let mut waiting: VecDeque<_> = roots
            .into_iter()
            .map(|root| {
                let source = source(&root);
                self.root_sources.insert(source.clone());
                (source, root)
            })
            .collect();
        let mut postponed = 0;
        while let Some((own, object)) = waiting.pop_front() {
            let key = key_of(&object);
            if self.kustomizations.contains_key(&key) {
                continue;
            }
            // What is still to be built may bring the variables.
            let is_last_try = postponed == waiting.len();
            let variables = self.variables(repository, &object, is_last_try);
            if !variables.absent.is_empty() && !is_last_try {
                postponed += 1;
                waiting.push_back((own, object));
                continue;
            }
            postponed = 0;
            // What comes from another repository is not here. A namespace may be wrong by mistake.
            let named = source(&object);
            let is_here = named.kind == own.kind && named.name == own.name;
            let built = if is_here {
                builds.flux(&object, &variables)
            } else {
                Build::default()
            };
            let objects = built.objects.iter();
            let children = objects.filter(|object| object.is(KUSTOMIZE_GROUP, "Kustomization"));
            waiting.extend(children.map(|child| (own.clone(), child.clone())));
            let missing = [FLX021.id, FLX022.id, BLD002.id];
            let mut findings = built.findings.iter();
            let is_complete = !findings.any(|finding| missing.contains(&finding.rule.id));
            self.findings.extend(built.findings);
            self.taken_in.extend(&built.files);
            self.applied.extend(built.files);
            let kustomization = Kustomization {
                object,
                objects: built.objects,
                undefined: built.undefined,
                variables,
                is_here,
                is_complete,
            };
            for (position, object) in kustomization.objects.iter().enumerate() {
                let place = (key.clone(), position);
                self.index.entry(object.id()).or_insert(place);
            }
            self.kustomizations.insert(key, kustomization);
        }
    }

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

    /// Of the Kustomizations in files below the path of another one: those that it did not bring.
    fn place_below(&mut self, builds: &Builds<'_>, repository: &Repository, below: Vec<Object>) {
        let mut roots = Vec::new();
        for object in below {
            let path = &repository.sources.get(object.node.at.file).path;
            if self.taken_in.contains(&object.node.at.file) {
                continue;
            }
            let mut known = self.kustomizations.iter();
            let owner = known.find(|(_, known)| known.is_here && is_below(path, &known.object));
            match owner.map(|(key, _)| key.clone()) {
                Some(below) => self.unregistered.push(Unregistered { object, below }),
                None => roots.push(object),
            }
        }
        self.follow(builds, repository, roots);
    }

    fn collect_rest(&mut self, builds: &Builds<'_>, repository: &Repository, tops: &[&Folder]) {
        for folder in tops {
            if folder.files.is_subset(&self.applied) {
                continue;
            }
            let build = builds.folder(&folder.path).unwrap_or_default();
            let objects = build.objects.into_iter();
            self.rest
                .extend(objects.filter(|object| !self.applied.contains(&object.node.at.file)));
        }
        let documents = repository.documents.iter();
        let loose = documents
            .filter(|document| !self.taken_in.contains(&document.file))
            .filter_map(|document| Object::new(document.root.clone()));
        self.rest.extend(loose);
    }
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
fn roots(repository: &Repository, taken_in: &BTreeSet<FileId>) -> (Vec<Object>, Vec<Object>) {
    let documents = repository.documents.iter();
    let all: Vec<_> = documents
        .filter_map(|document| Object::new(document.root.clone()))
        .filter(|object| object.is(KUSTOMIZE_GROUP, "Kustomization"))
        .collect();
    let mut roots = Vec::new();
    let mut below = Vec::new();
    for object in &all {
        let file = object.node.at.file;
        let path = &repository.sources.get(file).path;
        if is_below(path, object) {
            roots.push(object.clone());
        } else if !taken_in.contains(&file) {
            let is_anothers = all.iter().any(|other| is_below(path, other));
            let list = if is_anothers { &mut below } else { &mut roots };
            list.push(object.clone());
        }
    }
    (roots, below)
}

/// Whether a file lies below the path of a Kustomization. The root of the repository does not count:
/// everything lies below it.
fn is_below(file: &str, kustomization: &Object) -> bool {
    let path = kustomization.node.path(&["spec", "path"]);
    let path = path.and_then(Node::text).unwrap_or_default();
    let path = path.trim_start_matches("./").trim_matches('/');
    !path.is_empty()
        && path != "."
        && file
            .strip_prefix(path)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// The Kustomizations of kustomizations that nothing takes in: those that stand alone, and those that
/// lie below the path of another one, which does not bring them.
fn alone(
    repository: &Repository,
    graph: &Graph,
    tops: &[&Folder],
) -> (Vec<Object>, Vec<Unregistered>) {
    let kustomizations = tops.iter().flat_map(|folder| &folder.kustomizations);
    let mut alone = Vec::new();
    let mut below = Vec::new();
    for object in kustomizations {
        let file = object.node.at.file;
        if graph.applied.contains(&file) {
            continue;
        }
        let path = &repository.sources.get(file).path;
        let mut known = graph.kustomizations.iter();
        match known.find(|(_, known)| known.is_here && is_below(path, &known.object)) {
            Some((key, _)) => below.push(Unregistered {
                object: object.clone(),
                below: key.clone(),
            }),
            None => alone.push(object.clone()),
        }
    }
    (alone, below)
}
