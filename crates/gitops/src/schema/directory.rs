//! Schemas in a folder of the user's: JSON files, named as kubeconform and the catalogues made for it name
//! them.
//!
//! For a Deployment (`apps/v1`), one of these, the first that is there:
//!
//! - `apps/deployment_v1.json`;
//! - `deployment-apps-v1.json`, where of the group only the part before the first dot counts, and a kind
//!   without a group has none;
//! - the same in a folder `v1.33.0-standalone-strict`, `v1.33.0-standalone` or `master-standalone-strict`,
//!   …: that of the Kubernetes version that is asked for, or else the newest.
//!
//! Only the schemas of kinds that are in the repository are read.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::graph::Graph;

use super::{ByKind, key};

/// A folder of schemas cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no schema.
    #[error("{path} is no JSON schema")]
    Malformed {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// The schemas for the kinds of a repository that are in the folder. `kubernetes` is the minor number of the
/// version that is asked for.
///
/// # Errors
/// If the folder cannot be read, or a file that is looked at is no JSON.
pub fn read(root: &Path, clusters: &[Graph], kubernetes: Option<u32>) -> Result<ByKind, Error> {
    let folders = folders(root, kubernetes)?;
    let objects = clusters.iter().flat_map(Graph::checked_objects);
    let kinds = objects.map(|object| (object.group(), object.version(), object.kind()));
    let kinds: BTreeSet<_> = kinds.collect();
    let mut schemas = ByKind::new();
    for (group, version, kind) in kinds {
        if ![group, version, kind].into_iter().all(is_name) {
            continue;
        }
        let mut paths = folders
            .iter()
            .flat_map(|folder| names(group, version, kind).map(|name| folder.join(name)));
        let found = paths.find_map(|path| schema(&path).transpose());
        if let Some(schema) = found.transpose()? {
            let key = key(group, version, kind);
            schemas.insert(key, Some(Arc::new(schema)));
        }
    }
    Ok(schemas)
}

/// What an object says of itself does not lead out of the folder.
fn is_name(text: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '.';
    text.chars().all(is_part) && !text.contains("..")
}

/// How the file of a kind may be called.
fn names(group: &str, version: &str, kind: &str) -> [String; 2] {
    let kind = kind.to_ascii_lowercase();
    let first = group.split('.').next().filter(|first| !first.is_empty());
    let group_and_version = first.map_or(version.to_owned(), |first| format!("{first}-{version}"));
    [
        format!("{group}/{kind}_{version}.json")
            .trim_start_matches('/')
            .to_owned(),
        format!("{kind}-{group_and_version}.json"),
    ]
}

/// The folders to look into, the most important one first.
fn folders(root: &Path, kubernetes: Option<u32>) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Unreadable {
        path: root.to_owned(),
        source,
    };
    let mut standalone = Vec::new();
    for entry in fs::read_dir(root).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((version, rest)) = name.split_once("-standalone") else {
            continue;
        };
        let version = Version::parse(version);
        let is_meant = kubernetes.is_none_or(|minor| version.minor == minor);
        if is_meant && ["", "-strict"].contains(&rest) {
            standalone.push((version, rest == "-strict", entry.path()));
        }
    }
    standalone.sort();
    let newest_first = standalone.into_iter().rev().map(|(.., path)| path);
    Ok([root.to_owned()].into_iter().chain(newest_first).collect())
}

/// A version of Kubernetes; `master` is newer than all others.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    minor: u32,
    patch: u32,
}

impl Version {
    fn parse(text: &str) -> Self {
        let mut numbers = text.trim_start_matches('v').split('.').skip(1);
        let mut number = || numbers.next()?.parse().ok();
        Self {
            minor: number().unwrap_or(u32::MAX),
            patch: number().unwrap_or_default(),
        }
    }
}

/// The schema in a file; none where there is no such file.
fn schema(path: &Path) -> Result<Option<Value>, Error> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|source| Error::Unreadable {
            path: path.to_owned(),
            source,
        })?,
    };
    let schema = serde_json::from_slice(&text);
    schema.map(Some).map_err(|source| Error::Malformed {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{RawFile, Repository};

    /// The schema in use for the kind Game, by its path, where these files are there.
    fn found(files: &[&str], kubernetes: Option<u32>) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        for path in files {
            let file = folder.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, format!("{{\"title\": \"{path}\"}}")).unwrap();
        }
        let text = "apiVersion: example.com/v1\nkind: Game\nmetadata: {name: a}\n";
        let repository = Repository::from_files([RawFile {
            path: "a.yaml".to_owned(),
            content: Ok(text.as_bytes().to_vec()),
        }]);
        let schemas = read(folder.path(), &Graph::clusters(&repository), kubernetes).unwrap();
        let schema = schemas.get("example.com/v1/Game")?.as_ref()?;
        Some(schema["title"].as_str()?.to_owned())
    }

    #[test]
    fn a_schema_is_found_by_the_names_that_others_use() {
        let catalogue = "example.com/game_v1.json";
        let flat = "game-example-v1.json";
        let old = "v1.32.9-standalone/game-example-v1.json";
        let new = "v1.33.0-standalone/game-example-v1.json";
        let strict = "v1.33.0-standalone-strict/game-example-v1.json";
        let master = "master-standalone/game-example-v1.json";
        for (files, version, expected) in [
            (&[catalogue, flat, new][..], None, Some(catalogue)),
            (&[flat, new], None, Some(flat)),
            (&[old, new, strict], None, Some(strict)),
            (&[old, new], None, Some(new)),
            (&[old, new, master], None, Some(master)),
            (&[old, new, master], Some(32), Some(old)),
            (&[old, new], Some(31), None),
            (&["other.json"], None, None),
        ] {
            assert_eq!(
                found(files, version).as_deref(),
                expected,
                "{files:?} {version:?}"
            );
        }
    }

    #[test]
    fn the_core_group_has_no_name() {
        assert_eq!(
            names("", "v1", "ConfigMap"),
            ["configmap_v1.json", "configmap-v1.json"]
        );
    }

    #[test]
    fn what_is_no_schema_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(folders(&folder.path().join("nowhere"), None).is_err());
        let path = folder.path().join("game-example-v1.json");
        fs::write(&path, "kind: Game").unwrap();
        assert!(matches!(schema(&path), Err(Error::Malformed { .. })));
    }
}
