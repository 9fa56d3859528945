//! One bare mirror: its references looked up, its commits fetched and exported.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nico_api::names::{CommitId, GitUrl};
use tokio::process::Command;

use super::command::{Login, git};
use super::credentials::Credentials;
use super::error::GitError;
use super::mirrors::Settings;
use super::refs;
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
    pub error: Arc<GitError>,
    /// When it was tried.
    pub at: Timestamp,
    /// How many times in a row it failed.
    pub failures: u32,
    /// How long until it is tried again.
    pub retry_in: Duration,
}

/// One repository as seen with one set of credentials.
pub struct Mirror {
    key: String,
    url: GitUrl,
    credentials: Credentials,
    redactor: Redactor,
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
            redactor: credentials.redactor(),
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

    /// What must not be repeated of what `git` says.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
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

    fn failed(&self, error: GitError, failures: u32) -> Lookup {
        let retry_in = self.settings.backoff.delay(failures, rand::random());
        Lookup {
            asked: Instant::now(),
            valid_for: retry_in,
            failures,
            outcome: Err(LookupFailure {
                error: Arc::new(error),
                at: Timestamp::now(),
                failures,
                retry_in,
            }),
        }
    }

    async fn ask(&self, reference: &str) -> Result<CommitId, GitError> {
        let login = self.login().await?;
        let mut command = self.git();
        login.apply(&mut command);
        command
            .args(["ls-remote", "--", self.url.as_str()])
            .args(refs::patterns(reference));
        let output = program::run(command, self.settings.lookup_deadline, &self.redactor)
            .await
            .map_err(|source| self.failure("list the references of", source))?;
        refs::find(&String::from_utf8_lossy(&output), reference).ok_or_else(|| {
            GitError::ReferenceNotFound {
                url: self.shown_url(),
                reference: reference.to_owned(),
            }
        })
    }

    /// The tree of a commit, fetched when the mirror lacks it and written out when nobody else
    /// uses it already.
    ///
    /// # Errors
    /// [`GitError`].
    pub async fn export(&self, commit: &CommitId) -> Result<Arc<Export>, GitError> {
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
    async fn fetch(&self, commit: &CommitId) -> Result<(), GitError> {
        let is_there = |mirror: &Self| mirror.path().join("HEAD").exists();
        if is_there(self) && self.has(&marker(commit)).await? {
            return Ok(());
        }
        let started = Instant::now();
        let mut fetched = self.fetch_into_mirror(commit).await;
        if matches!(
            &fetched,
            Err(GitError::Program {
                source: ProgramError::Failed { .. },
                ..
            })
        ) {
            tracing::warn!(
                url = self.shown_url(),
                "mirror cannot be used; making it anew"
            );
            remove(&self.path()).await?;
            fetched = self.fetch_into_mirror(commit).await;
        }
        self.metrics.fetched(fetched.is_ok(), started.elapsed());
        fetched
    }

    async fn fetch_into_mirror(&self, commit: &CommitId) -> Result<(), GitError> {
        let mut command = self.git();
        command.args(["init", "--quiet", "--bare"]).arg(self.path());
        self.run("make a mirror of", command).await?;

        let login = self.login().await?;
        let one = format!("+{commit}:{}", marker(commit));
        let shallow = self
            .fetch_refs(&login, &["--depth=1"], &[one.as_str()])
            .await;
        match shallow {
            Err(GitError::Program { .. }) => {}
            decided => return decided,
        }
        // Old servers give no commit by its hash, so everything is fetched and searched.
        let all = [
            "+refs/heads/*:refs/nio/heads/*",
            "+refs/tags/*:refs/nio/tags/*",
        ];
        self.fetch_refs(&login, &[], &all).await?;
        if !self.has(&format!("{commit}^{{commit}}")).await? {
            return Err(GitError::CommitNotFound {
                url: self.shown_url(),
                commit: commit.to_string(),
            });
        }
        let mut command = self.git_in_mirror();
        command.args(["update-ref", &marker(commit), commit.as_str()]);
        self.run("mark a commit of", command).await
    }

    async fn fetch_refs(
        &self,
        login: &Login,
        options: &[&str],
        refs: &[&str],
    ) -> Result<(), GitError> {
        let mut command = self.git_in_mirror();
        login.apply(&mut command);
        command
            .args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"])
            .args(options)
            .args(["--", self.url.as_str()])
            .args(refs);
        self.run("fetch from", command).await
    }

    /// Whether the mirror has an object.
    async fn has(&self, object: &str) -> Result<bool, GitError> {
        let mut command = self.git_in_mirror();
        command.args(["cat-file", "-e", object]);
        match program::run(command, self.settings.fetch_deadline, &self.redactor).await {
            Ok(_) => Ok(true),
            Err(ProgramError::Failed { .. }) => Ok(false),
            Err(source) => Err(self.failure("search the mirror of", source)),
        }
    }

    /// Writes the tree beside its final place first, so that an export is whole or not there.
    async fn write_tree(&self, commit: &CommitId) -> Result<Export, GitError> {
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
    ) -> Result<(), GitError> {
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
            self.run("export a commit of", command).await?;
        }
        Ok(())
    }

    async fn run(&self, task: &'static str, command: Command) -> Result<(), GitError> {
        program::run(command, self.settings.fetch_deadline, &self.redactor)
            .await
            .map(|_| ())
            .map_err(|source| self.failure(task, source))
    }

    async fn login(&self) -> Result<Login, GitError> {
        let hosts = self.settings.directory.join("known_hosts");
        Login::prepare(&self.url, &self.credentials, &hosts).await
    }

    fn git(&self) -> Command {
        git(&self.settings.directory, self.settings.allow_file_urls)
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

    fn failure(&self, task: &'static str, source: ProgramError) -> GitError {
        GitError::from_program(task, self.shown_url(), source)
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

async fn remove(directory: &Path) -> Result<(), GitError> {
    match tokio::fs::remove_dir_all(directory).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(storage(directory)(error))
        }
        _ => Ok(()),
    }
}

fn storage(path: &Path) -> impl FnOnce(std::io::Error) -> GitError + '_ {
    move |source| GitError::Storage {
        path: path.to_owned(),
        source,
    }
}
