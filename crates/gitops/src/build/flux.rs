//! A kustomization as a Flux Kustomization changes it before it is built.

use crate::finding::Finding;
use crate::load::Repository;
use crate::rules::build::BLD002;
use crate::rules::flux::files::FLX014;
use crate::source::Location;
use crate::yaml::{Field, Node, Value};

use super::accumulate::{build_as, join};
use super::object::{Object, text_at};
use super::{Build, KUSTOMIZATION_FILES, Variables, folders};

/// What a Flux Kustomization makes of its path in this repository.
///
/// Its patches, images, components and target namespace become part of the kustomization; a folder
/// without one gets one with all YAML below it. Then the variables are put in.
pub fn build_flux(repository: &Repository, object: &Object, variables: &Variables) -> Build {
    let Some(spec) = object.node.get("spec") else {
        return Build::default();
    };
    let written = spec.get("path").filter(|path| path.text().is_some());
    let at = written.map_or(spec.at, |path| path.at);
    let path = written.and_then(Node::text).unwrap_or(".");
    let folder = join(".", path.trim_start_matches('/'));
    let Some((folder, mut root)) = folder.and_then(|folder| {
        let root = kustomization(repository, &folder, at)?;
        Some((folder, root))
    }) else {
        let message = format!("there is nothing in {path} that could be applied");
        let finding = Finding::new(&FLX014, at, message).about(object);
        return Build {
            findings: vec![finding],
            ..Build::default()
        };
    };
    for field in ["patches", "images", "components"] {
        extend(&mut root, field, spec.get(field));
    }
    if let Some(namespace) = spec.get("targetNamespace") {
        root.set(&["namespace"], namespace.clone());
    }
    let mut build = build_as(repository, &root, &folder);
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

/// The kustomization of a folder: its own, or one with everything below it, as Flux makes it.
fn kustomization(repository: &Repository, folder: &str, at: Location) -> Option<Node> {
    let own = KUSTOMIZATION_FILES.iter().find_map(|name| {
        let path = join(folder, name)?;
        repository.sources.find(&path)
    });
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
        value: Value::Mapping(Vec::new()),
    };
    let value = Value::Sequence(items);
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
    let below = |path: &str| path.strip_prefix(&prefix).map(str::to_owned);
    let mut own: Vec<String> = folders(repository)
        .iter()
        .filter_map(|path| below(path))
        .collect();
    own.retain(|path| path != ".");
    // Of a folder in a folder with a kustomization, the outer one decides.
    let is_inside = |path: &str| own.iter().any(|folder| is_below(path, folder));
    let mut paths: Vec<String> = own
        .iter()
        .filter(|path| !is_inside(path))
        .cloned()
        .collect();
    let documents = repository.documents.iter();
    let mut files: Vec<_> = documents
        .filter(|document| Object::new(document.root.clone()).is_some())
        .map(|document| document.file)
        .collect();
    files.dedup();
    let files = files
        .into_iter()
        .filter_map(|file| below(&repository.sources.get(file).path));
    paths.extend(files.filter(|path| !is_inside(path)));
    paths
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with('/'))
}

fn extend(root: &mut Node, field: &str, more: Option<&Node>) {
    let Some(more) = more.filter(|more| !more.items().is_empty()) else {
        return;
    };
    let mut items = root
        .get(field)
        .map_or(Vec::new(), |known| known.items().to_vec());
    items.extend(more.items().iter().cloned());
    let value = Value::Sequence(items);
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
