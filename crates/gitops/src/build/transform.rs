//! What a kustomization does with the objects that it has: generators, patches, and the rest.

use std::collections::HashSet;

use crate::finding::Finding;
use crate::load::parse;
use crate::rules::build::{BLD001, BLD002};
use crate::rules::flux::files::FLX021;
use crate::source::Location;
use crate::yaml::{Node, Value};

use super::accumulate::{Builder, Found, entries, join};
use super::generate::{Behavior, generate, merge_into};
use super::labels::Reach;
use super::object::Object;
use super::patches::{Patch, Target};
use super::replacements::Problem;
use super::{images, labels, limits, names, namespace, patches, replacements};

impl Builder<'_> {
    /// Makes objects of files and literals.
    pub(super) fn run_generators(&mut self, root: &Node, folder: &str, objects: &mut Vec<Object>) {
        let mut ids = objects.iter().map(Object::id).collect();
        let common = root.get("generatorOptions");
        for (field, kind) in [
            ("configMapGenerator", "ConfigMap"),
            ("secretGenerator", "Secret"),
        ] {
            for entry in entries(root, field) {
                let (repository, spent) = (self.repository, &self.builds.spent);
                let mut read = |path: &str| {
                    let target = join(folder, path)
                        .ok_or_else(|| format!("{path} leads out of the repository"))?;
                    let bytes = repository.bytes(&target);
                    let bytes = bytes.map_err(|reason| format!("{path}: {reason}"))?;
                    let limit = limits::GENERATED_BYTES;
                    let is_within = spent.generated_bytes.add(bytes.len(), limit);
                    is_within
                        .then_some(bytes)
                        .ok_or_else(|| format!("all generators read more than {limit} bytes"))
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
    pub(super) fn run_transformers(
        &mut self,
        root: &Node,
        folder: &str,
        objects: &mut Vec<Object>,
    ) {
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
        self.replace_values(root, folder, objects);
    }

    fn set_labels(&mut self, root: &Node, objects: &mut [Object]) {
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
            let is_true = |key: &str| entry.get(key).and_then(Node::scalar_text) == Some("true");
            let reach = Reach {
                selectors: is_true("includeSelectors"),
                templates: is_true("includeTemplates"),
            };
            if let Some(pairs) = entry.get("pairs") {
                objects
                    .iter_mut()
                    .for_each(|object| labels::set_labels(object, pairs, reach));
                for field in entries(entry, "fields") {
                    let outcome = objects
                        .iter_mut()
                        .try_for_each(|object| labels::set_at(object, pairs, field));
                    if let Err(message) = outcome {
                        self.report(Finding::new(&BLD001, field.at, message));
                    }
                }
            }
        }
    }

    /// Values of some objects, put into others. Comes last.
    fn replace_values(&mut self, root: &Node, folder: &str, objects: &mut [Object]) {
        for entry in entries(root, "replacements") {
            let Some(path) = entry.get("path") else {
                self.replace_value(entry, entry.at, objects);
                continue;
            };
            let found = path
                .text()
                .and_then(|text| self.resolve(text, folder, path.at));
            if let Some(Found::File(file)) = found {
                for document in self.documents_of(file) {
                    match &document.value {
                        Value::Sequence(several) => {
                            for one in several {
                                self.replace_value(one, one.at, objects);
                            }
                        }
                        _ => self.replace_value(document, document.at, objects),
                    }
                }
            }
        }
    }

    fn replace_value(&mut self, replacement: &Node, at: Location, objects: &mut [Object]) {
        match replacements::replace(replacement, objects) {
            Ok(()) => {}
            Err(Problem::Unsupported(message)) => self.report(Finding::new(&BLD002, at, message)),
            Err(Problem::NoSource(_)) if self.is_incomplete => {}
            Err(Problem::NoSource(message) | Problem::Wrong(message)) => {
                self.report(Finding::new(&BLD001, at, message));
            }
        }
    }

    /// An entry of `patches` or `patchesJson6902`.
    fn patch(&mut self, entry: &Node, folder: &str, objects: &mut Vec<Object>) {
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
        entry: &Node,
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
        path: &Node,
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
}

/// A patch without a target is for the object that has its kind and name.
fn is_named_by(object: &Object, patch: &Node) -> bool {
    let metadata = |key: &str| patch.path(&["metadata", key]).and_then(Node::scalar_text);
    let same_kind = patch.text_of("kind") == Some(object.kind())
        && patch.text_of("apiVersion") == Some(object.api_version());
    let namespace = metadata("namespace").unwrap_or_default();
    same_kind && metadata("name").is_some_and(|name| object.was_called(Some(namespace), name))
}
