//! The order of a build: what a kustomization takes in, and what it then does with it.

use std::collections::{BTreeSet, HashSet};

use crate::finding::Finding;
use crate::load::{Repository, parse};
use crate::rules::build::{BLD001, BLD002, FLX021, FLX022};
use crate::rules::yaml::LOD002;
use crate::source::{FileId, Location};
use crate::yaml::Node;

use super::generate::{Behavior, generate, merge_into};
use super::labels::Reach;
use super::object::{Id, Object};
use super::patches::{Patch, Target};
use super::references::{self, Reference, Unclear};
use super::{
    Build, KUSTOMIZATION_FILES, field_paths, hash, images, kustomization, labels, names, namespace,
    patches,
};

/// Builds the kustomization in `folder`, a path from the repository's root. Never fails: what could
/// not be built is missing from the objects, and a finding says so.
pub fn build(repository: &Repository, folder: &str) -> Build {
    let mut builder = Builder::new(repository);
    let mut objects = Vec::new();
    match builder.kustomization_in(folder) {
        Some(file) => builder.accumulate(file, folder, &mut objects),
        None => builder.report(Finding::new(
            &FLX021,
            nowhere(repository),
            format!("the folder {folder} holds no kustomization"),
        )),
    }
    builder.add_hashes(&mut objects);
    let unclear = references::follow(&mut objects, &builder.references);
    for Unclear::Ambiguous { from, name } in unclear {
        let at = objects[from].node.at;
        let message =
            format!("the name {name:?} in this object may mean several objects of this build");
        builder.report(Finding::new(&BLD001, at, message).fix("give the objects different names"));
    }
    Build {
        objects,
        findings: builder.findings,
        files: builder.files,
    }
}

/// A place for a finding about something that is not in the repository.
fn nowhere(repository: &Repository) -> Location {
    let first = repository.sources.iter().next();
    let file = first.map_or_else(FileId::default, |(file, _)| file);
    Location::start_of(file)
}

/// A build takes in at most this many kustomizations: bases of bases of bases, each used twice, are a
/// bomb.
const MAX_KUSTOMIZATIONS: usize = 10_000;

struct Builder<'a> {
    repository: &'a Repository,
    /// The kustomizations that are being built, outermost first.
    open: Vec<String>,
    /// How many kustomizations were taken in so far.
    taken_in: usize,
    references: Vec<Reference>,
    /// Something could not be taken in, so that what is missing may be missing for that reason.
    is_incomplete: bool,
    findings: Vec<Finding>,
    files: BTreeSet<FileId>,
}

impl<'a> Builder<'a> {
    fn new(repository: &'a Repository) -> Self {
        Self {
            repository,
            open: Vec::new(),
            taken_in: 0,
            references: Vec::new(),
            is_incomplete: false,
            findings: Vec::new(),
            files: BTreeSet::new(),
        }
    }

    fn documents_of(&self, file: FileId) -> impl Iterator<Item = &'a Node> + use<'a> {
        let documents = self.repository.documents_of(file).iter();
        documents.map(|document| &document.root)
    }

    fn report(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    fn kustomization_in(&self, folder: &str) -> Option<FileId> {
        let path = |name: &&str| join(folder, name);
        let paths = KUSTOMIZATION_FILES.iter().filter_map(path);
        paths
            .into_iter()
            .find_map(|path| self.repository.sources.find(&path))
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
            let message = format!("the kustomization in {folder} takes in itself");
            self.report(Finding::new(&BLD001, root.at, message).fix("remove the circle"));
            return;
        }
        self.taken_in += 1;
        if self.taken_in > MAX_KUSTOMIZATIONS {
            if self.taken_in == MAX_KUSTOMIZATIONS + 1 {
                let message =
                    format!("a build takes in more than {MAX_KUSTOMIZATIONS} kustomizations");
                self.report(Finding::new(&LOD002, root.at, message));
            }
            return;
        }
        self.open.push(folder.to_owned());
        self.findings.extend(kustomization::check(root));
        self.take_in_resources(root, folder, objects);
        self.take_in_components(root, folder, objects);
        self.read_configurations(root, folder);
        self.run_generators(root, folder, objects);
        self.run_transformers(root, folder, objects);
        self.open.pop();
    }

