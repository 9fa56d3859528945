//! Mirrors with the real `git`, over `file` URLs and a server that wants a password.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nico_api::names::{CommitId, GitUrl};
use nico_git::{Credentials, GitError};
use nico_runtime::backoff::Backoff;
use prometheus_client::registry::Registry;
use tempfile::TempDir;

use super::*;
use crate::configuration::metrics::ConfigurationMetrics;

/// Whether `git` is there. Says loudly when a test is skipped because it is not.
fn git_is_missing() -> bool {
    let missing = Command::new("git").arg("--version").output().is_err();
    if missing {
        nico_sandbox::tools::skip("this test needs git in PATH");
    }
    missing
}

/// A repository with one commit on `main`.
struct Origin(TempDir);

impl Origin {
    fn new() -> Self {
        let origin = Self(TempDir::new().unwrap());
        origin.git(&["init", "--quiet", "--initial-branch=main", "."]);
        origin.commit("one");
        origin
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
            .args(arguments)
            .current_dir(self.0.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self, content: &str) -> CommitId {
        std::fs::create_dir_all(self.0.path().join("dir")).unwrap();
        std::fs::write(self.0.path().join("dir/file"), content).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", content]);
        self.git(&["rev-parse", "HEAD"]).parse().unwrap()
    }

    fn url(&self) -> GitUrl {
        format!("file://{}", self.0.path().display())
            .parse()
            .unwrap()
    }
}

struct Fixture {
    directory: TempDir,
    mirrors: Mirrors,
    origin: Origin,
}

fn settings(directory: &Path) -> Settings {
    Settings {
        directory: directory.to_owned(),
        allow_file_urls: true,
        interval: Duration::from_secs(3600),
        backoff: Backoff::RECONCILE,
        lookup_deadline: Duration::from_secs(60),
        fetch_deadline: Duration::from_secs(60),
        keep_unused: Duration::from_secs(3600),
    }
}

fn open(settings: Settings) -> Mirrors {
    let metrics = ConfigurationMetrics::register(&mut Registry::default());
    Mirrors::open(settings, metrics).unwrap()
}

fn fixture() -> Fixture {
    let directory = TempDir::new().unwrap();
    Fixture {
        mirrors: open(settings(directory.path())),
        directory,
        origin: Origin::new(),
    }
}

impl Fixture {
    fn mirror(&self) -> std::sync::Arc<super::mirror::Mirror> {
        self.mirrors
            .get(&self.origin.url(), &Credentials::Anonymous)
            .unwrap()
    }
}

#[tokio::test]
async fn branches_tags_and_commits_are_resolved() {
    if git_is_missing() {
        return;
    }
    let fixture = fixture();
    let first = fixture.origin.git(&["rev-parse", "HEAD"]);
    fixture.origin.git(&["tag", "plain"]);
    fixture.origin.git(&["tag", "-a", "annotated", "-m", "t"]);
    let second = fixture.origin.commit("two");
    let mirror = fixture.mirror();
    for (reference, expected) in [
        ("main", second.as_str()),
        ("HEAD", second.as_str()),
        ("plain", &first),
        ("annotated", &first),
        (&first, &first),
    ] {
        let commit = mirror.resolve(reference, Freshness::Shared).await.unwrap();
        assert_eq!(commit.as_str(), expected, "{reference}");
    }
}

#[tokio::test]
async fn a_lookup_is_shared_until_somebody_wants_a_fresh_one() {
    if git_is_missing() {
        return;
    }
    let fixture = fixture();
    let mirror = fixture.mirror();
    let first = mirror.resolve("main", Freshness::Shared).await.unwrap();
    let second = fixture.origin.commit("two");
    let shared = mirror.resolve("main", Freshness::Shared).await.unwrap();
    assert_eq!(shared, first);
    let fresh = mirror.resolve("main", Freshness::Now).await.unwrap();
    assert_eq!(fresh, second);
    let shared = mirror.resolve("main", Freshness::Shared).await.unwrap();
    assert_eq!(shared, second);
}

#[tokio::test]
async fn a_commit_is_exported_once_and_removed_when_nobody_uses_it() {
    if git_is_missing() {
        return;
    }
    let fixture = fixture();
    let mirror = fixture.mirror();
    let commit = mirror.resolve("main", Freshness::Shared).await.unwrap();
    let (one, other) = tokio::join!(mirror.export(&commit), mirror.export(&commit));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.path(), other.path());
    let path = one.path().to_owned();
    assert_eq!(
        std::fs::read_to_string(path.join("dir/file")).unwrap(),
        "one"
    );
    drop(one);
    assert!(path.exists());
    drop(other);
    assert!(!path.exists());
    let again = mirror.export(&commit).await.unwrap();
    assert!(again.path().join("dir/file").exists());
}

