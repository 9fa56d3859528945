//! One bare mirror: its references looked up, its commits fetched and exported.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use nico_api::names::{CommitId, GitUrl};
use nico_git::{Credentials, Git, GitError};
use tokio::process::Command;

use super::error::MirrorError;
use super::mirrors::Settings;
use crate::configuration::metrics::ConfigurationMetrics;
use crate::program::{self, ProgramError, Redactor};

/// How old the answer to a lookup may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// As old as the interval in which lookups are shared.
    Shared,
    /// Not older than this question.
    Now,
}

/// A lookup that failed, for all who asked within the wait after it.
#[derive(Clone, Debug)]
pub struct LookupFailure {
    /// What went wrong.
    pub error: Arc<MirrorError>,
    /// How long until it is tried again.
    pub retry_in: Duration,
}

/// One repository as seen with one set of credentials.
pub struct Mirror {
    key: String,
    url: GitUrl,
    credentials: Credentials,
    settings: Arc<Settings>,
    metrics: ConfigurationMetrics,
    lookups: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Lookup>>>>>,
    /// Held while the mirror on disk is changed.
    storage: tokio::sync::Mutex<()>,
    exports: Mutex<HashMap<CommitId, Weak<Export>>>,
    exported_before: AtomicU64,
}

struct Lookup {
    asked: Instant,
    valid_for: Duration,
    failures: u32,
    outcome: Result<CommitId, LookupFailure>,
}

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

impl Mirror {
    pub(super) fn new(
        key: &str,
        url: GitUrl,
        credentials: Credentials,
        settings: Arc<Settings>,
        metrics: ConfigurationMetrics,
    ) -> Self {
        Self {
            key: key.to_owned(),
            url,
            credentials,
            settings,
            metrics,
            lookups: Mutex::default(),
            storage: tokio::sync::Mutex::default(),
            exports: Mutex::default(),
            exported_before: AtomicU64::default(),
        }
    }

