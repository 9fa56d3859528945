//! A branch, a tag or the default branch as a commit.

use std::time::Duration;

use nico_api::names::{CommitId, GitUrl};

use crate::command::Git;
use crate::credentials::Credentials;
use crate::error::GitError;

/// The commit that `reference` names in the repository at `url`; without a reference, the head
/// of the default branch.
///
/// A branch wins over a tag of the same name. An annotated tag gives the commit that it tags. A
/// full commit is its own answer, without asking the server: whether it is there is seen when
/// it is fetched.
pub async fn resolve(
    url: &GitUrl,
    reference: Option<&str>,
    credentials: &Credentials,
    deadline: Duration,
) -> Result<CommitId, GitError> {
    if let Some(commit) = reference.and_then(|reference| reference.parse().ok()) {
        return Ok(commit);
    }
    let candidates = candidates(reference);
    let git = Git::new(url, credentials).await?;
    let mut arguments = vec!["ls-remote", "--", url.as_str()];
    arguments.extend(candidates.iter().map(String::as_str));
    let answer = git.run(&arguments, None, deadline).await?;
    commit_of(&candidates, &String::from_utf8_lossy(&answer)).ok_or_else(|| match reference {
        Some(reference) => GitError::ReferenceNotFound {
            url: git.url().to_owned(),
            reference: reference.to_owned(),
        },
        None => GitError::Empty {
            url: git.url().to_owned(),
        },
    })
}

/// The full names that `reference` may stand for, best first.
fn candidates(reference: Option<&str>) -> Vec<String> {
    match reference {
        None => vec!["HEAD".to_owned()],
        Some(full) if full.starts_with("refs/") => {
            vec![format!("{full}^{{}}"), full.to_owned()]
        }
        Some(name) => vec![
            format!("refs/heads/{name}"),
            format!("refs/tags/{name}^{{}}"),
            format!("refs/tags/{name}"),
        ],
    }
}

/// The commit of the best candidate in the answer of `git ls-remote`: lines of a commit, a tab
/// and a full name. The server matches the ends of names, so others may be among them.
fn commit_of(candidates: &[String], answer: &str) -> Option<CommitId> {
    candidates.iter().find_map(|candidate| {
        answer
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .find(|(_, name)| name == candidate)
            .and_then(|(commit, _)| commit.parse().ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::Command;

    const DEADLINE: Duration = Duration::from_secs(30);

    fn commit(digit: char) -> CommitId {
        digit.to_string().repeat(40).parse().unwrap()
    }

    #[test]
    fn a_branch_wins_over_a_tag_and_names_are_matched_whole() {
        let answer = format!(
            "{}\trefs/heads/old/refs/heads/v1\n{}\trefs/tags/v1\n{}\trefs/tags/v1^{{}}\n{}\trefs/heads/v1\n",
            "a".repeat(40),
            "b".repeat(40),
            "c".repeat(40),
            "d".repeat(40)
        );
        assert_eq!(
            commit_of(&candidates(Some("v1")), &answer),
            Some(commit('d'))
        );
        assert_eq!(
            commit_of(&candidates(Some("refs/tags/v1")), &answer),
            Some(commit('c')),
            "an annotated tag gives what it tags"
        );
        assert_eq!(commit_of(&candidates(Some("v2")), &answer), None);
    }

    fn git(directory: &Path, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .arg("-C")
            .arg(directory)
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[tokio::test]
    async fn branches_tags_commits_and_the_default_branch_are_resolved() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        git(path, &["init", "-q", "-b", "trunk"]);
        git(path, &["commit", "-q", "--allow-empty", "-m", "one"]);
        git(path, &["tag", "-a", "v1", "-m", "first"]);
        let first = git(path, &["rev-parse", "HEAD"]);
        git(path, &["commit", "-q", "--allow-empty", "-m", "two"]);
        let second = git(path, &["rev-parse", "HEAD"]);
        let url: GitUrl = format!("file://{}", path.display()).parse().unwrap();

        for (reference, expected) in [
            (None, &second),
            (Some("trunk"), &second),
            (Some("v1"), &first),
            (Some(first.as_str()), &first),
        ] {
            let found = resolve(&url, reference, &Credentials::Anonymous, DEADLINE).await;
            assert_eq!(found.unwrap().as_str(), expected, "{reference:?}");
        }
        let error = resolve(&url, Some("none"), &Credentials::Anonymous, DEADLINE)
            .await
            .unwrap_err();
        assert!(
            matches!(error, GitError::ReferenceNotFound { .. }),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_repository_that_is_not_there_and_one_that_is_empty_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        git(directory.path(), &["init", "-q"]);
        let empty: GitUrl = format!("file://{}", directory.path().display())
            .parse()
            .unwrap();
        let none: GitUrl = format!("file://{}/none", directory.path().display())
            .parse()
            .unwrap();
        let error = resolve(&empty, None, &Credentials::Anonymous, DEADLINE).await;
        assert!(matches!(error, Err(GitError::Empty { .. })), "{error:?}");
        let error = resolve(&none, None, &Credentials::Anonymous, DEADLINE).await;
        assert!(
            matches!(error, Err(GitError::RepositoryNotFound { .. })),
            "{error:?}"
        );
    }
}