#[tokio::test]
async fn a_commit_that_no_branch_leads_to_any_more_is_still_exported() {
    if git_is_missing() {
        return;
    }
    let fixture = fixture();
    let mirror = fixture.mirror();
    let lost = mirror.resolve("main", Freshness::Shared).await.unwrap();
    drop(mirror.export(&lost).await.unwrap());
    fixture
        .origin
        .git(&["commit", "--quiet", "--amend", "-m", "amended"]);
    fixture
        .origin
        .git(&["reflog", "expire", "--expire=now", "--all"]);
    fixture.origin.git(&["gc", "--quiet", "--prune=now"]);
    assert!(mirror.export(&lost).await.is_ok());
}

/// The only mirror on the disk.
fn on_disk(fixture: &Fixture) -> std::path::PathBuf {
    let mirrors = fixture.directory.path().join("mirrors");
    let mut entries = std::fs::read_dir(mirrors).unwrap();
    entries.next().unwrap().unwrap().path()
}

/// Everything below a directory that is a file.
fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// Writes into files that `git` made read-only.
fn overwrite(path: &Path, content: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, content).unwrap();
}

#[tokio::test]
async fn a_damaged_mirror_is_made_anew() {
    if git_is_missing() {
        return;
    }
    type Damage = fn(&Path, &[&CommitId; 2]);
    let damages: [(&str, Damage); 7] = [
        ("config", |mirror, _| {
            overwrite(&mirror.join("config"), b"[broken");
        }),
        ("no HEAD", |mirror, _| {
            std::fs::remove_file(mirror.join("HEAD")).unwrap();
        }),
        ("objects", |mirror, _| {
            for object in files(&mirror.join("objects")) {
                overwrite(&object, b"garbage");
            }
        }),
        ("half of each object", |mirror, _| {
            for object in files(&mirror.join("objects")) {
                let content = std::fs::read(&object).unwrap();
                overwrite(&object, &content[..content.len() / 2]);
            }
        }),
        ("references", |mirror, commits| {
            for commit in commits {
                let reference = mirror.join("refs/nio/commits").join(commit.as_str());
                std::fs::write(reference, "not a commit").unwrap();
            }
        }),
        ("killed while it was made", |mirror, _| {
            std::fs::remove_dir_all(mirror).unwrap();
            std::fs::create_dir(mirror).unwrap();
            std::fs::write(mirror.join("config.lock"), "").unwrap();
        }),
        ("locks of a killed git", |mirror, commits| {
            for lock in ["shallow.lock", "packed-refs.lock", "config.lock"] {
                std::fs::write(mirror.join(lock), "").unwrap();
            }
            for commit in commits {
                let reference = mirror.join("refs/nio/commits").join(commit.as_str());
                std::fs::write(reference.with_extension("lock"), "").unwrap();
            }
        }),
    ];
    for (name, damage) in damages {
        let fixture = fixture();
        let mirror = fixture.mirror();
        let commit = mirror.resolve("main", Freshness::Shared).await.unwrap();
        drop(mirror.export(&commit).await.unwrap());
        let next = fixture.origin.commit("two");
        damage(&on_disk(&fixture), &[&commit, &next]);
        for (commit, content) in [(&commit, "one"), (&next, "two")] {
            let export = mirror.export(commit).await;
            let export = export.unwrap_or_else(|error| panic!("{name}, {content}: {error}"));
            let read = std::fs::read_to_string(export.path().join("dir/file")).unwrap();
            assert_eq!(read, content, "{name}");
        }
    }
}

#[tokio::test]
async fn a_repository_that_vanishes_takes_no_commit_along_that_was_fetched() {
    if git_is_missing() {
        return;
    }
    let fixture = fixture();
    let mirror = fixture.mirror();
    let fetched = mirror.resolve("main", Freshness::Shared).await.unwrap();
    drop(mirror.export(&fetched).await.unwrap());
    let missed = fixture.origin.commit("two");
    let (here, away) = (
        fixture.origin.0.path(),
        fixture.directory.path().join("away"),
    );
    std::fs::rename(here, &away).unwrap();
    let error = mirror.export(&missed).await.unwrap_err();
    let is_not_found = matches!(
        error,
        MirrorError::Remote(GitError::RepositoryNotFound { .. })
    );
    assert!(is_not_found, "{error}");
    drop(mirror.export(&fetched).await.unwrap());
    std::fs::rename(&away, here).unwrap();
    drop(mirror.export(&missed).await.unwrap());
}

