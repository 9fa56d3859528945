//! The files of a folder. The only part of loading that touches the file system.
//!
//! Symbolic links to files inside the repository are read; those to folders are not followed, for
//! what they lead to is read at its own place, and a link cannot make the walk endless.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::build::KUSTOMIZATION_FILES;

use super::{OtherFiles, RawFile, Repository, Unread};

/// Larger files are not read: 32 MiB.
pub const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;

/// Folders that hold no manifests of anybody's.
const SKIPPED_FOLDERS: [&str; 2] = [".git", "node_modules"];

/// A folder could not be read at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

/// Loads all YAML files below `root`, in the order of their paths.
pub fn load(root: &Path) -> Result<Repository, Error> {
    let canonical = fs::canonicalize(root).map_err(|source| failed(root, source))?;
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in list(&canonical, &folder)? {
            let path = folder.join(&entry.name);
            if entry.is_folder {
                if is_walked(&entry.name, &canonical.join(&folder)) {
                    folders.push(path);
                }
            } else if is_yaml(&entry.name) {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut repository = Repository::from_files(files.into_iter().map(|path| RawFile {
        content: read(&canonical, &path),
        path: portable(&path),
    }));
    repository.other_files = Some(Arc::new(Folder { root: canonical }));
    Ok(repository)
}

/// The files of a folder, none outside of it.
#[derive(Debug)]
struct Folder {
    root: PathBuf,
}

impl OtherFiles for Folder {
    fn read(&self, path: &str) -> Result<Vec<u8>, Unread> {
        read(&self.root, Path::new(path))
    }

    fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }
}

struct DirectoryEntry {
    name: String,
    is_folder: bool,
}

fn list(root: &Path, folder: &Path) -> Result<Vec<DirectoryEntry>, Error> {
    let path = root.join(folder);
    let entries = fs::read_dir(&path).map_err(|source| failed(&path, source))?;
    entries
        .map(|entry| {
            let entry = entry?;
            Ok(DirectoryEntry {
                // A name that is not UTF-8 cannot be named in a kustomization.
                name: entry.file_name().to_string_lossy().into_owned(),
                is_folder: entry.file_type()?.is_dir(),
            })
        })
        .collect::<io::Result<_>>()
        .map_err(|source| failed(&path, source))
}

/// A chart's templates are text for Helm and no YAML.
fn is_walked(name: &str, parent: &Path) -> bool {
    let is_chart_template = name == "templates" && parent.join("Chart.yaml").is_file();
    !SKIPPED_FOLDERS.contains(&name) && !is_chart_template
}

/// A kustomization may also be in a file `Kustomization`, without an extension.
fn is_yaml(name: &str) -> bool {
    let extension = Path::new(name).extension();
    let has_extension =
        extension.is_some_and(|extension| extension == "yaml" || extension == "yml");
    has_extension || KUSTOMIZATION_FILES.contains(&name)
}

fn read(root: &Path, path: &Path) -> Result<Vec<u8>, Unread> {
    let failed = |error: io::Error| Unread::Failed(error.to_string());
    let target = fs::canonicalize(root.join(path))
        .map_err(|error| Unread::DanglingLink(error.to_string()))?;
    if !target.starts_with(root) {
        return Err(Unread::LeadsOutside);
    }
    let metadata = fs::metadata(&target).map_err(failed)?;
    if !metadata.is_file() {
        return Err(Unread::Failed("it is not a regular file".to_owned()));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(Unread::TooLarge {
            size: metadata.len(),
        });
    }
    let mut bytes = Vec::new();
    // The file may grow between the two calls.
    let file = fs::File::open(&target).map_err(failed)?;
    file.take(MAX_FILE_BYTES)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

fn portable(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn paths(repository: &Repository) -> Vec<&str> {
        let files = repository.sources.iter();
        files.map(|(_, file)| file.path.as_str()).collect()
    }

    #[test]
    fn yaml_files_are_read_in_order_and_chart_templates_are_not() {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            "b/z.yml",
            "b.yaml",
            "a/x.yaml",
            ".git/x.yaml",
            "README.md",
            "app/Kustomization",
            "templates/t.yaml",
            "chart/Chart.yaml",
            "chart/templates/deployment.yaml",
        ] {
            write(folder.path(), path, "a: 1\n");
        }
        let repository = load(folder.path()).unwrap();
        assert_eq!(
            paths(&repository),
            [
                "a/x.yaml",
                "app/Kustomization",
                "b/z.yml",
                "b.yaml",
                "chart/Chart.yaml",
                "templates/t.yaml"
            ]
        );
        assert_eq!(repository.documents.len(), 6);
    }

    #[test]
    fn links_are_read_inside_the_repository_and_reported_outside() {
        let outside = tempfile::tempdir().unwrap();
        write(outside.path(), "secret.yaml", "token: hunter2\n");
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "app/a.yaml", "a: 1\n");
        symlink("app/a.yaml", folder.path().join("inside.yaml")).unwrap();
        symlink(
            outside.path().join("secret.yaml"),
            folder.path().join("outside.yaml"),
        )
        .unwrap();
        symlink("loop.yaml", folder.path().join("loop.yaml")).unwrap();
        symlink("nowhere", folder.path().join("dangling.yaml")).unwrap();
        symlink("..", folder.path().join("app/up")).unwrap();

        let repository = load(folder.path()).unwrap();
        let trouble: Vec<_> = repository
            .findings
            .iter()
            .map(|finding| {
                assert_eq!(finding.rule.id, "LOD001");
                repository.sources.get(finding.location.file).path.as_str()
            })
            .collect();
        assert_eq!(trouble, ["dangling.yaml", "loop.yaml", "outside.yaml"]);
        assert_eq!(repository.documents.len(), 2);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(&folder.path().join("nowhere")).is_err());
    }
}
