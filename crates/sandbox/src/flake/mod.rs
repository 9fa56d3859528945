//! The Git repository of a sandbox: a flake that needs no nixpkgs, so that a system is
//! evaluated, built and copied in well under a second.
//!
//! A control plane of it runs a Kubernetes API of its own, in memory. With more than one
//! control plane these do not share their data: every node registers with all of them, so
//! each shows all nodes, but what a user creates in one is not in the others. With
//! [`Repository::share_etcd`] they keep everything in one etcd, a member on each of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{self, CommandError};
use crate::state::{StateError, file_error};

const FILES: &[(&str, &str)] = &[
    ("datastore.nix", include_str!("datastore.nix")),
    ("flake.nix", include_str!("flake.nix")),
    ("k3s.sh", include_str!("k3s.sh")),
    (
        "kubernetes-version.nix",
        include_str!("kubernetes-version.nix"),
    ),
    ("package.nix", include_str!("package.nix")),
    ("services.nix", include_str!("services.nix")),
    (
        "switch-to-configuration.sh",
        include_str!("switch-to-configuration.sh"),
    ),
    ("system.nix", include_str!("system.nix")),
];

/// Where the flake is in the repository.
pub const SUBDIRECTORY: &str = "clusters/home";

/// Why the repository cannot be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// A file cannot be written.
    #[error(transparent)]
    State(#[from] StateError),
    /// `git` failed.
    #[error("cannot commit to the repository of the sandbox")]
    Git(#[from] CommandError),
}

/// A Git repository with the flake, on branch `main`.
#[derive(Clone, Debug)]
pub struct Repository {
    directory: PathBuf,
}

impl Repository {
    /// Makes the repository in a directory that does not exist yet.
    ///
    /// # Errors
    /// When a file cannot be written or `git` fails.
    pub fn create(directory: &Path) -> Result<Self, RepositoryError> {
        let flake = directory.join(SUBDIRECTORY);
        fs::create_dir_all(&flake).map_err(file_error("create", &flake))?;
        let repository = Self {
            directory: directory.to_owned(),
        };
        repository.git(&["init", "--quiet", "--initial-branch", "main"])?;
        // Whoever plays with a sandbox clones the repository and pushes to it.
        repository.git(&["config", "receive.denyCurrentBranch", "updateInstead"])?;
        let platform = format!("\"{}-linux\"\n", std::env::consts::ARCH);
        repository.write("platform.nix", &platform)?;
        for (path, content) in FILES {
            repository.write(path, content)?;
        }
        repository.commit("Add the clusters of the sandbox")?;
        Ok(repository)
    }

    /// Lets the control planes of a cluster share one etcd, and serve with the certificates in
    /// `authority`, the `--cert-dir` of an API server. Takes effect with the next commit.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn share_etcd(&self, authority: &Path) -> Result<(), RepositoryError> {
        self.write("datastore.nix", "\"etcd\"\n")?;
        let folder = self.directory.join(SUBDIRECTORY).join("authority");
        fs::create_dir_all(&folder).map_err(file_error("create", &folder))?;
        for entry in fs::read_dir(authority).map_err(file_error("read", authority))? {
            let file = entry.map_err(file_error("read", authority))?;
            let copy = folder.join(file.file_name());
            fs::copy(file.path(), &copy).map_err(file_error("write", &copy))?;
        }
        Ok(())
    }

    /// The URL that goes into `gitRepo`; the operator must allow file URLs.
    pub fn url(&self) -> String {
        format!("file://{}", self.directory.display())
    }

    /// Writes a file beside `flake.nix` in the working tree, which nobody sees before [`Repository::commit`].
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &str, content: &str) -> Result<(), RepositoryError> {
        let path = self.directory.join(SUBDIRECTORY).join(path);
        Ok(fs::write(&path, content).map_err(file_error("write", &path))?)
    }

    /// Gives a file beside `flake.nix` the content that it had at first.
    ///
    /// # Errors
    /// When `git` fails, also because there was no such file.
    pub fn restore(&self, path: &str) -> Result<(), RepositoryError> {
        let first = self.git(&["rev-list", "--max-parents=0", "HEAD"])?;
        let path = format!("{SUBDIRECTORY}/{path}");
        self.git(&["checkout", "--quiet", first.trim(), "--", &path])?;
        Ok(())
    }

    /// Commits everything in the working tree and gives the new commit.
    ///
    /// # Errors
    /// When `git` fails, also because nothing changed.
    pub fn commit(&self, message: &str) -> Result<String, RepositoryError> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", message])?;
        Ok(self.git(&["rev-parse", "HEAD"])?.trim().to_owned())
    }

    fn git(&self, arguments: &[&str]) -> Result<String, CommandError> {
        let mut command = Command::new("git");
        command
            .args(arguments)
            .current_dir(&self.directory)
            // The settings of whoever runs this are not those of the sandbox.
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_AUTHOR_NAME", "NICO sandbox")
            .env("GIT_AUTHOR_EMAIL", "sandbox@localhost")
            .env("GIT_COMMITTER_NAME", "NICO sandbox")
            .env("GIT_COMMITTER_EMAIL", "sandbox@localhost");
        command::output(&mut command, &[])
    }
}
