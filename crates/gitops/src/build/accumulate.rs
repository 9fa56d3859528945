//! The order of a build, and what a kustomization takes in: resources and components.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use crate::finding::Finding;
use crate::load::Repository;
use crate::rules::build::{BLD001, BLD002};
use crate::rules::flux::files::FLX021;
use crate::rules::yaml::LOD002;
use crate::source::{FileId, Location};
use crate::yaml::Node;

use super::limits::{self, Spent};
use super::object::{Id, Object};
use super::reference_fields::Reference;
use super::references::{self, Unclear};
use super::{Build, field_paths, hash, kustomization, remote};

/// Builds the kustomization in `folder`, a path from the repository's root. None where the folder
/// holds none. Never fails: what could not be built is missing from the objects, and a finding says so.
pub fn build(repository: &Repository, folder: &str) -> Option<Build> {
    Builds::new(repository).folder(folder)
}

/// Builds of one repository. A kustomization that several of them take in is built once.
#[derive(Debug)]
pub struct Builds<'a> {
    pub(super) repository: &'a Repository,
    pub(super) spent: Spent,
    known: RefCell<HashMap<FileId, Rc<Accumulated>>>,
}

/// What a kustomization makes, before hashes and references, and what was seen on the way.
#[derive(Debug, Default)]
struct Accumulated {
    objects: Vec<Object>,
    references: Vec<Reference>,
    findings: Vec<Finding>,
    files: BTreeSet<FileId>,
    taken_in: usize,
    is_incomplete: bool,
}

impl<'a> Builds<'a> {
    /// No builds so far.
    pub fn new(repository: &'a Repository) -> Self {
        Self {
            repository,
            spent: Spent::default(),
            known: RefCell::default(),
        }
    }

    /// The build of the kustomization in `folder`; none where the folder holds none.
    pub fn folder(&self, folder: &str) -> Option<Build> {
        let mut builder = Builder::new(self);
        let file = builder.kustomization_in(folder)?;
        let objects = builder.take_in(file, folder);
        Some(builder.finish(objects))
    }

    /// The build of `root` as if it were the text of the kustomization in `folder`.
    pub(super) fn folder_as(&self, root: &Node, folder: &str) -> Build {
        let mut builder = Builder::new(self);
        builder.files.extend(builder.kustomization_in(folder));
        let mut objects = Vec::new();
        builder.accumulate_root(root, folder, &mut objects);
        builder.finish(objects)
    }

    /// Objects that are not in the repository, changed as a kustomization would that has them.
    pub(crate) fn transform(&self, root: &Node, mut objects: Vec<Object>) -> Build {
        let mut builder = Builder::new(self);
        for finding in kustomization::check(root) {
            builder.report(finding);
        }
        builder.run_transformers(root, ".", &mut objects);
        builder.finish(objects)
    }
}

/// One build, while it goes on.
pub(super) struct Builder<'a> {
    pub(super) repository: &'a Repository,
    pub(super) builds: &'a Builds<'a>,
    /// The kustomizations that are being built, outermost first.
    open: Vec<String>,
    /// How many kustomizations were taken in so far.
    taken_in: usize,
    references: Vec<Reference>,
    /// Something could not be taken in, so that what is missing may be missing for that reason.
    pub(super) is_incomplete: bool,
    findings: Vec<Finding>,
    reported: HashSet<(&'static str, Location, String)>,
    files: BTreeSet<FileId>,
}

impl<'a> Builder<'a> {
    fn new(builds: &'a Builds<'a>) -> Self {
        Self {
            repository: builds.repository,
            builds,
            open: Vec::new(),
            taken_in: 0,
            references: Vec::new(),
            is_incomplete: false,
            findings: Vec::new(),
            reported: HashSet::new(),
            files: BTreeSet::new(),
        }
    }