#[tokio::test]
async fn a_branch_that_is_forced_elsewhere_is_followed() {
    if git_is_missing() {
        return;
    }
    let fixture = fixture();
    let mirror = fixture.mirror();
    let first = mirror.resolve("main", Freshness::Now).await.unwrap();
    drop(mirror.export(&first).await.unwrap());
    fixture
        .origin
        .git(&["checkout", "--quiet", "--orphan", "other"]);
    let forced = fixture.origin.commit("another history");
    fixture.origin.git(&["branch", "--force", "main", "other"]);
    let second = mirror.resolve("main", Freshness::Now).await.unwrap();
    assert_eq!(second, forced);
    let export = mirror.export(&second).await.unwrap();
    let read = std::fs::read_to_string(export.path().join("dir/file")).unwrap();
    assert_eq!(read, "another history");
}

#[tokio::test]
async fn submodules_are_part_of_the_tree_also_within_each_other() {
    if git_is_missing() {
        return;
    }
    let fixture = fixture();
    let (middle, inner) = (Origin::new(), Origin::new());
    let add = |outer: &Origin, inner: &Origin, path: &str| {
        let url = inner.url();
        let allowed = ["-c", "protocol.file.allow=always"];
        let add = ["submodule", "--quiet", "add", url.as_str(), path];
        outer.git(&[&allowed[..], &add[..]].concat());
        outer.git(&["commit", "--quiet", "-m", "a submodule"]);
    };
    add(&middle, &inner, "in ner");
    add(&fixture.origin, &middle, "parts/middle");
    let mirror = fixture.mirror();
    let commit = mirror.resolve("main", Freshness::Shared).await.unwrap();
    let (one, other) = tokio::join!(mirror.export(&commit), mirror.export(&commit));
    assert_eq!(one.as_ref().unwrap().path(), other.unwrap().path());
    let export = one.unwrap();
    for path in [
        "dir/file",
        "parts/middle/dir/file",
        "parts/middle/in ner/dir/file",
    ] {
        let read = std::fs::read_to_string(export.path().join(path)).unwrap();
        assert_eq!(read, "one", "{path}");
    }

    let absent = format!("160000,{},parts/middle", "0123456789".repeat(4));
    fixture
        .origin
        .git(&["update-index", "--cacheinfo", &absent]);
    fixture
        .origin
        .git(&["commit", "--quiet", "-m", "no such commit"]);
    let broken = fixture.origin.git(&["rev-parse", "HEAD"]).parse().unwrap();
    let error = mirror.export(&broken).await.unwrap_err();
    assert!(error.to_string().contains("parts/middle"), "{error}");
}

#[tokio::test]
async fn a_mirror_that_nobody_asks_for_any_more_is_removed() {
    if git_is_missing() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let origin = Origin::new();
    let keeping = |keep_unused| Settings {
        keep_unused,
        ..settings(directory.path())
    };
    let on_disk = || files(&directory.path().join("mirrors")).len();
    let mirrors = open(keeping(Duration::from_secs(3600)));
    let mirror = mirrors.get(&origin.url(), &Credentials::Anonymous).unwrap();
    let commit = mirror.resolve("main", Freshness::Shared).await.unwrap();
    drop(mirror.export(&commit).await.unwrap());
    drop(mirror);
    mirrors.remove_unused().unwrap();
    assert_ne!(on_disk(), 0, "it was used just now");

    // The next process does not know it, and goes by its age on the disk.
    let mirrors = open(keeping(Duration::from_secs(3600)));
    mirrors.remove_unused().unwrap();
    assert_ne!(on_disk(), 0, "it was used within the hour");
    let mirrors = open(keeping(Duration::ZERO));
    let mirror = mirrors.get(&origin.url(), &Credentials::Anonymous).unwrap();
    mirrors.remove_unused().unwrap();
    assert_ne!(on_disk(), 0, "somebody has it in hand");
    drop(mirror);
    mirrors.remove_unused().unwrap();
    assert_eq!(on_disk(), 0);
    let mirror = mirrors.get(&origin.url(), &Credentials::Anonymous).unwrap();
    drop(mirror.export(&commit).await.unwrap());
}

