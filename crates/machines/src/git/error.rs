//! What went wrong with a repository, told apart by what `git` says.

use std::path::PathBuf;

use nico_api::reason::ConfigurationReason;
use nico_runtime::category::{Categorized, Category};

use crate::program::ProgramError;

/// A repository that does not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// `file` URLs are off.
    #[error(
        "{url} is a file URL, which the operator does not allow; use https or ssh, or start the operator with NIO_ALLOW_FILE_URLS=true"
    )]
    FileUrlNotAllowed {
        /// The repository.
        url: String,
    },
    /// The server says that there is nothing at the URL.
    #[error(
        "there is no Git repository at {url}, or it is private and no credentials are set; check spec.gitRepo and spec.credentialsRef. Git says:\n{tail}"
    )]
    RepositoryNotFound {
        /// The repository.
        url: String,
        /// What git said.
        tail: String,
    },
    /// The server does not let us in.
    #[error(
        "{url} does not accept the credentials; check the Secret of spec.credentialsRef. Git says:\n{tail}"
    )]
    AuthenticationFailed {
        /// The repository.
        url: String,
        /// What git said.
        tail: String,
    },
    /// The server does not answer.
    #[error("{url} does not answer; it is tried again. Git says:\n{tail}")]
    Unreachable {
        /// The repository.
        url: String,
        /// What git said.
        tail: String,
    },
    /// No branch or tag of this name.
    #[error("{url} has no branch or tag {reference:?}; push it, or correct spec.ref")]
    ReferenceNotFound {
        /// The repository.
        url: String,
        /// What was looked for.
        reference: String,
    },
    /// No such commit, or none that a branch or tag leads to.
    #[error(
        "{url} has no commit {commit} that a branch or a tag leads to; push it, or correct spec.ref"
    )]
    CommitNotFound {
        /// The repository.
        url: String,
        /// What was looked for.
        commit: String,
    },
    /// Git failed in another way.
    #[error("{task} {url}: {source}")]
    Program {
        /// What was being done, such as `fetch from`.
        task: &'static str,
        /// The repository.
        url: String,
        /// How it failed.
        source: ProgramError,
    },
    /// No agent for the private key.
    #[error("cannot start an SSH agent for {url}: {source}")]
    Agent {
        /// The repository.
        url: String,
        /// Why not.
        source: nico_ssh::AgentError,
    },
    /// The operator's own files.
    #[error("cannot write {}: {source}", path.display())]
    Storage {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl GitError {
    /// The error that a failed `git` stands for.
    pub(super) fn from_program(task: &'static str, url: String, source: ProgramError) -> Self {
        let tail = source.tail().to_owned();
        match diagnose(&source) {
            Diagnosis::Authentication => Self::AuthenticationFailed { url, tail },
            Diagnosis::NotFound => Self::RepositoryNotFound { url, tail },
            Diagnosis::Unreachable => Self::Unreachable { url, tail },
            Diagnosis::Other => Self::Program { task, url, source },
        }
    }

    /// The reason that a condition gives.
    pub fn reason(&self) -> ConfigurationReason {
        match self {
            Self::FileUrlNotAllowed { .. } => ConfigurationReason::FileUrlNotAllowed,
            Self::RepositoryNotFound { .. } => ConfigurationReason::RepositoryNotFound,
            Self::AuthenticationFailed { .. } => ConfigurationReason::GitAuthenticationFailed,
            Self::Unreachable { .. } => ConfigurationReason::GitUnreachable,
            Self::ReferenceNotFound { .. } | Self::CommitNotFound { .. } => {
                ConfigurationReason::ReferenceNotFound
            }
            Self::Program { .. } | Self::Agent { .. } | Self::Storage { .. } => {
                ConfigurationReason::GitFailed
            }
        }
    }
}

impl Categorized for GitError {
    /// A repository, a reference or a permission may appear without any change of the object,
    /// so these wait; only what the operator refuses is final.
    fn category(&self) -> Category {
        match self {
            Self::FileUrlNotAllowed { .. } => Category::InvalidInput,
            Self::RepositoryNotFound { .. }
            | Self::AuthenticationFailed { .. }
            | Self::ReferenceNotFound { .. }
            | Self::CommitNotFound { .. } => Category::Waiting,
            Self::Unreachable { .. }
            | Self::Program { .. }
            | Self::Agent { .. }
            | Self::Storage { .. } => Category::Transient,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Diagnosis {
    Authentication,
    NotFound,
    Unreachable,
    Other,
}

fn diagnose(error: &ProgramError) -> Diagnosis {
    match error {
        ProgramError::TimedOut { .. } => Diagnosis::Unreachable,
        ProgramError::Failed { tail, .. } => read(tail),
        ProgramError::NotStarted { .. } | ProgramError::Unreadable { .. } => Diagnosis::Other,
    }
}

/// What the words of `git`, `ssh` and `curl` mean, in the order in which they are told apart: a
/// refused login is also "not read from remote repository".
fn read(tail: &str) -> Diagnosis {
    const AUTHENTICATION: &[&str] = &[
        "authentication failed",
        "could not read username",
        "could not read password",
        "permission denied",
        "host key verification failed",
        "returned error: 401",
        "returned error: 403",
        "too many authentication failures",
    ];
    const UNREACHABLE: &[&str] = &[
        "could not resolve host",
        "connection refused",
        "connection timed out",
        "operation timed out",
        "connection reset",
        "connection closed by",
        "failed to connect",
        "couldn't connect",
        "could not connect",
        "network is unreachable",
        "no route to host",
        "returned error: 429",
        "returned error: 5",
        "early eof",
        "unexpected disconnect",
        "ssl",
        "tls",
    ];
    const NOT_FOUND: &[&str] = &[
        "not found",
        "does not appear to be a git repository",
        "does not exist",
        "could not be found",
        "returned error: 404",
    ];
    let tail = tail.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| tail.contains(word));
    if says(AUTHENTICATION) {
        Diagnosis::Authentication
    } else if says(UNREACHABLE) {
        Diagnosis::Unreachable
    } else if says(NOT_FOUND) {
        Diagnosis::NotFound
    } else {
        Diagnosis::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_is_told_apart() {
        let cases = [
            (
                "fatal: '/srv/none' does not appear to be a git repository\nfatal: Could not read from remote repository.",
                Diagnosis::NotFound,
            ),
            (
                "remote: Repository not found.\nfatal: repository 'https://h/a.git/' not found",
                Diagnosis::NotFound,
            ),
            (
                "fatal: Authentication failed for 'https://h/a.git/'",
                Diagnosis::Authentication,
            ),
            (
                "fatal: could not read Username for 'https://h': terminal prompts disabled",
                Diagnosis::Authentication,
            ),
            (
                "git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.",
                Diagnosis::Authentication,
            ),
            (
                "Host key verification failed.\nfatal: Could not read from remote repository.",
                Diagnosis::Authentication,
            ),
            (
                "fatal: unable to access 'https://h/': Could not resolve host: h",
                Diagnosis::Unreachable,
            ),
            (
                "fatal: unable to access 'https://h/': Failed to connect to h port 443",
                Diagnosis::Unreachable,
            ),
            (
                "fatal: unable to access 'https://h/': The requested URL returned error: 503",
                Diagnosis::Unreachable,
            ),
            ("fatal: bad object", Diagnosis::Other),
        ];
        for (tail, expected) in cases {
            assert_eq!(read(tail), expected, "{tail}");
        }
    }
}
