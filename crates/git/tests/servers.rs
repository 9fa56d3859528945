//! The real `git` against a real `git http-backend` behind a login.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nico_git::test_server::GitServer;
use nico_git::{CommitId, Credentials, GitError, GitUrl, resolve};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A directory with the repository `team/a`, and its only commit.
fn repositories() -> (TempDir, CommitId) {
    let directory = TempDir::new().unwrap();
    let repository = directory.path().join("team/a");
    std::fs::create_dir_all(&repository).unwrap();
    git(
        &repository,
        &["init", "--quiet", "--initial-branch=main", "."],
    );
    git(
        &repository,
        &["commit", "--quiet", "--allow-empty", "-m", "one"],
    );
    let commit = git(&repository, &["rev-parse", "HEAD"]);
    (directory, commit.parse().unwrap())
}

fn password(username: &str, password: &str) -> Credentials {
    Credentials::Password {
        username: username.to_owned(),
        password: password.to_owned(),
    }
}

async fn look(server: &GitServer, credentials: &Credentials) -> Result<CommitId, GitError> {
    let url: GitUrl = server.url("team/a/.git").parse().unwrap();
    resolve(&url, Some("main"), credentials, DEADLINE).await
}

#[tokio::test]
async fn a_server_with_a_login_answers_those_who_know_it() {
    let (repositories, commit) = repositories();
    let strange = r#"p a's"$s\w0rd"#;
    for (login, credentials) in [
        (("me", strange), password("me", strange)),
        (
            ("x-access-token", "t0ken"),
            Credentials::Token("t0ken".to_owned()),
        ),
    ] {
        let server = GitServer::start(repositories.path(), Some(login))
            .await
            .unwrap();
        assert_eq!(look(&server, &credentials).await.unwrap(), commit);
        for wrong in [Credentials::Anonymous, password("me", "wrong")] {
            let error = look(&server, &wrong).await.unwrap_err();
            assert!(
                matches!(error, GitError::AuthenticationFailed { .. }),
                "{wrong:?}: {error}"
            );
        }
    }
}

#[tokio::test]
async fn a_server_whose_certificate_is_of_an_unknown_authority_is_told_apart() {
    let (repositories, _) = repositories();
    let (server, _) = GitServer::start_tls_at(Ipv4Addr::LOCALHOST, repositories.path(), None)
        .await
        .unwrap();
    let error = look(&server, &Credentials::Anonymous).await.unwrap_err();
    assert!(
        matches!(error, GitError::CertificateRejected { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("GIT_SSL_CAINFO"), "{error}");
}

/// The processes of this machine that name `text` in their arguments.
fn processes_with(text: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap();
    processes
        .filter_map(|entry| {
            let arguments = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
            let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
            arguments.contains(text).then_some(arguments)
        })
        .collect()
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_no_process_of_git_behind() {
    let (repositories, _) = repositories();
    let server = GitServer::start(repositories.path(), None).await.unwrap();
    server.hold();
    let url = server.url("team/a/.git");
    tokio::select! {
        answer = look(&server, &Credentials::Anonymous) => panic!("the server answers: {answer:?}"),
        () = server.waits() => {}
    }
    // Beside `git` there was a helper for HTTP, which waited for the server.
    let end = std::time::Instant::now() + DEADLINE;
    loop {
        let left = processes_with(&url);
        if left.is_empty() {
            break;
        }
        assert!(std::time::Instant::now() < end, "{left:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
