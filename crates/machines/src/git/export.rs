//! The tree of a commit on the operator's disk, submodules included.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};

use nico_api::names::{CommitId, GitUrl};

use super::error::MirrorError;
use super::mirror::{Mirror, remove, storage};
use super::submodules::{self, Submodule};
use crate::tree;

/// The tree of one commit on the operator's disk, read-only for all who share it. Removed when
/// the last of them is done.
#[derive(Debug)]
pub struct Export {
    path: PathBuf,
}

impl Export {
    /// The directory of the tree.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "export not removed");
        }
    }
}

/// What is put into the tree of a commit: the tree of a submodule, and where it goes.
type Part = (String, Arc<Export>);

impl Mirror {
    /// The tree of a commit, fetched when the mirror lacks it and written out when nobody else
    /// uses it already.
    ///
    /// # Errors
    /// [`MirrorError`].
    pub async fn export(&self, commit: &CommitId) -> Result<Arc<Export>, MirrorError> {
        self.note_use(commit);
        if let Some(export) = self.exported(commit) {
            return Ok(export);
        }
        let submodules = {
            let _storage = self.storage.lock().await;
            self.fetch(commit).await?;
            match self.submodules(commit).await {
                Err(error) if error.may_be_damage() => {
                    self.make_anew(commit, &error).await?;
                    self.submodules(commit).await?
                }
                submodules => submodules?,
            }
        };
        // Another commit of this repository may be among them, so nothing is held meanwhile. No
        // commit is within itself, so this ends.
        let mut parts = Vec::new();
        for submodule in submodules {
            let export = Box::pin(self.export_submodule(&submodule)).await?;
            parts.push((submodule.path, export));
        }
        let _storage = self.storage.lock().await;
        if let Some(export) = self.exported(commit) {
            return Ok(export);
        }
        let export = match self.write_tree(commit, &parts).await {
            Err(error) if error.may_be_damage() => {
                self.make_anew(commit, &error).await?;
                self.write_tree(commit, &parts).await?
            }
            written => written?,
        };
        let export = Arc::new(export);
        let mut exports = self.exports.lock().unwrap_or_else(PoisonError::into_inner);
        exports.retain(|_, export| export.strong_count() > 0);
        exports.insert(commit.clone(), Arc::downgrade(&export));
        Ok(export)
    }

    fn exported(&self, commit: &CommitId) -> Option<Arc<Export>> {
        let exports = self.exports.lock().unwrap_or_else(PoisonError::into_inner);
        exports.get(commit).and_then(Weak::upgrade)
    }

    async fn submodules(&self, commit: &CommitId) -> Result<Vec<Submodule>, MirrorError> {
        const TASK: &str = "list a commit of";
        let mut command = self.git_in(&self.path());
        command.args(["ls-tree", "-r", "-z", commit.as_str()]);
        let entries = self.run(TASK, command).await?;
        let entries = String::from_utf8_lossy(&entries);
        if !entries.contains("160000 commit ") {
            return Ok(Vec::new());
        }
        let is_named = entries.contains("\t.gitmodules\0");
        let settings = if is_named {
            let blob = format!("{commit}:.gitmodules");
            let mut command = self.git_in(&self.path());
            command.args(["config", "--blob", &blob, "-z", "--get-regexp"]);
            command.arg(r"^submodule\..*\.(path|url)$");
            self.run(TASK, command).await?
        } else {
            Vec::new()
        };
        let settings = String::from_utf8_lossy(&settings);
        submodules::read(&entries, &settings).map_err(|path| MirrorError::SubmoduleNotNamed {
            url: self.shown_url(),
            commit: commit.to_string(),
            path,
        })
    }

    async fn export_submodule(&self, submodule: &Submodule) -> Result<Arc<Export>, MirrorError> {
        let failed = |source: MirrorError| MirrorError::Submodule {
            url: self.shown_url(),
            path: submodule.path.clone(),
            source: Box::new(source),
        };
        let url = submodules::absolute(&self.url, &submodule.url);
        let url: GitUrl = url.parse().map_err(|error| MirrorError::SubmoduleUrl {
            url: self.shown_url(),
            path: submodule.path.clone(),
            source: error,
        })?;
        let credentials = submodules::credentials(&self.url, &url, &self.credentials);
        // The mirrors are there as long as somebody asks them for something.
        let siblings = self.siblings.upgrade().ok_or(MirrorError::Ended)?;
        let mirror = siblings.get(&url, &credentials).map_err(failed)?;
        mirror.export(&submodule.commit).await.map_err(failed)
    }

    /// Writes the tree beside its final place first, so that an export is whole or not there.
    async fn write_tree(&self, commit: &CommitId, parts: &[Part]) -> Result<Export, MirrorError> {
        let exports = self.settings.directory.join("exports");
        // A new name each time: the last user of an earlier export may just be removing it.
        let number = self.exported_before.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{}-{number}", self.key, commit.short());
        let path = exports.join(&name);
        let partial = exports.join(format!("{name}.partial"));
        let index = exports.join(format!("{name}.index"));
        tokio::fs::create_dir(&partial)
            .await
            .map_err(storage(&partial))?;
        let written = self.fill(commit, &partial, &index, parts).await;
        let _ = tokio::fs::remove_file(&index).await;
        if let Err(error) = written {
            remove(&partial).await?;
            return Err(error);
        }
        tokio::fs::rename(&partial, &path)
            .await
            .map_err(storage(&path))?;
        Ok(Export { path })
    }

    async fn fill(
        &self,
        commit: &CommitId,
        directory: &Path,
        index: &Path,
        parts: &[Part],
    ) -> Result<(), MirrorError> {
        for arguments in [
            &["read-tree", commit.as_str()][..],
            &["checkout-index", "--all", "--quiet"][..],
        ] {
            let mut command = self.git_in(&self.path());
            command
                .env("GIT_INDEX_FILE", index)
                .env("GIT_WORK_TREE", directory)
                .current_dir(directory)
                .args(arguments);
            self.run("export a commit from", command).await?;
        }
        for (path, export) in parts {
            let (from, to) = (export.path().to_owned(), directory.join(path));
            let copied = tokio::task::spawn_blocking(move || tree::copy(&from, &to)).await;
            match copied {
                Ok(copied) => copied.map_err(|error| storage(&error.path)(error.source))?,
                Err(_) => return Err(MirrorError::Ended),
            }
        }
        Ok(())
    }
}
