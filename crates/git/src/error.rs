//! What can go wrong with a repository, told from what `git` says.

use std::time::Duration;

use nico_runtime::category::{Categorized, Category};

/// Why a repository could not be used. The text is for the person who wrote the spec.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no repository at the URL, or it is hidden from who asks.
    #[error(
        "there is no Git repository at {url}, or it is hidden without the right credentials; check gitRepo and credentialsRef"
    )]
    RepositoryNotFound {
        /// The URL, without user information.
        url: String,
    },
    /// The repository has no such branch or tag.
    #[error("{url} has no branch or tag {reference:?}; check ref")]
    ReferenceNotFound {
        /// The URL, without user information.
        url: String,
        /// What was asked for.
        reference: String,
    },
    /// The repository is there and has no commit at all.
    #[error("{url} has no default branch: it is empty; push a commit to it, or set ref")]
    Empty {
        /// The URL, without user information.
        url: String,
    },
    /// The server does not accept the credentials, or wants some.
    #[error("{url} does not let us in ({answer}); check the Secret of credentialsRef")]
    AuthenticationFailed {
        /// The URL, without user information.
        url: String,
        /// The last words of `git`.
        answer: String,
    },
    /// The credentials are for another kind of URL.
    #[error("the credentials are for {wanted}, but {url} is none; set {instead} in the Secret")]
    UnusableCredentials {
        /// The URL, without user information.
        url: String,
        /// The kind of URL that the credentials are for.
        wanted: &'static str,
        /// The keys that would be right.
        instead: &'static str,
    },
    /// Somebody wrote a password into the URL.
    #[error(
        "the URL of {url} has a password in it, which everybody sees who sees the object; take it out, and name a Secret with username and password in credentialsRef"
    )]
    PasswordInUrl {
        /// The URL, without user information.
        url: String,
    },
    /// The server shows a host key that is not trusted.
    #[error(
        "the SSH host key of {url} is not trusted ({answer}); compare it with the key that the server's owner publishes, and put that one into the Secret under known_hosts"
    )]
    HostKeyRejected {
        /// The URL, without user information.
        url: String,
        /// The last words of `git`.
        answer: String,
    },
    /// The server shows a certificate that is not trusted.
    #[error(
        "the certificate of {url} is not trusted ({answer}); when it is of an authority of your own, start the operator with GIT_SSL_CAINFO set to a file with the authority's certificate"
    )]
    CertificateRejected {
        /// The URL, without user information.
        url: String,
        /// The last words of `git`.
        answer: String,
    },
    /// The server did not answer.
    #[error("the Git server of {url} cannot be reached: {answer}")]
    Unreachable {
        /// The URL, without user information.
        url: String,
        /// The last words of `git`.
        answer: String,
    },
    /// The server took too long.
    #[error("the Git server of {url} did not answer within {} s", deadline.as_secs())]
    TimedOut {
        /// The URL, without user information.
        url: String,
        /// How long was waited.
        deadline: Duration,
    },
    /// `git` failed in another way.
    #[error("git failed with {url}: {answer}")]
    Failed {
        /// The URL, without user information.
        url: String,
        /// The last words of `git`.
        answer: String,
    },
    /// The private key cannot be used.
    #[error("the private key for {url} cannot be used")]
    PrivateKey {
        /// The URL, without user information.
        url: String,
        /// Why.
        source: nico_ssh::KeyError,
    },
    /// The SSH agent that hands the key to `git` could not be started.
    #[error("cannot hand the private key to git")]
    Agent(#[source] nico_ssh::AgentError),
    /// User name and password could not be handed to `git`.
    #[error("cannot hand user name and password to git")]
    Login(#[source] std::io::Error),
    /// The program could not be started.
    #[error("cannot start git: is it installed and in PATH?")]
    Start(#[source] std::io::Error),
    /// The host keys of the Secret could not be handed to `ssh`.
    #[error("cannot write known_hosts for ssh")]
    KnownHosts(#[source] std::io::Error),
}

impl Categorized for GitError {
    fn category(&self) -> Category {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Failed { .. } => {
                Category::Transient
            }
            Self::RepositoryNotFound { .. }
            | Self::ReferenceNotFound { .. }
            | Self::Empty { .. }
            | Self::AuthenticationFailed { .. }
            | Self::UnusableCredentials { .. }
            | Self::HostKeyRejected { .. }
            | Self::CertificateRejected { .. }
            | Self::PasswordInUrl { .. }
            | Self::Login(_)
            | Self::PrivateKey { .. } => Category::InvalidInput,
            Self::Start(_) | Self::KnownHosts(_) | Self::Agent(_) => Category::Bug,
        }
    }
}

impl GitError {
    /// Tells what went wrong from what `git` wrote to its standard error output, in the
    /// wording of the C locale.
    pub(crate) fn from_answer(url: &str, standard_error: &str) -> Self {
        let url = url.to_owned();
        let answer = last_words(standard_error);
        let says = |phrases: &[&str]| phrases.iter().any(|phrase| standard_error.contains(phrase));
        if says(&["Host key verification failed", "IDENTIFICATION HAS CHANGED"]) {
            Self::HostKeyRejected { url, answer }
        } else if says(&["SSL certificate problem", "certificate verification failed"]) {
            Self::CertificateRejected { url, answer }
        } else if says(&[
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "Permission denied",
            "returned error: 401",
            "returned error: 403",
            "Invalid username or",
        ]) {
            Self::AuthenticationFailed { url, answer }
        } else if says(&[
            "Could not resolve host",
            "Failed to connect",
            "Couldn't connect",
            "Connection refused",
            "Connection timed out",
            "Connection reset",
            "Operation timed out",
            "No route to host",
            "Network is unreachable",
            "returned error: 5",
        ]) {
            Self::Unreachable { url, answer }
        } else if says(&[
            "Repository not found",
            "returned error: 404",
            "not found",
            "does not appear to be a git repository",
            "does not exist",
            "not valid: is this a git repository",
        ]) {
            Self::RepositoryNotFound { url }
        } else {
            Self::Failed { url, answer }
        }
    }
}

/// The last lines that say something, on one line, without user information in URLs.
fn last_words(standard_error: &str) -> String {
    let lines: Vec<&str> = standard_error
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let last = lines[lines.len().saturating_sub(3)..].join("; ");
    if last.is_empty() {
        "it said nothing".to_owned()
    } else {
        without_user_information(&last)
    }
}

/// Text in which `scheme://user:password@host` stands without `user:password@`.
pub(crate) fn without_user_information(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + "://".len());
        clean.push_str(before);
        let end = after
            .find(|c: char| c == '/' || c == '\'' || c == '"' || c.is_whitespace())
            .unwrap_or(after.len());
        let authority = &after[..end];
        clean.push_str(
            authority
                .rsplit_once('@')
                .map_or(authority, |(_, host)| host),
        );
        rest = &after[end..];
    }
    clean + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_git_says_becomes_what_is_wrong() {
        let kind = |answer: &str| match GitError::from_answer("https://git.example/x", answer) {
            GitError::RepositoryNotFound { .. } => "not found",
            GitError::AuthenticationFailed { .. } => "authentication",
            GitError::HostKeyRejected { .. } => "host key",
            GitError::Unreachable { .. } => "unreachable",
            GitError::Failed { .. } => "failed",
            other => panic!("{other:?}"),
        };
        let table = [
            (
                "remote: Repository not found.\nfatal: repository 'https://git.example/x/' not found",
                "not found",
            ),
            (
                "fatal: '/srv/none' does not appear to be a git repository\nfatal: Could not read from remote repository.",
                "not found",
            ),
            (
                "fatal: unable to access 'https://git.example/x/': The requested URL returned error: 404",
                "not found",
            ),
            (
                "fatal: could not read Username for 'https://github.com': terminal prompts disabled",
                "authentication",
            ),
            (
                "git@git.example: Permission denied (publickey).\nfatal: Could not read from remote repository.",
                "authentication",
            ),
            (
                "fatal: unable to access 'https://git.example/x/': The requested URL returned error: 403",
                "authentication",
            ),
            (
                "Host key verification failed.\nfatal: Could not read from remote repository.",
                "host key",
            ),
            (
                "fatal: unable to access 'https://git.example/x/': Could not resolve host: git.example",
                "unreachable",
            ),
            (
                "ssh: connect to host git.example port 22: Connection refused",
                "unreachable",
            ),
            (
                "fatal: unable to access 'https://git.example/x/': The requested URL returned error: 502",
                "unreachable",
            ),
            ("fatal: something else", "failed"),
            ("", "failed"),
        ];
        for (answer, expected) in table {
            assert_eq!(kind(answer), expected, "{answer}");
        }
    }

    #[test]
    fn user_information_in_urls_is_not_repeated() {
        assert_eq!(
            without_user_information(
                "fatal: 'https://me:hunter2@git.example/x.git' and ssh://git@h:22/y"
            ),
            "fatal: 'https://git.example/x.git' and ssh://h:22/y"
        );
    }

    proptest! {
        #[test]
        fn a_password_in_a_url_is_never_repeated(password in "[a-z]{12}", words in "[a-z :/'@]{0,30}") {
            let text = format!("{words} https://me:{password}@git.example/x {words}");
            prop_assert!(!without_user_information(&text).contains(&password));
        }
    }
}
