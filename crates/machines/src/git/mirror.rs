//! One bare mirror: its references looked up, its commits fetched.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use nico_api::names::{CommitId, GitUrl};
use nico_git::{Credentials, Git, GitError};
use tokio::process::Command;

use super::error::MirrorError;
use super::export::Export;
use super::mirrors::{Set, Settings};
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
    pub(super) key: String,
    pub(super) url: GitUrl,
    pub(super) credentials: Credentials,
    pub(super) settings: Arc<Settings>,
    /// The mirrors of the submodules are among these.
    pub(super) siblings: Weak<Set>,
    metrics: ConfigurationMetrics,
    lookups: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Lookup>>>>>,
    /// Held while the mirror on disk is changed.
    pub(super) storage: tokio::sync::Mutex<()>,
    pub(super) exports: Mutex<HashMap<CommitId, Weak<Export>>>,
    pub(super) exported_before: AtomicU64,
    /// When each commit was asked for last.
    used: Mutex<HashMap<CommitId, Instant>>,
    opened: Instant,
}

struct Lookup {
    asked: Instant,
    valid_for: Duration,
    failures: u32,
    outcome: Result<CommitId, LookupFailure>,
}

impl Mirror {
    pub(super) fn new(
        key: &str,
        url: GitUrl,
        credentials: Credentials,
        settings: Arc<Settings>,
        siblings: Weak<Set>,
        metrics: ConfigurationMetrics,
    ) -> Self {
        Self {
            key: key.to_owned(),
            url,
            credentials,
            settings,
            siblings,
            metrics,
            lookups: Mutex::default(),
            storage: tokio::sync::Mutex::default(),
            exports: Mutex::default(),
            exported_before: AtomicU64::default(),
            used: Mutex::default(),
            opened: Instant::now(),
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
        let commit = self.look_up(reference, freshness).await?;
        self.note_use(&commit);
        Ok(commit)
    }

    async fn look_up(
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
        let answer = nico_git::resolve(&self.url, reference, &self.credentials, deadline).await;
        self.metrics.looked_up(answer.is_ok());
        Ok(answer?)
    }

    /// Notes that a commit is in use, so that it stays in the mirror.
    pub(super) fn note_use(&self, commit: &CommitId) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(commit.clone(), Instant::now());
    }

    /// Takes commits out of the mirror that nobody asked for as long as an unused mirror is kept,
    /// and lets `git` clean up. A commit that is asked for again is fetched again.
    pub(super) async fn compact(&self) -> Result<(), MirrorError> {
        const TASK: &str = "clean up";
        let _storage = self.storage.lock().await;
        let mirror = self.path();
        if !mirror.join("HEAD").exists() {
            return Ok(());
        }
        let mut list = self.git_in(&mirror);
        list.args(["for-each-ref", "--format=%(refname:lstrip=3)"]);
        list.arg(MARKERS);
        let listed = self.run(TASK, list).await?;
        let listed = String::from_utf8_lossy(&listed);
        let unused: Vec<CommitId> = listed
            .lines()
            .filter_map(|line| line.parse().ok())
            .filter(|commit| self.is_unused(commit))
            .collect();
        for commit in &unused {
            let mut delete = self.git_in(&mirror);
            delete.args(["update-ref", "-d", &marker(commit)]);
            self.run(TASK, delete).await?;
        }
        let mut collect = self.git_in(&mirror);
        collect.args(["-c", "gc.autoDetach=false", "gc", "--quiet"]);
        collect.arg(if unused.is_empty() {
            "--auto"
        } else {
            "--prune=now"
        });
        self.run(TASK, collect).await?;
        Ok(())
    }

    /// Whether nobody asked for a commit lately. What was asked for before this process began is
    /// not known, so that it is as if it had been asked for then.
    fn is_unused(&self, commit: &CommitId) -> bool {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let last = used.get(commit).copied().unwrap_or(self.opened);
        last.elapsed() >= self.settings.keep_unused
    }

    /// Brings a commit into the mirror, unless it is there.
    ///
    /// A mirror that cannot take it may be one that a crash damaged, so a new one is tried. It
    /// takes the place of the old one only when it has the commit: a server that is out of order
    /// costs nothing that was fetched before.
    pub(super) async fn fetch(&self, commit: &CommitId) -> Result<(), MirrorError> {
        // Also one that was never finished: a killed `git init` leaves its locks.
        let is_old = self.path().exists();
        if is_old && self.has(&self.path(), &marker(commit)).await? {
            return Ok(());
        }
        let started = Instant::now();
        let fetched = match self.fetch_into(&self.path(), commit).await {
            Err(error) if is_old && error.may_be_damage() => self.make_anew(commit, &error).await,
            fetched => fetched,
        };
        self.metrics.fetched(fetched.is_ok(), started.elapsed());
        fetched
    }

