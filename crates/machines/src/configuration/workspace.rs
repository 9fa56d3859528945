//! The private directory of one attempt: the exported commit with the additional files in it.
//!
//! Only the operator's user may enter it; it is removed when the attempt ends, and what a killed
//! process left is removed when the next one starts. A `nix` that outlives its operator makes the
//! directory of its result anew, so each end of an attempt looks for what belongs to none.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use super::files::File;
use crate::tree;

/// The directory of all attempts.
#[derive(Clone, Debug)]
pub(super) struct Workspaces {
    directory: PathBuf,
    /// How the names of this process's own begin.
    prefix: String,
    /// Names that an earlier process left.
    left: Arc<HashSet<OsString>>,
    /// The names of those in use. Held while one is made or removed.
    in_use: Arc<Mutex<HashSet<OsString>>>,
}

/// The directory of one attempt. Removed on drop.
#[derive(Debug)]
pub(super) struct Workspace {
    directory: PathBuf,
    all: Workspaces,
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

impl Workspaces {
    /// Makes the directory of all attempts, private and empty.
    ///
    /// # Errors
    /// What the operating system says.
    pub(super) fn open(directory: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&directory)?;
        fs::set_permissions(&directory, Permissions::from_mode(0o700))?;
        let left: io::Result<_> = fs::read_dir(&directory)?
            .map(|entry| Ok(entry?.file_name()))
            .collect();
        let all = Self {
            directory,
            prefix: format!("{:08x}-", rand::random::<u32>()),
            left: Arc::new(left?),
            in_use: Arc::default(),
        };
        all.sweep(&HashSet::new())?;
        Ok(all)
    }

    /// A new directory with the tree of `export` and `files` below `subdirectory` of it.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    pub(super) async fn create(
        &self,
        export: &Path,
        subdirectory: &str,
        files: Vec<File>,
    ) -> Result<Workspace, WorkspaceError> {
        let all = self.clone();
        let export = export.to_owned();
        let subdirectory = subdirectory.to_owned();
        let create = move || {
            let workspace = all.add().map_err(storage(&all.directory))?;
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

    fn add(&self) -> io::Result<Workspace> {
        let mut in_use = self.in_use();
        let directory = TempDir::with_prefix_in(&self.prefix, &self.directory)?.keep();
        in_use.extend(directory.file_name().map(OsString::from));
        Ok(Workspace {
            directory,
            all: self.clone(),
        })
    }

    fn in_use(&self) -> MutexGuard<'_, HashSet<OsString>> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the directories of attempts that have ended. One that somebody still writes into,
    /// who outlived the attempt, goes the next time.
    fn sweep(&self, in_use: &HashSet<OsString>) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_own = name.to_string_lossy().starts_with(&self.prefix);
            let has_ended = self.left.contains(&name) || is_own && !in_use.contains(&name);
            if has_ended && let Err(error) = fs::remove_dir_all(entry.path()) {
                tracing::debug!(?name, %error, "the directory of an attempt was not removed");
            }
        }
        Ok(())
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let mut in_use = self.all.in_use();
        if let Some(name) = self.directory.file_name() {
            in_use.remove(name);
        }
        if let Err(error) = self.all.sweep(&in_use) {
            tracing::warn!(%error, "cannot look for what old attempts left");
        }
    }
}

impl Workspace {
    /// The directory itself, for files beside the tree.
    pub(super) fn path(&self) -> &Path {
        &self.directory
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
        all: Workspaces,
    }

    impl Fixture {
        fn new() -> Self {
            let directory = TempDir::new().unwrap();
            let export = directory.path().join("export");
            fs::create_dir_all(export.join("sub")).unwrap();
            fs::write(export.join("sub/flake.nix"), "{ }").unwrap();
            let all = Workspaces::open(directory.path().join("attempts")).unwrap();
            Self { directory, all }
        }

        fn export(&self) -> PathBuf {
            self.directory.path().join("export")
        }

        async fn workspace(&self, path: &str) -> Result<Workspace, WorkspaceError> {
            let file = File {
                path: path.to_owned(),
                content: b"injected".to_vec(),
            };
            self.all.create(&self.export(), "sub", vec![file]).await
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

    #[tokio::test]
    async fn what_comes_back_after_its_attempt_goes_with_the_next_and_others_stay() {
        let fixture = Fixture::new();
        let ended = fixture.workspace("file").await.unwrap();
        let path = ended.path().to_owned();
        drop(ended);
        fs::create_dir(&path).unwrap();
        let running = fixture.workspace("file").await.unwrap();
        let of_another = fixture.all.directory.join("another");
        fs::create_dir(&of_another).unwrap();
        drop(fixture.workspace("file").await.unwrap());
        assert!(!path.exists());
        assert!(running.tree().join("sub/file").exists());
        assert!(of_another.exists());
    }

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let directory = TempDir::new().unwrap();
        let attempts = directory.path().join("attempts");
        fs::create_dir_all(attempts.join("stale")).unwrap();
        Workspaces::open(attempts.clone()).unwrap();
        assert_eq!(fs::read_dir(&attempts).unwrap().count(), 0);
        let mode = fs::metadata(&attempts).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
