//! A mirror that does not give what was asked for.

use std::path::PathBuf;

use nico_api::reason::ConfigurationReason;
use nico_git::GitError;
use nico_runtime::category::{Categorized, Category};

use crate::program::ProgramError;

/// A repository that does not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// `file` URLs are off.
    #[error(
        "{url} is a file URL, which the operator does not allow; use https or ssh, or start the operator with NIO_ALLOW_FILE_URLS=true"
    )]
    FileUrlNotAllowed {
        /// The repository.
        url: String,
    },
    /// The server, or the way to it.
    #[error(transparent)]
    Remote(#[from] GitError),
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
    /// `git` failed on the operator's own mirror.
    #[error("cannot {task} the mirror of {url}: {source}")]
    Mirror {
        /// What was being done.
        task: &'static str,
        /// The repository.
        url: String,
        /// How it failed.
        source: ProgramError,
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

impl MirrorError {
    /// The reason that a condition gives.
    pub fn reason(&self) -> ConfigurationReason {
        match self {
            Self::FileUrlNotAllowed { .. } => ConfigurationReason::FileUrlNotAllowed,
            Self::CommitNotFound { .. } => ConfigurationReason::ReferenceNotFound,
            Self::Mirror { .. } | Self::Storage { .. } => ConfigurationReason::GitFailed,
            Self::Remote(error) => match error {
                GitError::RepositoryNotFound { .. } => ConfigurationReason::RepositoryNotFound,
                GitError::ReferenceNotFound { .. } | GitError::Empty { .. } => {
                    ConfigurationReason::ReferenceNotFound
                }
                GitError::AuthenticationFailed { .. }
                | GitError::UnusableCredentials { .. }
                | GitError::HostKeyRejected { .. }
                | GitError::PrivateKey { .. } => ConfigurationReason::GitAuthenticationFailed,
                GitError::Unreachable { .. } | GitError::TimedOut { .. } => {
                    ConfigurationReason::GitUnreachable
                }
                GitError::Failed { .. }
                | GitError::Agent(_)
                | GitError::Start(_)
                | GitError::KnownHosts(_) => ConfigurationReason::GitFailed,
            },
        }
    }
}

impl Categorized for MirrorError {
    /// A repository, a reference or a permission may appear without any change of the object,
    /// so these wait; only what the operator itself refuses is final.
    fn category(&self) -> Category {
        match self {
            Self::FileUrlNotAllowed { .. } => Category::InvalidInput,
            Self::CommitNotFound { .. } => Category::Waiting,
            Self::Mirror { .. } | Self::Storage { .. } => Category::Transient,
            Self::Remote(error) => match error.category() {
                Category::InvalidInput => Category::Waiting,
                category => category,
            },
        }
    }
}
