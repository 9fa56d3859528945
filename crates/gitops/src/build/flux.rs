//! A kustomization as a Flux Kustomization changes it before it is built.

use std::collections::BTreeSet;

use crate::finding::Finding;
use crate::load::Repository;
use crate::rules::build::BLD002;
use crate::rules::flux::files::FLX014;
use crate::source::{FileId, Location};
use crate::yaml::{Field, Node, Shared, Value};

use super::accumulate::join;
use super::object::{Object, text_at};
use super::{Build, Builds, KUSTOMIZATION_FILES, Variables, kustomization_file};

/// What a Flux Kustomization makes of its path in this repository: see [`Builds::flux`].
pub fn build_flux(repository: &Repository, object: &Object, variables: &Variables) -> Build {
    Builds::new(repository).flux(object, variables)
}

impl Builds<'_> {
    /// What a Flux Kustomization makes of its path in this repository.
    ///
    /// Its patches, images, components and target namespace become part of the kustomization; a folder
    /// without one gets one with all YAML below it. Then the variables are put in.
    pub fn flux(&self, object: &Object, variables: &Variables) -> Build {
        flux(self, object, variables)
    }
}

fn flux(builds: &Builds<'_>, object: &Object, variables: &Variables) -> Build {
    let Some(spec) = object.node.get("spec") else {
        return Build::default();
    };
    let written = spec.get("path").filter(|path| path.text().is_some());
    let at = written.map_or(spec.at, |path| path.at);
    let path = written.and_then(Node::text).unwrap_or(".");
    let folder = join(".", path.trim_start_matches('/'));
    let built = folder.and_then(|folder| {
        if changes_kustomization(spec) || kustomization_file(builds.repository, &folder).is_none() {
            let root = changed(builds.repository, spec, &folder, at)?;
            return Some(builds.folder_as(&root, &folder));
        }
        builds.folder(&folder)
    });
    let Some(mut build) = built else {
        let message = format!("there is nothing in {path} that could be applied");
        let finding = Finding::new(&FLX014, at, message).about(object);
        return Build {
            findings: vec![finding],
            ..Build::default()
        };
    };
    if let Some(post_build) = spec.field("postBuild") {
        let (undefined, findings) = variables.put_into(&mut build.objects);
        build.undefined = undefined;
        build.findings.extend(findings);
        let unread = unread_variables(&build.objects, object, post_build.key_at);
        build.findings.extend(unread);
    }
    for object in &mut build.objects {
        for field in ["labels", "annotations"] {
            let pairs = spec.path(&["commonMetadata", field]);
            for Field { key, node, .. } in pairs.map_or(&[][..], Node::fields) {
                object.node.set(&["metadata", field, key], node.clone());
            }
        }
    }
    build
}

/// The lists of a Flux Kustomization that go into the kustomization.
const LISTS: [&str; 3] = ["patches", "images", "components"];

fn changes_kustomization(spec: &Node) -> bool {
    let has_items = |field: &&str| spec.get(field).is_some_and(|list| !list.items().is_empty());
    spec.get("targetNamespace").is_some() || LISTS.iter().any(has_items)
}

/// The kustomization of a folder with what the Flux Kustomization adds.
fn changed(repository: &Repository, spec: &Node, folder: &str, at: Location) -> Option<Node> {
    let mut root = kustomization(repository, folder, at)?;
    for field in LISTS {
        extend(&mut root, field, spec.get(field));
    }
    if let Some(namespace) = spec.get("targetNamespace") {
        root.set(&["namespace"], namespace.clone());
    }
    Some(root)
}

/// The kustomization of a folder: its own, or one with everything below it, as Flux makes it.
fn kustomization(repository: &Repository, folder: &str, at: Location) -> Option<Node> {
    let own = kustomization_file(repository, folder);
    if let Some(file) = own {
        return repository
            .documents_of(file)
            .first()
            .map(|document| document.root.clone());
    }
    let paths = everything_below(repository, folder);
    let items = paths
        .into_iter()
        .map(|path| text_at(path, at))
        .collect::<Vec<_>>();
    if items.is_empty() {
        return None;
    }
    let mut root = Node {
        at,
        value: Value::Mapping(Shared::default()),
    };
    let value = Value::Sequence(items.into());
    root.set(&["resources"], Node { at, value });
    Some(root)
}