    /// What the kustomization in `file` makes by itself, built now or earlier.
    fn take_in(&mut self, file: FileId, folder: &str) -> Vec<Object> {
        let known = self.builds.known.borrow().get(&file).cloned();
        let done = known.unwrap_or_else(|| {
            let mut inner = Self::new(self.builds);
            inner.open.clone_from(&self.open);
            let mut objects = Vec::new();
            inner.accumulate(file, folder, &mut objects);
            let done = Rc::new(Accumulated {
                objects,
                references: inner.references,
                findings: inner.findings,
                files: inner.files,
                taken_in: inner.taken_in,
                is_incomplete: inner.is_incomplete,
            });
            let mut known = self.builds.known.borrow_mut();
            known.insert(file, Rc::clone(&done));
            done
        });
        self.references.extend(done.references.iter().cloned());
        for finding in &done.findings {
            self.report(finding.clone());
        }
        self.files.extend(&done.files);
        self.is_incomplete |= done.is_incomplete;
        let is_reported = done.taken_in > limits::KUSTOMIZATIONS;
        if self.count(done.taken_in, file, is_reported) {
            done.objects.clone()
        } else {
            Vec::new()
        }
    }

    /// Counts kustomizations that are taken in. False where they are too many.
    fn count(&mut self, more: usize, file: FileId, is_reported: bool) -> bool {
        let was_within = self.taken_in <= limits::KUSTOMIZATIONS;
        self.taken_in = self.taken_in.saturating_add(more);
        let is_within = self.taken_in <= limits::KUSTOMIZATIONS;
        if !is_within {
            if was_within && !is_reported {
                let limit = limits::KUSTOMIZATIONS;
                self.too_much(
                    Location::start_of(file),
                    format!("a build takes in more than {limit} kustomizations"),
                );
            }
            self.is_incomplete = true;
        }
        is_within
    }

    /// Reports that all builds of the repository have made too many objects.
    fn too_much_in_all(&mut self, at: Option<Location>) {
        let limit = limits::OBJECTS_IN_ALL;
        let message = format!("all builds together make more than {limit} objects");
        if let Some(at) = at {
            self.too_much(at, message);
        }
    }

    /// Reports that a limit is reached.
    pub(super) fn too_much(&mut self, at: Location, message: String) {
        self.is_incomplete = true;
        let finding = Finding::new(&LOD002, at, message)
            .consequence("what is beyond it is not looked at")
            .fix("write the repeated part once");
        self.report(finding);
    }

    pub(super) fn documents_of(&self, file: FileId) -> impl Iterator<Item = &'a Node> + use<'a> {
        let documents = self.repository.documents_of(file).iter();
        documents.map(|document| &document.root)
    }

    /// What comes last, once for the whole build.
    fn finish(mut self, mut objects: Vec<Object>) -> Build {
        let limit = limits::OBJECTS_IN_ALL;
        if !self.builds.spent.objects.add(objects.len(), limit) {
            let at = objects.first().map(|object| object.node.at);
            objects.clear();
            self.too_much_in_all(at);
        }
        add_hashes(&mut objects);
        let unclear = references::follow(&mut objects, &self.references);
        for Unclear::Ambiguous { from, name } in unclear {
            let at = objects[from].node.at;
            let message =
                format!("the name {name:?} in this object may mean several objects of this build");
            self.report(Finding::new(&BLD001, at, message).fix("give the objects different names"));
        }
        Build {
            objects,
            findings: self.findings,
            files: self.files,
            undefined: Vec::new(),
        }
    }

    /// Reports a mistake, once: a base may be taken in several times.
    pub(super) fn report(&mut self, finding: Finding) {
        let identity = (finding.rule.id, finding.location, finding.message.clone());
        if self.reported.insert(identity) {
            self.findings.push(finding);
        }
    }

    fn kustomization_in(&self, folder: &str) -> Option<FileId> {
        super::kustomization_file(self.repository, folder)
    }

