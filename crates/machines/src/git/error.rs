//! A mirror that does not give what was asked for.

use std::path::PathBuf;

use nico_api::names::InvalidName;
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
    /// A submodule that `.gitmodules` does not name.
    #[error(
        "commit {commit} of {url} has a submodule at {path:?} without a URL; correct .gitmodules"
    )]
    SubmoduleNotNamed {
        /// The repository.
        url: String,
        /// The commit.
        commit: String,
        /// Where the submodule is.
        path: String,
    },
    /// A submodule whose URL is none.
    #[error("the submodule {path:?} of {url} has no URL that can be used: {source}")]
    SubmoduleUrl {
        /// The repository.
        url: String,
        /// Where the submodule is.
        path: String,
        /// What is wrong.
        source: InvalidName,
    },
    /// A submodule that cannot be had.
    #[error("cannot get the submodule {path:?} of {url}: {source}")]
    Submodule {
        /// The repository.
        url: String,
        /// Where the submodule is.
        path: String,
        /// Why not.
        source: Box<MirrorError>,
    },
    /// The operator is ending.
    #[error("the operator is ending")]
    Ended,
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
    /// Whether it may be the fault of the mirror and not of the server. Of a damaged mirror `git`
    /// says many things, some of which sound as if the repository were not there.
    pub(super) fn may_be_damage(&self) -> bool {
        matches!(
            self,
            Self::Mirror {
                source: ProgramError::Failed { .. },
                ..
            } | Self::Remote(GitError::Failed { .. } | GitError::RepositoryNotFound { .. })
        )
    }

    /// The reason that a condition gives.
    pub fn reason(&self) -> ConfigurationReason {
        match self {
            Self::FileUrlNotAllowed { .. } => ConfigurationReason::FileUrlNotAllowed,
            Self::CommitNotFound { .. } => ConfigurationReason::ReferenceNotFound,
            Self::SubmoduleNotNamed { .. } | Self::SubmoduleUrl { .. } => {
                ConfigurationReason::RepositoryNotFound
            }
            Self::Submodule { source, .. } => source.reason(),
            Self::Mirror { .. } | Self::Storage { .. } | Self::Ended => {
                ConfigurationReason::GitFailed
            }
            Self::Remote(error) => match error {
                GitError::PasswordInUrl { .. } => ConfigurationReason::InvalidSpec,
                GitError::RepositoryNotFound { .. } => ConfigurationReason::RepositoryNotFound,
                GitError::ReferenceNotFound { .. } | GitError::Empty { .. } => {
                    ConfigurationReason::ReferenceNotFound
                }
                GitError::AuthenticationFailed { .. }
                | GitError::UnusableCredentials { .. }
                | GitError::HostKeyRejected { .. }
                | GitError::CertificateRejected { .. }
                | GitError::Login(_)
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
            Self::CommitNotFound { .. } => Category::Waiting,
            // Only another spec or another commit changes these.
            Self::FileUrlNotAllowed { .. }
            | Self::SubmoduleNotNamed { .. }
            | Self::SubmoduleUrl { .. } => Category::InvalidInput,
            Self::Submodule { source, .. } => source.category(),
            Self::Mirror { .. } | Self::Storage { .. } | Self::Ended => Category::Transient,
            Self::Remote(error) => match error.category() {
                Category::InvalidInput => Category::Waiting,
                category => category,
            },
        }
    }
}