    /// The commit of a branch or tag; a full commit is itself and costs nothing.
    ///
    /// All who ask for the same reference within the interval share one `ls-remote`; a failure
    /// is shared likewise, for a time that grows with each failure.
    ///
    /// # Errors
    /// [`LookupFailure`].
    pub async fn resolve(
        &self,
        reference: &str,
        freshness: Freshness,
    ) -> Result<CommitId, LookupFailure> {
        if let Ok(commit) = reference.parse() {
            return Ok(commit);
        }
        let asked = Instant::now();
        let slot = {
            let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(lookups.entry(reference.to_owned()).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(lookup) = &*slot {
            let is_fresh = match freshness {
                Freshness::Shared => lookup.asked.elapsed() < lookup.valid_for,
                Freshness::Now => lookup.asked >= asked,
            };
            if is_fresh {
                return lookup.answer();
            }
        }
        let earlier = slot.as_ref().map_or(0, |lookup| lookup.failures);
        let lookup = match self.ask(reference).await {
            Ok(commit) => Lookup {
                asked: Instant::now(),
                valid_for: self.settings.interval,
                failures: 0,
                outcome: Ok(commit),
            },
            Err(error) => self.failed(error, earlier.saturating_add(1)),
        };
        let answer = lookup.answer();
        *slot = Some(lookup);
        answer
    }

    fn failed(&self, error: MirrorError, failures: u32) -> Lookup {
        let retry_in = self.settings.backoff.delay(failures, rand::random());
        Lookup {
            asked: Instant::now(),
            valid_for: retry_in,
            failures,
            outcome: Err(LookupFailure {
                error: Arc::new(error),
                retry_in,
            }),
        }
    }

    async fn ask(&self, reference: &str) -> Result<CommitId, MirrorError> {
        let reference = Some(reference).filter(|name| *name != "HEAD");
        let deadline = self.settings.lookup_deadline;
        Ok(nico_git::resolve(&self.url, reference, &self.credentials, deadline).await?)
    }

    /// The tree of a commit, fetched when the mirror lacks it and written out when nobody else
    /// uses it already.
    ///
    /// # Errors
    /// [`MirrorError`].
    pub async fn export(&self, commit: &CommitId) -> Result<Arc<Export>, MirrorError> {
        if let Some(export) = self.exported(commit) {
            return Ok(export);
        }
        let _storage = self.storage.lock().await;
        if let Some(export) = self.exported(commit) {
            return Ok(export);
        }
        self.fetch(commit).await?;
        let export = Arc::new(self.write_tree(commit).await?);
        let mut exports = self.exports.lock().unwrap_or_else(PoisonError::into_inner);
        exports.retain(|_, export| export.strong_count() > 0);
        exports.insert(commit.clone(), Arc::downgrade(&export));
        Ok(export)
    }

    fn exported(&self, commit: &CommitId) -> Option<Arc<Export>> {
        let exports = self.exports.lock().unwrap_or_else(PoisonError::into_inner);
        exports.get(commit).and_then(Weak::upgrade)
    }

    /// Brings a commit into the mirror. What cannot be explained may be a mirror that a crash
    /// damaged, so it is made anew once.
    async fn fetch(&self, commit: &CommitId) -> Result<(), MirrorError> {
        if self.path().join("HEAD").exists() && self.has(&marker(commit)).await? {
            return Ok(());
        }
        let started = Instant::now();
        let mut fetched = self.fetch_into_mirror(commit).await;
        let is_unexplained = matches!(
            fetched,
            Err(MirrorError::Mirror { .. } | MirrorError::Remote(GitError::Failed { .. }))
        );
        if is_unexplained {
            tracing::warn!(key = self.key, "mirror cannot be used; making it anew");
            remove(&self.path()).await?;
            fetched = self.fetch_into_mirror(commit).await;
        }
        self.metrics.fetched(fetched.is_ok(), started.elapsed());
        fetched
    }

    async fn fetch_into_mirror(&self, commit: &CommitId) -> Result<(), MirrorError> {
        let mut command = self.git();
        command.args(["init", "--quiet", "--bare"]).arg(self.path());
        self.run("make", command).await?;

        let git = Git::new(&self.url, &self.credentials).await?;
        let one = format!("+{commit}:{}", marker(commit));
        match self.fetch_refs(&git, &["--depth=1"], &[&one]).await {
            Err(MirrorError::Remote(GitError::Failed { .. })) => {}
            decided => return decided,
        }
        // Old servers give no commit by its hash, so everything is fetched and searched.
        let all = [
            "+refs/heads/*:refs/nio/heads/*",
            "+refs/tags/*:refs/nio/tags/*",
        ];
        self.fetch_refs(&git, &[], &all).await?;
        if !self.has(&format!("{commit}^{{commit}}")).await? {
            return Err(MirrorError::CommitNotFound {
                url: git.url().to_owned(),
                commit: commit.to_string(),
            });
        }
        let mut command = self.git_in_mirror();
        command.args(["update-ref", &marker(commit), commit.as_str()]);
        self.run("mark a commit in", command).await
    }

    async fn fetch_refs(
        &self,
        git: &Git,
        options: &[&str],
        refs: &[&str],
    ) -> Result<(), MirrorError> {
        let mirror = self.path();
        let mirror = mirror.to_string_lossy();
        let mut arguments = vec!["--git-dir", &*mirror, "-c", "gc.autoDetach=false"];
        arguments.extend(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"]);
        arguments.extend(options);
        arguments.extend(["--", self.url.as_str()]);
        arguments.extend(refs);
        git.run(&arguments, None, self.settings.fetch_deadline)
            .await?;
        Ok(())
    }

    /// Whether the mirror has an object.
    async fn has(&self, object: &str) -> Result<bool, MirrorError> {
        let mut command = self.git_in_mirror();
        command.args(["cat-file", "-e", object]);
        match program::run(command, self.settings.fetch_deadline, &Redactor::default()).await {
            Ok(_) => Ok(true),
            Err(ProgramError::Failed { .. }) => Ok(false),
            Err(source) => Err(self.failure("search", source)),
        }
    }

    /// Writes the tree beside its final place first, so that an export is whole or not there.
    async fn write_tree(&self, commit: &CommitId) -> Result<Export, MirrorError> {
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
        let written = self.check_out(commit, &partial, &index).await;
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

    async fn check_out(
        &self,
        commit: &CommitId,
        directory: &Path,
        index: &Path,
    ) -> Result<(), MirrorError> {
        for arguments in [
            &["read-tree", commit.as_str()][..],
            &["checkout-index", "--all", "--quiet"][..],
        ] {
            let mut command = self.git_in_mirror();
            command
                .env("GIT_INDEX_FILE", index)
                .env("GIT_WORK_TREE", directory)
                .current_dir(directory)
                .args(arguments);
            self.run("export a commit from", command).await?;
        }
        Ok(())
    }

    async fn run(&self, task: &'static str, command: Command) -> Result<(), MirrorError> {
        program::run(command, self.settings.fetch_deadline, &Redactor::default())
            .await
            .map(|_| ())
            .map_err(|source| self.failure(task, source))
    }

    /// `git` for the mirror on disk: it talks to nobody.
    fn git(&self) -> Command {
        let mut command = program::command("git", &self.settings.directory);
        command
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .args(["-c", "core.hooksPath=/dev/null"]);
        command
    }

    fn git_in_mirror(&self) -> Command {
        let mut command = self.git();
        command.env("GIT_DIR", self.path());
        command
    }

    fn path(&self) -> PathBuf {
        self.settings
            .directory
            .join("mirrors")
            .join(format!("{}.git", self.key))
    }

    fn failure(&self, task: &'static str, source: ProgramError) -> MirrorError {
        MirrorError::Mirror {
            task,
            url: self.shown_url(),
            source,
        }
    }

    /// The URL without a user name and password that somebody may have put into it.
    fn shown_url(&self) -> String {
        let url = self.url.as_str();
        let Some((scheme, rest)) = url.split_once("://") else {
            return url.to_owned();
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        format!("{scheme}://{host}/{path}")
    }
}

impl Lookup {
    fn answer(&self) -> Result<CommitId, LookupFailure> {
        let passed = self.asked.elapsed();
        self.outcome.clone().map_err(|failure| LookupFailure {
            retry_in: failure.retry_in.saturating_sub(passed),
            ..failure
        })
    }
}

/// The reference that keeps a commit in the mirror and tells that it is there as a whole.
fn marker(commit: &CommitId) -> String {
    format!("refs/nio/commits/{commit}")
}

async fn remove(directory: &Path) -> Result<(), MirrorError> {
    match tokio::fs::remove_dir_all(directory).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(storage(directory)(error))
        }
        _ => Ok(()),
    }
}

fn storage(path: &Path) -> impl FnOnce(std::io::Error) -> MirrorError + '_ {
    move |source| MirrorError::Storage {
        path: path.to_owned(),
        source,
    }
}