    /// Takes in what the kustomization in `file` names, and changes what is there by then.
    fn accumulate(&mut self, file: FileId, folder: &str, objects: &mut Vec<Object>) {
        self.files.insert(file);
        let Some(root) = self.documents_of(file).next() else {
            if !self.repository.is_broken(file) {
                self.report(Finding::new(
                    &BLD001,
                    Location::start_of(file),
                    "the kustomization is empty",
                ));
            }
            return;
        };
        if self.open.iter().any(|open| open == folder) {
            self.is_incomplete = true;
            let message = format!("the kustomization in {folder} takes in itself");
            self.report(Finding::new(&BLD001, root.at, message).fix("remove the circle"));
            return;
        }
        let limit = limits::KUSTOMIZATIONS_IN_ALL;
        if !self.builds.spent.kustomizations.add(1, limit) {
            let message = format!("all builds together take in more than {limit} kustomizations");
            return self.too_much(Location::start_of(file), message);
        }
        if self.count(1, file, false) {
            self.accumulate_root(root, folder, objects);
        }
    }

    fn accumulate_root(&mut self, root: &Node, folder: &str, objects: &mut Vec<Object>) {
        self.open.push(folder.to_owned());
        for finding in kustomization::check(root) {
            self.report(finding);
        }
        self.take_in_resources(root, folder, objects);
        self.read_configurations(root, folder);
        self.run_generators(root, folder, objects);
        self.take_in_components(root, folder, objects);
        self.run_transformers(root, folder, objects);
        self.open.pop();
    }

    fn take_in_resources(&mut self, root: &Node, folder: &str, objects: &mut Vec<Object>) {
        let mut known = objects.iter().map(Object::id).collect();
        for entry in entries(root, "resources").chain(entries(root, "bases")) {
            let Some(path) = entry.text() else {
                self.report(Finding::new(
                    &BLD001,
                    entry.at,
                    "a resource is named by a path",
                ));
                continue;
            };
            let mut more = Vec::new();
            match self.resolve(path, folder, entry.at) {
                Some(Found::Kustomization(file, folder)) => more = self.take_in(file, &folder),
                Some(Found::File(file)) => more = self.objects_of(file, entry.at),
                None => {}
            }
            self.append(objects, &mut known, more, entry.at);
        }
    }

    fn take_in_components(&mut self, root: &Node, folder: &str, objects: &mut Vec<Object>) {
        for entry in entries(root, "components") {
            let found = entry
                .text()
                .and_then(|path| self.resolve(path, folder, entry.at));
            let Some(Found::Kustomization(file, folder)) = found else {
                if let Some(Found::File(_)) = found {
                    self.report(Finding::new(&BLD001, entry.at, "a component is a folder"));
                }
                continue;
            };
            let document = self.documents_of(file).next();
            if document.is_some_and(|document| !kustomization::is_component(document)) {
                self.report(Finding::new(
                    &BLD001,
                    entry.at,
                    "this is no kustomization of kind Component",
                ));
            } else {
                self.accumulate(file, &folder, objects);
            }
        }
    }

    /// Adds objects. `known` has the identities of all that are there.
    pub(super) fn append(
        &mut self,
        objects: &mut Vec<Object>,
        known: &mut HashSet<Id>,
        more: Vec<Object>,
        at: Location,
    ) {
        let limit = limits::OBJECTS;
        if objects.len() + more.len() > limit {
            return self.too_much(at, format!("a build makes more than {limit} objects"));
        }
        let limit = limits::OBJECTS_IN_ALL;
        if !self.builds.spent.objects.add(more.len(), limit) {
            return self.too_much_in_all(Some(at));
        }
        for object in more {
            if known.insert(object.id()) {
                objects.push(object);
            } else {
                let message = format!("{} is taken in twice", object.display_name());
                self.report(Finding::new(&BLD001, at, message).fix("remove one of the two"));
            }
        }
    }

    /// What a path in a kustomization means. What it does not mean is a finding.
    pub(super) fn resolve(&mut self, path: &str, folder: &str, at: Location) -> Option<Found> {
        let found = self.find(path, folder, at);
        self.is_incomplete |= match &found {
            Some(Found::File(file) | Found::Kustomization(file, _)) => {
                self.repository.is_broken(*file)
            }
            None => true,
        };
        found
    }

