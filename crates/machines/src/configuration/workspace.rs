//! The private directory of one attempt: the exported commit with the additional files in it.
//!
//! Only the operator's user may enter it; it is removed when the attempt ends, and what a killed
//! process left is removed when the next one starts.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use tempfile::TempDir;

use super::files::File;
use crate::tree;

/// The directory of one attempt. Removed on drop.
#[derive(Debug)]
pub(super) struct Workspace {
    directory: TempDir,
}

/// A tree that cannot be put together.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkspaceError {
    /// The operator's disk.
    #[error("cannot write {}: {source}", path.display())]
    Storage {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file would leave the tree, or replace a directory.
    #[error("additional file {file:?} cannot be put into the repository: {} {problem} there", at.display())]
    Occupied {
        /// Path of the additional file.
        file: String,
        /// What is in its way, relative to the tree.
        at: PathBuf,
        /// What that is.
        problem: &'static str,
    },
    /// The thread that copies was stopped.
    #[error("the copy of the sources was interrupted")]
    Interrupted,
}

/// Makes the directory of all attempts, private and empty.
///
/// # Errors
/// What the operating system says.
pub(super) fn prepare(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(directory)?;
    fs::set_permissions(directory, Permissions::from_mode(0o700))
}

impl Workspace {
    /// A new directory with the tree of `export` and `files` below `subdirectory` of it.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    pub(super) async fn create(
        attempts: &Path,
        export: &Path,
        subdirectory: &str,
        files: Vec<File>,
    ) -> Result<Self, WorkspaceError> {
        let attempts = attempts.to_owned();
        let export = export.to_owned();
        let subdirectory = subdirectory.to_owned();
        let create = move || {
            let directory = TempDir::new_in(&attempts).map_err(storage(&attempts))?;
            let workspace = Self { directory };
            tree::copy(&export, &workspace.tree())
                .map_err(|error| storage(&error.path)(error.source))?;
            for file in &files {
                workspace.add(&subdirectory, file)?;
            }
            Ok(workspace)
        };
        tokio::task::spawn_blocking(create)
            .await
            .unwrap_or(Err(WorkspaceError::Interrupted))
    }

    /// The directory itself, for files beside the tree.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The tree.
    pub(super) fn tree(&self) -> PathBuf {
        self.path().join("tree")
    }

    /// Writes a file into the tree, in place of one of the same name. Never follows a symbolic
    /// link of the repository: it could lead out of the tree.
    fn add(&self, subdirectory: &str, file: &File) -> Result<(), WorkspaceError> {
        let relative = Path::new(subdirectory).join(&file.path);
        let occupied = |at: &Path, problem| WorkspaceError::Occupied {
            file: file.path.clone(),
            at: at.to_owned(),
            problem,
        };
        let parts: Vec<Component<'_>> = relative
            .components()
            .filter(|part| !matches!(part, Component::CurDir))
            .collect();
        let mut at = PathBuf::new();
        for (index, part) in parts.iter().enumerate() {
            let Component::Normal(name) = part else {
                return Err(occupied(&relative, "is not a relative path"));
            };
            at.push(name);
            let path = self.tree().join(&at);
            let is_last = index + 1 == parts.len();
            match fs::symlink_metadata(&path) {
                Ok(there) if is_last && there.is_dir() => {
                    return Err(occupied(&at, "is a directory"));
                }
                // Removed first: the file may be a hard link into the export that others share.
                Ok(_) if is_last => fs::remove_file(&path).map_err(storage(&path))?,
                Ok(there) if there.is_symlink() => {
                    return Err(occupied(&at, "is a symbolic link"));
                }
                Ok(there) if !there.is_dir() => return Err(occupied(&at, "is a file")),
                Ok(_) => {}
                Err(_) if is_last => {}
                Err(_) => fs::create_dir(&path).map_err(storage(&path))?,
            }
        }
        let path = self.tree().join(&at);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut new| new.write_all(&file.content))
            .map_err(storage(&path))
    }
}

fn storage(path: &Path) -> impl FnOnce(io::Error) -> WorkspaceError + '_ {
    move |source| WorkspaceError::Storage {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        directory: TempDir,
    }

    impl Fixture {
        fn new() -> Self {
            let directory = TempDir::new().unwrap();
            let export = directory.path().join("export");
            fs::create_dir_all(export.join("sub")).unwrap();
            fs::write(export.join("sub/flake.nix"), "{ }").unwrap();
            fs::create_dir(directory.path().join("attempts")).unwrap();
            Self { directory }
        }

        fn export(&self) -> PathBuf {
            self.directory.path().join("export")
        }

        async fn workspace(&self, path: &str) -> Result<Workspace, WorkspaceError> {
            let attempts = self.directory.path().join("attempts");
            let file = File {
                path: path.to_owned(),
                content: b"injected".to_vec(),
            };
            Workspace::create(&attempts, &self.export(), "sub", vec![file]).await
        }
    }

    #[tokio::test]
    async fn files_are_added_below_the_subdirectory() {
        let fixture = Fixture::new();
        let workspace = fixture.workspace("deep/er/file").await.unwrap();
        let tree = workspace.tree();
        let added = fs::read_to_string(tree.join("sub/deep/er/file")).unwrap();
        assert_eq!(added, "injected");
        assert_eq!(
            fs::read_to_string(tree.join("sub/flake.nix")).unwrap(),
            "{ }"
        );
        let path = workspace.path().to_owned();
        drop(workspace);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn replacing_a_file_leaves_the_shared_export_alone() {
        let fixture = Fixture::new();
        let workspace = fixture.workspace("flake.nix").await.unwrap();
        let replaced = fs::read_to_string(workspace.tree().join("sub/flake.nix")).unwrap();
        assert_eq!(replaced, "injected");
        let shared = fs::read_to_string(fixture.export().join("sub/flake.nix")).unwrap();
        assert_eq!(shared, "{ }");
    }

    #[tokio::test]
    async fn a_symbolic_link_of_the_repository_leads_nowhere() {
        let fixture = Fixture::new();
        let outside = fixture.directory.path().join("outside");
        fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, fixture.export().join("sub/out")).unwrap();
        let error = fixture.workspace("out/file").await.unwrap_err();
        assert!(matches!(error, WorkspaceError::Occupied { .. }), "{error}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn nothing_is_written_outside_the_tree() {
        let fixture = Fixture::new();
        for path in ["../../escaped", "/escaped", "a/../../../escaped"] {
            let error = fixture.workspace(path).await.unwrap_err();
            assert!(
                matches!(error, WorkspaceError::Occupied { .. }),
                "{path}: {error}"
            );
        }
    }

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let directory = TempDir::new().unwrap();
        let attempts = directory.path().join("attempts");
        fs::create_dir_all(attempts.join("stale")).unwrap();
        prepare(&attempts).unwrap();
        assert_eq!(fs::read_dir(&attempts).unwrap().count(), 0);
        let mode = fs::metadata(&attempts).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