    /// Fetches a commit into a new mirror, which then takes the place of this one.
    pub(super) async fn make_anew(
        &self,
        commit: &CommitId,
        error: &MirrorError,
    ) -> Result<(), MirrorError> {
        let url = self.shown_url();
        tracing::warn!(url, key = self.key, %error, "mirror cannot be used; making it anew");
        let (new, old) = (self.path_with("new"), self.path_with("old"));
        remove(&new).await?;
        remove(&old).await?;
        if let Err(error) = self.fetch_into(&new, commit).await {
            remove(&new).await?;
            return Err(error);
        }
        let path = self.path();
        if path.exists() {
            let moved = tokio::fs::rename(&path, &old).await;
            moved.map_err(storage(&path))?;
        }
        let moved = tokio::fs::rename(&new, &path).await;
        moved.map_err(storage(&path))?;
        remove(&old).await
    }

    async fn fetch_into(&self, mirror: &Path, commit: &CommitId) -> Result<(), MirrorError> {
        let mut command = self.git();
        command.args(["init", "--quiet", "--bare"]).arg(mirror);
        self.run("make", command).await?;

        let git = Git::new(&self.url, &self.credentials).await?;
        let one = format!("+{commit}:{}", marker(commit));
        match self.fetch_refs(&git, mirror, &["--depth=1"], &[&one]).await {
            Err(MirrorError::Remote(GitError::Failed { .. })) => {}
            decided => return decided,
        }
        // Old servers give no commit by its hash, so everything is fetched and searched.
        let all = [
            "+refs/heads/*:refs/nio/heads/*",
            "+refs/tags/*:refs/nio/tags/*",
        ];
        self.fetch_refs(&git, mirror, &[], &all).await?;
        if !self.has(mirror, &format!("{commit}^{{commit}}")).await? {
            return Err(MirrorError::CommitNotFound {
                url: git.url().to_owned(),
                commit: commit.to_string(),
            });
        }
        let mut command = self.git_in(mirror);
        command.args(["update-ref", &marker(commit), commit.as_str()]);
        self.run("mark a commit in", command).await?;
        Ok(())
    }

    async fn fetch_refs(
        &self,
        git: &Git,
        mirror: &Path,
        options: &[&str],
        refs: &[&str],
    ) -> Result<(), MirrorError> {
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
    async fn has(&self, mirror: &Path, object: &str) -> Result<bool, MirrorError> {
        let mut command = self.git_in(mirror);
        command.args(["cat-file", "-e", object]);
        match program::run(command, self.settings.fetch_deadline, &Redactor::default()).await {
            Ok(_) => Ok(true),
            Err(ProgramError::Failed { .. }) => Ok(false),
            Err(source) => Err(self.failure("search", source)),
        }
    }

    /// Runs a `git` that talks to nobody, and gives what it said.
    pub(super) async fn run(
        &self,
        task: &'static str,
        command: Command,
    ) -> Result<Vec<u8>, MirrorError> {
        program::run(command, self.settings.fetch_deadline, &Redactor::default())
            .await
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

    /// The same, for one directory.
    pub(super) fn git_in(&self, mirror: &Path) -> Command {
        let mut command = self.git();
        command.env("GIT_DIR", mirror);
        command
    }

    /// Where the mirror is.
    pub(super) fn path(&self) -> PathBuf {
        self.path_with("git")
    }

    fn path_with(&self, extension: &str) -> PathBuf {
        let mirrors = self.settings.directory.join("mirrors");
        mirrors.join(format!("{}.{extension}", self.key))
    }

    fn failure(&self, task: &'static str, source: ProgramError) -> MirrorError {
        MirrorError::Mirror {
            task,
            url: self.shown_url(),
            source,
        }
    }

    /// The URL without a user name and password that somebody may have put into it.
    pub(super) fn shown_url(&self) -> String {
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

/// What the names of all [`marker`]s begin with.
const MARKERS: &str = "refs/nio/commits/";

/// The reference that keeps a commit in the mirror and tells that it is there as a whole.
fn marker(commit: &CommitId) -> String {
    format!("{MARKERS}{commit}")
}

pub(super) async fn remove(directory: &Path) -> Result<(), MirrorError> {
    match tokio::fs::remove_dir_all(directory).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(storage(directory)(error))
        }
        _ => Ok(()),
    }
}

pub(super) fn storage(path: &Path) -> impl FnOnce(std::io::Error) -> MirrorError + '_ {
    move |source| MirrorError::Storage {
        path: path.to_owned(),
        source,
    }
}
