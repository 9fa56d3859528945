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

#[tokio::test]
async fn a_damaged_mirror_is_made_anew() {
    if git_is_missing() {
        return;
    }
    let fixture = fixture();
    let mirror = fixture.mirror();
    let commit = mirror.resolve("main", Freshness::Shared).await.unwrap();
    drop(mirror.export(&commit).await.unwrap());
    let next = fixture.origin.commit("two");
    let mirrors = fixture.directory.path().join("mirrors");
    let on_disk = std::fs::read_dir(mirrors).unwrap().next().unwrap().unwrap();
    std::fs::write(on_disk.path().join("config"), "[broken").unwrap();
    assert!(mirror.export(&next).await.is_ok());
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
