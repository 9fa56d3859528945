//! Kustomizations built as kustomize builds them, without kustomize.
//!
//! [`build`] is the way in: it walks the folders in kustomize's order: resources,
//! generators, components, transformers; hashes and references come last, once for the whole build.
//! What is not supported is a finding ([`BLD002`](crate::rules::build::BLD002)), never left out
//! silently. Nodes keep the place at which they were written, also those that a patch brings.

mod accumulate;
mod envsubst;
mod field_paths;
mod flux;
mod generate;
mod glob;
mod hash;
mod images;
mod json_patch;
mod kustomization;
mod labels;
mod limits;
mod names;
mod namespace;
mod object;
mod patches;
mod reference_fields;
mod references;
mod remote;
mod replacements;
mod selector;
mod strategic;
mod substitute;
mod transform;

use std::collections::BTreeSet;

use crate::finding::Finding;
use crate::load::Repository;
use crate::source::FileId;

pub(crate) use accumulate::join;
pub use accumulate::{Builds, build};
pub use flux::build_flux;
pub(crate) use namespace::{is_built_in, is_namespaced};
pub use object::{Id, Object};
pub use substitute::{Undefined, Variables};

/// The outcome of a build.
#[derive(Debug, Default)]
pub struct Build {
    /// The objects, in the order of the kustomization.
    pub objects: Vec<Object>,
    /// What is wrong with the kustomizations of this build.
    pub findings: Vec<Finding>,
    /// The YAML files that were taken in. What is wrong with these is wrong with the build.
    pub files: BTreeSet<FileId>,
    /// Variables that nothing gives a value.
    pub undefined: Vec<Undefined>,
}

/// The objects as YAML, one document for each.
pub fn yaml(objects: &[Object]) -> String {
    let documents = objects.iter().map(|object| {
        let json = object.node.to_json();
        let text = serde_saphyr::to_string(&json).expect("JSON becomes YAML");
        format!("---\n{}\n", text.trim_end_matches('\n'))
    });
    documents.collect()
}

/// Whether the kustomization in a folder is a component: alone, it changes nothing, and is looked at
/// where it is used.
pub fn is_component(repository: &Repository, folder: &str) -> bool {
    let file = kustomization_file(repository, folder);
    let document = file.and_then(|file| repository.documents_of(file).first());
    document.is_some_and(|document| kustomization::is_component(&document.root))
}

/// The kustomization file of a folder.
pub fn kustomization_file(repository: &Repository, folder: &str) -> Option<FileId> {
    let mut paths = KUSTOMIZATION_FILES
        .iter()
        .filter_map(|name| accumulate::join(folder, name));
    paths.find_map(|path| repository.sources.find(&path))
}

/// The names under which a kustomization is looked for, in kustomize's order.
pub const KUSTOMIZATION_FILES: [&str; 3] =
    ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The folders that hold a kustomization, in the order of their paths. `.` is the root.