/// Files with objects, and folders with a kustomization of their own, relative to `folder`.
fn everything_below(repository: &Repository, folder: &str) -> Vec<String> {
    let prefix = if folder == "." {
        String::new()
    } else {
        format!("{folder}/")
    };
    let below = || {
        let files = repository.sources.below(&prefix);
        files.map(|(path, file)| (&path[prefix.len()..], file))
    };
    let own: BTreeSet<&str> = below()
        .filter_map(|(path, _)| {
            let (folder, name) = path.rsplit_once('/')?;
            KUSTOMIZATION_FILES.contains(&name).then_some(folder)
        })
        .collect();
    // Of a folder in a folder with a kustomization, the outer one decides.
    let is_inside = |path: &str| {
        let slashes = path.match_indices('/');
        { slashes }.any(|(slash, _)| own.contains(&path[..slash]))
    };
    let folders = own.iter().copied().filter(|path| !is_inside(path));
    let files = below()
        .filter(|(path, file)| !is_inside(path) && holds_objects(repository, *file))
        .map(|(path, _)| path);
    folders.chain(files).map(str::to_owned).collect()
}

fn holds_objects(repository: &Repository, file: FileId) -> bool {
    let mut documents = repository.documents_of(file).iter();
    documents.any(|document| Object::is_one(&document.root))
}

fn extend(root: &mut Node, field: &str, more: Option<&Node>) {
    let Some(more) = more.filter(|more| !more.items().is_empty()) else {
        return;
    };
    let mut items = root
        .get(field)
        .map_or(Vec::new(), |known| known.items().to_vec());
    items.extend(more.items().iter().cloned());
    let value = Value::Sequence(items.into());
    root.set(&[field], Node { at: more.at, value });
}

/// Kustomizations and namespaces whose names are made of variables with values that are not known
/// here: what others refer to by these names cannot be found.
fn unread_variables(objects: &[Object], parent: &Object, at: Location) -> Option<Finding> {
    let is_unread = |object: &Object| {
        let is_referred_to = matches!(object.kind(), "Kustomization" | "Namespace");
        object.namespace().contains("${") || is_referred_to && object.name().contains("${")
    };
    let message = "names of Kustomizations or namespaces are made of variables whose values are not in this repository";
    let has_variables = objects.iter().any(is_unread);
    has_variables.then(|| Finding::new(&BLD002, at, message).about(parent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::RawFile;

    /// What a Kustomization with variables makes of `object`.
    fn built(object: &str) -> Build {
        let flux = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: a}\nspec:\n  path: app\n  postBuild:\n    substitute: {X: x}\n    substituteFrom: [{kind: Secret, name: elsewhere}]\n";
        let files = [("ks.yaml", flux), ("app/object.yaml", object)];
        let repository = Repository::from_files(files.map(|(path, text)| RawFile {
            path: path.to_owned(),
            content: Ok(text.as_bytes().to_vec()),
        }));
        let flux = repository.documents_of(repository.sources.find("ks.yaml").unwrap());
        let flux = Object::new(flux[0].root.clone()).unwrap();
        let variables = Variables::of(&flux, &|_, _| None);
        build_flux(&repository, &flux, &variables)
    }

    #[test]
    fn variables_are_put_in_after_the_build() {
        let built = built("apiVersion: v1\nkind: Namespace\nmetadata: {name: 'n-${X}'}");
        assert_eq!(built.objects[0].name(), "n-x");
        assert!(built.findings.is_empty(), "{:?}", built.findings);
    }

    #[test]
    fn a_variable_is_reported_where_others_refer_to_the_name() {
        for (object, expected) in [
            (
                "apiVersion: v1\nkind: Namespace\nmetadata: {name: '${Y}'}",
                &["BLD002"][..],
            ),
            (
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: '${Y}'}",
                &["BLD002"],
            ),
            (
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '${Y}'}",
                &[],
            ),
        ] {
            let built = built(object);
            assert_eq!(built.objects.len(), 1);
            let broken: Vec<_> = built
                .findings
                .iter()
                .map(|finding| finding.rule.id)
                .collect();
            assert_eq!(broken, expected, "{object}");
        }
    }
}