    fn find(&mut self, path: &str, folder: &str, at: Location) -> Option<Found> {
        if remote::is_one(path) {
            self.report(remote::finding(path, at));
            return None;
        }
        let Some(target) = join(folder, path) else {
            self.report(Finding::new(
                &FLX021,
                at,
                format!("{path} leads out of the repository"),
            ));
            return None;
        };
        if let Some(file) = self.repository.sources.find(&target) {
            self.files.insert(file);
            return Some(Found::File(file));
        }
        if let Some(file) = self.kustomization_in(&target) {
            return Some(Found::Kustomization(file, target));
        }
        let finding = if self.repository.exists(&target) {
            Finding::new(
                &BLD002,
                at,
                format!("{path} is neither YAML nor a folder with a kustomization"),
            )
        } else {
            Finding::new(&FLX021, at, format!("{path} does not exist"))
        };
        self.report(finding);
        None
    }

    fn objects_of(&mut self, file: FileId, at: Location) -> Vec<Object> {
        let mut objects = Vec::new();
        let mut documents = self.documents_of(file).peekable();
        if documents.peek().is_none() && !self.repository.is_broken(file) {
            self.report(Finding::new(&BLD001, at, "the file holds no object"));
        }
        for document in documents {
            let kind = document.text_of("kind").unwrap_or_default();
            let is_list = kind.ends_with("List") && document.get("items").is_some();
            let items = if is_list {
                entries(document, "items").collect()
            } else {
                vec![document]
            };
            for item in items {
                match Object::new(item.clone()) {
                    Some(object) => objects.push(object),
                    None => self.report(Finding::new(
                        &BLD001,
                        item.at,
                        "this is no Kubernetes object: it needs apiVersion, kind and metadata.name",
                    )),
                }
            }
        }
        objects
    }

    /// Of the transformer configurations, references are followed.
    fn read_configurations(&mut self, root: &Node, folder: &str) {
        for entry in entries(root, "configurations") {
            let found = entry
                .text()
                .and_then(|path| self.resolve(path, folder, entry.at));
            let Some(Found::File(file)) = found else {
                continue;
            };
            for document in self.documents_of(file) {
                for field in document.fields() {
                    if &*field.key == "nameReference" {
                        self.references
                            .extend(field.node.items().iter().flat_map(custom_references));
                    } else {
                        let message = format!(
                            "the transformer configuration `{}` is not supported here",
                            field.key
                        );
                        self.report(Finding::new(&BLD002, field.key_at, message));
                    }
                }
            }
        }
    }
}

fn add_hashes(objects: &mut [Object]) {
    for object in objects.iter_mut().filter(|object| object.wants_hash) {
        let name = format!("{}-{}", object.name(), hash::suffix(object));
        let at = object.node.at;
        object.rename(name, at);
    }
}

/// What a path in a kustomization leads to.
pub(super) enum Found {
    File(FileId),
    Kustomization(FileId, String),
}

pub(super) fn entries<'a>(node: &'a Node, key: &str) -> impl Iterator<Item = &'a Node> + use<'a> {
    node.get(key).map_or(&[][..], Node::items).iter()
}

fn custom_references(entry: &Node) -> Vec<Reference> {
    let to_kind = entry.text_of("kind").unwrap_or_default();
    entries(entry, "fieldSpecs")
        .map(|spec| Reference {
            to_kind: to_kind.to_owned(),
            from_kind: spec.text_of("kind").unwrap_or_default().to_owned(),
            from_group: spec.text_of("group").unwrap_or_default().to_owned(),
            path: field_paths::split(spec.text_of("path").unwrap_or_default()),
        })
        .collect()
}

/// The path `path` seen from `folder`; none where it leaves the repository.
pub(crate) fn join(folder: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            other => parts.push(other),
        }
    }
    Some(if parts.is_empty() {
        ".".to_owned()
    } else {
        parts.join("/")
    })
}