pub fn folders(repository: &Repository) -> Vec<String> {
    let files = repository.sources.iter();
    let mut folders: Vec<String> = files
        .filter_map(|(_, file)| {
            let (folder, name) = file.path.rsplit_once('/').unwrap_or((".", &file.path));
            KUSTOMIZATION_FILES
                .contains(&name)
                .then(|| folder.to_owned())
        })
        .collect();
    folders.dedup();
    folders
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::RawFile;

    fn repository(files: &[(&str, &str)]) -> Repository {
        Repository::from_files(files.iter().map(|(path, text)| RawFile {
            path: (*path).to_owned(),
            content: Ok(text.as_bytes().to_vec()),
        }))
    }

    /// `RULE file:line message`, one for each finding.
    fn messages(repository: &Repository, findings: &[Finding]) -> Vec<String> {
        let line = |finding: &Finding| {
            let line = repository.sources.position(finding.location).line;
            let path = &repository.sources.get(finding.location.file).path;
            format!("{} {path}:{line} {}", finding.rule.id, finding.message)
        };
        findings.iter().map(line).collect()
    }

    const CONFIG_MAP: &str =
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n";

    #[test]
    fn a_patched_field_stands_where_the_patch_stands() {
        let repository = repository(&[
            (
                "kustomization.yaml",
                "namespace: media\nresources: [a.yaml]\npatches:\n  - path: patch.yaml\n",
            ),
            ("a.yaml", CONFIG_MAP),
            (
                "patch.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  more: x\n",
            ),
        ]);
        let built = build(&repository, ".").unwrap();
        assert!(built.findings.is_empty(), "{:?}", built.findings);
        let place = |path: &[&str]| {
            let location = built.objects[0].node.path(path).unwrap().at;
            let file = &repository.sources.get(location.file).path;
            format!("{file}:{}", repository.sources.position(location).line)
        };
        assert_eq!(place(&["data", "k"]), "a.yaml:6");
        assert_eq!(place(&["data", "more"]), "patch.yaml:6");
        assert_eq!(place(&["metadata", "namespace"]), "kustomization.yaml:1");
    }

    #[test]
    fn a_mistake_is_found_where_it_is_and_once() {
        for (kustomization, expected) in [
            (
                "resources: [a.yaml, ../../etc/passwd]",
                "FLX021 app/kustomization.yaml:1 ../../etc/passwd leads out of the repository",
            ),
            (
                "resources:\n- a.yaml\n- https://x.example/main/install.yaml",
                "FLX022 app/kustomization.yaml:3 https://x.example/main/install.yaml is fetched",
            ),
            (
                "resources: [a.yaml]\nvars: []",
                "BLD002 app/kustomization.yaml:2 `vars`",
            ),
            (
                "resources: [a.yaml]\nressources: []",
                "BLD001 app/kustomization.yaml:2 a kustomization has no field `ressources`",
            ),
            (
                "resources: a.yaml",
                "BLD001 app/kustomization.yaml:1 `resources` is a list, and this is none",
            ),
            (
                "resources: [a.yaml, .]",
                "BLD001 app/kustomization.yaml:1 the kustomization in app takes in itself",
            ),
            (
                "resources: [a.yaml, ./a.yaml]",
                "BLD001 app/kustomization.yaml:1 ConfigMap a is taken in twice",
            ),
            (
                "resources: [a.yaml]\npatches:\n- patch: '- {op: add, path: /data/x}'\n  target: {kind: ConfigMap}",
                "BLD001 app/kustomization.yaml:3 ConfigMap a: the operation add /data/x has no value",
            ),
            (
                "resources: [a.yaml]\nreplacements:\n- source: {kind: Secret}\n  targets: [{select: {kind: ConfigMap}}]",
                "BLD001 app/kustomization.yaml:3 no object of this build is the source",
            ),
            (
                "resources: [a.yaml]\nconfigMapGenerator:\n- name: b\n  behavior: merge",
                "BLD001 app/kustomization.yaml:3 there is no ConfigMap b",
            ),
        ] {
            let repository = repository(&[
                ("app/a.yaml", CONFIG_MAP),
                ("app/kustomization.yaml", kustomization),
                ("user/kustomization.yaml", "resources: [../app]\n"),
            ]);
            assert!(repository.findings.is_empty());
            let clusters = crate::graph::Graph::clusters(&repository);
            let mut found = messages(&repository, &clusters[0].findings);
            // Once for the folder, once for its user.
            assert_eq!(found.len(), 2, "{kustomization}: {found:?}");
            found.dedup();
            assert_eq!(found.len(), 1, "{kustomization}: {found:?}");
            assert!(found[0].starts_with(expected), "{kustomization}: {found:?}");
        }
    }

    #[test]
    fn bases_that_multiply_end_at_a_limit() {
        let mut files = vec![(
            "0/kustomization.yaml".to_owned(),
            "namePrefix: x-\n".to_owned(),
        )];
        for level in 1..40 {
            let below = level - 1;
            let text = format!("resources: [../{below}, ../{below}]\n");
            files.push((format!("{level}/kustomization.yaml"), text));
        }
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| (&**path, &**text))
            .collect();
        let repository = repository(&files);
        let found = messages(&repository, &build(&repository, "39").unwrap().findings);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("LOD002"), "{found:?}");
    }
}