    fn take_in_resources(&mut self, root: &'a Node, folder: &str, objects: &mut Vec<Object>) {
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
                Some(Found::Kustomization(file, folder)) => {
                    self.accumulate(file, &folder, &mut more);
                }
                Some(Found::File(file)) => more = self.objects_of(file, entry.at),
                None => {}
            }
            self.append(objects, &mut known, more, entry.at);
        }
    }

    fn take_in_components(&mut self, root: &'a Node, folder: &str, objects: &mut Vec<Object>) {
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
    fn append(
        &mut self,
        objects: &mut Vec<Object>,
        known: &mut HashSet<Id>,
        more: Vec<Object>,
        at: Location,
    ) {
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
    fn resolve(&mut self, path: &str, folder: &str, at: Location) -> Option<Found> {
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
        if is_remote(path) {
            self.report(Finding::new(
                &FLX022,
                at,
                format!("{path} is fetched over the network when Flux builds this"),
            ));
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
    fn read_configurations(&mut self, root: &'a Node, folder: &str) {
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

    fn run_generators(&mut self, root: &'a Node, folder: &str, objects: &mut Vec<Object>) {
        let mut ids = objects.iter().map(Object::id).collect();
        let common = root.get("generatorOptions");
        for (field, kind) in [
            ("configMapGenerator", "ConfigMap"),
            ("secretGenerator", "Secret"),
        ] {
            for entry in entries(root, field) {
                let repository = self.repository;
                let mut read = |path: &str| {
                    let target = join(folder, path)
                        .ok_or_else(|| format!("{path} leads out of the repository"))?;
                    repository
                        .bytes(&target)
                        .map_err(|reason| format!("{path}: {reason}"))
                };
                match generate(kind, entry, common, &mut read) {
                    Err(message) => self.report(Finding::new(&FLX021, entry.at, message)),
                    Ok(generated) if generated.behavior == Behavior::Create => {
                        self.append(objects, &mut ids, vec![generated.object], entry.at);
                    }
                    Ok(generated) => {
                        let name = generated.object.name();
                        let namespace = Some(generated.object.namespace())
                            .filter(|namespace| !namespace.is_empty());
                        let known = objects.iter_mut().find(|object| {
                            object.kind() == kind && object.was_called(namespace, name)
                        });
                        match known {
                            Some(known) => merge_into(known, &generated.object, generated.behavior),
                            None if self.is_incomplete => {}
                            None => {
                                let message =
                                    format!("there is no {kind} {name} that could be changed");
                                self.report(Finding::new(&BLD001, entry.at, message));
                            }
                        }
                    }
                }
            }
        }
    }

    /// In kustomize's order, which is not that of the file.
    fn run_transformers(&mut self, root: &'a Node, folder: &str, objects: &mut Vec<Object>) {
        for entry in entries(root, "patchesStrategicMerge") {
            self.patch_by_text(entry, None, folder, objects);
        }
        for entry in entries(root, "patches") {
            self.patch(entry, folder, objects);
        }
        if let Some(node) = root
            .get("namespace")
            .filter(|node| node.text().is_some_and(|text| !text.is_empty()))
        {
            let name = node.text().unwrap_or_default();
            objects
                .iter_mut()
                .for_each(|object| namespace::set(object, name, node.at));
            self.check_unique(objects, node.at);
        }
        for (field, is_prefix) in [("namePrefix", true), ("nameSuffix", false)] {
            if let Some(node) = root.get(field) {
                let text = node.scalar_text().unwrap_or_default();
                let (prefix, suffix) = if is_prefix { (text, "") } else { ("", text) };
                objects
                    .iter_mut()
                    .for_each(|object| names::affix(object, prefix, suffix, node.at));
            }
        }
        self.set_labels(root, objects);
        if let Some(pairs) = root.get("commonAnnotations") {
            objects
                .iter_mut()
                .for_each(|object| labels::set_annotations(object, pairs));
        }
        for entry in entries(root, "patchesJson6902") {
            self.patch(entry, folder, objects);
        }
        for entry in entries(root, "replicas") {
            let changed = objects
                .iter_mut()
                .map(|object| images::set_replicas(object, entry));
            if changed.filter(|changed| *changed).count() == 0 && !self.is_incomplete {
                let message = "no object with replicas has this name";
                self.report(Finding::new(&BLD001, entry.at, message));
            }
        }
        for entry in entries(root, "images") {
            objects
                .iter_mut()
                .for_each(|object| images::set_image(object, entry));
        }
    }

    fn set_labels(&mut self, root: &'a Node, objects: &mut [Object]) {
        if let Some(pairs) = root.get("commonLabels") {
            let reach = Reach {
                selectors: true,
                templates: true,
            };
            objects
                .iter_mut()
                .for_each(|object| labels::set_labels(object, pairs, reach));
        }
        for entry in entries(root, "labels") {
            if let Some(field) = entry.field("fields") {
                let message = "`fields` of a label is not supported here";
                self.report(Finding::new(&BLD002, field.key_at, message));
            }
            let is_true = |key: &str| entry.get(key).and_then(Node::scalar_text) == Some("true");
            let reach = Reach {
                selectors: is_true("includeSelectors"),
                templates: is_true("includeTemplates"),
            };
            if let Some(pairs) = entry.get("pairs") {
                objects
                    .iter_mut()
                    .for_each(|object| labels::set_labels(object, pairs, reach));
            }
        }
    }

    /// An entry of `patches` or `patchesJson6902`.
    fn patch(&mut self, entry: &'a Node, folder: &str, objects: &mut Vec<Object>) {
        let target = match entry.get("target").map(Target::parse).transpose() {
            Ok(target) => target,
            Err(message) => return self.report(Finding::new(&BLD002, entry.at, message)),
        };
        let options = entry.get("options");
        if let Some(text) = entry.get("patch") {
            self.patch_text(text, target.as_ref(), options, objects);
        } else if let Some(path) = entry.get("path") {
            self.patch_file(path, target.as_ref(), options, folder, objects);
        } else {
            self.report(Finding::new(
                &BLD001,
                entry.at,
                "a patch has either `patch` or `path`",
            ));
        }
    }

    /// An entry of `patchesStrategicMerge`: a path, or the patch itself.
    fn patch_by_text(
        &mut self,
        entry: &'a Node,
        target: Option<&Target>,
        folder: &str,
        objects: &mut Vec<Object>,
    ) {
        if entry.text().is_some_and(|text| text.contains('\n')) {
            self.patch_text(entry, target, None, objects);
        } else {
            self.patch_file(entry, target, None, folder, objects);
        }
    }

    fn patch_file(
        &mut self,
        path: &'a Node,
        target: Option<&Target>,
        options: Option<&Node>,
        folder: &str,
        objects: &mut Vec<Object>,
    ) {
        let found = path
            .text()
            .and_then(|text| self.resolve(text, folder, path.at));
        if let Some(Found::File(file)) = found {
            for document in self.documents_of(file) {
                self.apply(
                    &Patch::of(document.clone()),
                    target,
                    options,
                    path.at,
                    objects,
                );
            }
        }
    }

    /// A patch inside the kustomization. Its nodes all stand where the text begins.
    fn patch_text(
        &mut self,
        text: &Node,
        target: Option<&Target>,
        options: Option<&Node>,
        objects: &mut Vec<Object>,
    ) {
        let parsed = parse(text.at.file, text.text().unwrap_or_default());
        for finding in parsed.findings {
            self.report(Finding {
                location: text.at,
                ..finding
            });
        }
        for mut document in parsed.documents {
            document.place_all(text.at);
            self.apply(&Patch::of(document), target, options, text.at, objects);
        }
    }

    fn apply(
        &mut self,
        patch: &Patch,
        target: Option<&Target>,
        options: Option<&Node>,
        at: Location,
        objects: &mut Vec<Object>,
    ) {
        let is_for = |object: &Object| match (target, patch) {
            (Some(target), _) => target.is_for(object),
            (None, Patch::Strategic(patch)) => is_named_by(object, patch),
            (None, Patch::Json(_)) => false,
        };
        let mut matched = 0;
        let mut problems = Vec::new();
        objects.retain_mut(|object| {
            if !is_for(object) {
                return true;
            }
            matched += 1;
            patches::apply(object, patch, options).unwrap_or_else(|problem| {
                problems.push(format!("{}: {problem}", object.display_name()));
                true
            })
        });
        for problem in problems {
            self.report(Finding::new(&BLD001, at, problem));
        }
        if matched == 0 && target.is_none() && !self.is_incomplete {
            let message = "no object of this build is the one that the patch names";
            self.report(
                Finding::new(&BLD001, at, message)
                    .fix("correct the patch's kind, name or namespace"),
            );
        }
    }

    fn check_unique(&mut self, objects: &[Object], at: Location) {
        let mut seen = HashSet::new();
        for object in objects {
            if !seen.insert(object.id()) {
                let message = format!("two objects become {}", object.display_name());
                self.report(Finding::new(&BLD001, at, message));
            }
        }
    }

    fn add_hashes(&mut self, objects: &mut [Object]) {
        for object in objects.iter_mut().filter(|object| object.wants_hash) {
            let name = format!("{}-{}", object.name(), hash::suffix(object));
            let at = object.node.at;
            object.rename(name, at);
        }
    }
}

/// What a path in a kustomization leads to.
enum Found {
    File(FileId),
    Kustomization(FileId, String),
}

fn entries<'a>(node: &'a Node, key: &str) -> impl Iterator<Item = &'a Node> + use<'a> {
    node.get(key).map_or(&[][..], Node::items).iter()
}

/// A patch without a target is for the object that has its kind and name.
fn is_named_by(object: &Object, patch: &Node) -> bool {
    let metadata = |key: &str| patch.path(&["metadata", key]).and_then(Node::scalar_text);
    let same_kind = patch.text_of("kind") == Some(object.kind())
        && patch.text_of("apiVersion") == Some(object.api_version());
    let namespace = metadata("namespace").unwrap_or_default();
    same_kind && metadata("name").is_some_and(|name| object.was_called(Some(namespace), name))
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

fn is_remote(path: &str) -> bool {
    let is_shorthand = || {
        let host = path.split('/').next().unwrap_or_default();
        ["github.com", "gitlab.com", "bitbucket.org"].contains(&host)
    };
    path.contains("://") || path.starts_with("git@") || path.contains("?ref=") || is_shorthand()
}

/// The path `path` seen from `folder`; none where it leaves the repository.
fn join(folder: &str, path: &str) -> Option<String> {
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