/// The commits that the only mirror on the disk has, as a whole.
fn commits(fixture: &Fixture) -> Vec<String> {
    let output = Command::new("git")
        .arg("--git-dir")
        .arg(on_disk(fixture))
        .args([
            "cat-file",
            "--batch-all-objects",
            "--batch-check=%(objecttype) %(objectname)",
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let objects = String::from_utf8(output.stdout).unwrap();
    let commits = objects
        .lines()
        .filter_map(|line| line.strip_prefix("commit "));
    commits.map(str::to_owned).collect()
}

#[tokio::test]
async fn commits_that_nobody_asks_for_any_more_leave_a_mirror_that_is_in_use() {
    if git_is_missing() {
        return;
    }
    const KEPT: Duration = Duration::from_secs(2);
    let mut fixture = fixture();
    fixture.mirrors = open(Settings {
        keep_unused: KEPT,
        ..settings(fixture.directory.path())
    });
    let mirror = fixture.mirror();
    let mut all = vec![mirror.resolve("main", Freshness::Now).await.unwrap()];
    drop(mirror.export(&all[0]).await.unwrap());
    for content in ["two", "three"] {
        let commit = fixture.origin.commit(content);
        drop(mirror.export(&commit).await.unwrap());
        all.push(commit);
    }
    let last_use = std::time::Instant::now();
    fixture.mirrors.compact().await.unwrap();
    if last_use.elapsed() < KEPT / 2 {
        assert_eq!(commits(&fixture).len(), 3, "they were asked for just now");
    }
    while last_use.elapsed() < KEPT {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Who follows a branch asks for its commit in every interval, and who names one does, too.
    let newest = mirror.resolve("main", Freshness::Now).await.unwrap();
    fixture.mirrors.compact().await.unwrap();
    assert_eq!(commits(&fixture), [newest.as_str()]);
    // A commit that left comes back when it is asked for.
    for (commit, content) in all.iter().zip(["one", "two", "three"]) {
        let export = mirror.export(commit).await.unwrap();
        let read = std::fs::read_to_string(export.path().join("dir/file")).unwrap();
        assert_eq!(read, content);
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    if git_is_missing() {
        return;
    }
    let fixture = fixture();
    let mirror = fixture.mirror();
    let failure = mirror
        .resolve("nowhere", Freshness::Shared)
        .await
        .unwrap_err();
    assert!(
        matches!(
            *failure.error,
            MirrorError::Remote(GitError::ReferenceNotFound { .. })
        ),
        "{failure:?}"
    );
    let absent: CommitId = "0123456789".repeat(4).parse().unwrap();
    let error = mirror.export(&absent).await.unwrap_err();
    assert!(
        matches!(error, MirrorError::CommitNotFound { .. }),
        "{error}"
    );

    let nothing: GitUrl = "file:///nonexistent/repository".parse().unwrap();
    let mirror = fixture
        .mirrors
        .get(&nothing, &Credentials::Anonymous)
        .unwrap();
    let failure = mirror.resolve("main", Freshness::Shared).await.unwrap_err();
    assert!(
        matches!(
            *failure.error,
            MirrorError::Remote(GitError::RepositoryNotFound { .. })
        ),
        "{failure:?}"
    );
    assert!(failure.retry_in > Duration::ZERO);
    let again = mirror.resolve("main", Freshness::Shared).await.unwrap_err();
    assert!(
        std::sync::Arc::ptr_eq(&again.error, &failure.error),
        "a failure is shared too"
    );
}

#[tokio::test]
async fn a_server_that_refuses_the_connection_is_unreachable() {
    if git_is_missing() {
        return;
    }
    let fixture = fixture();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/a.git", free.local_addr().unwrap())
        .parse()
        .unwrap();
    drop(free);
    let mirror = fixture.mirrors.get(&url, &Credentials::Anonymous).unwrap();
    let failure = mirror.resolve("main", Freshness::Shared).await.unwrap_err();
    assert!(
        matches!(
            *failure.error,
            MirrorError::Remote(GitError::Unreachable { .. })
        ),
        "{failure:?}"
    );
}

#[test]
fn file_urls_are_refused_unless_allowed() {
    let directory = TempDir::new().unwrap();
    let mirrors = open(Settings {
        allow_file_urls: false,
        ..settings(directory.path())
    });
    let refused = mirrors.get(&"file:///srv/git".parse().unwrap(), &Credentials::Anonymous);
    assert!(matches!(
        refused.err(),
        Some(MirrorError::FileUrlNotAllowed { .. })
    ));
}

#[tokio::test]
async fn exports_of_an_earlier_process_are_removed() {
    let directory = TempDir::new().unwrap();
    let stale = directory.path().join("exports/stale");
    std::fs::create_dir_all(&stale).unwrap();
    open(settings(directory.path()));
    assert!(!stale.exists());
}
