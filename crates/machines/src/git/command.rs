//! The `git` program with a clean environment and the credentials of one repository.

use std::path::{Path, PathBuf};

use nico_api::names::GitUrl;
use nico_ssh::Agent;
use tempfile::TempDir;
use tokio::process::Command;

use super::credentials::Credentials;
use super::error::GitError;
use crate::program;

/// `git` for one repository: the agent and the files that it needs, gone on drop.
pub(super) struct Login {
    environment: Vec<(&'static str, String)>,
    _agent: Option<Agent>,
    _known_hosts: Option<TempDir>,
}

impl Login {
    /// Prepares what `git` needs to log in to `url`.
    ///
    /// `remembered_hosts` is the file in which host keys of SSH servers are kept for Secrets
    /// that bring none.
    pub(super) async fn prepare(
        url: &GitUrl,
        credentials: &Credentials,
        remembered_hosts: &Path,
    ) -> Result<Self, GitError> {
        let mut login = Self {
            environment: Vec::new(),
            _agent: None,
            _known_hosts: None,
        };
        if let Some(authorization) = credentials.authorization() {
            // The environment of this one child; curl does not repeat the header to other hosts.
            login.environment.extend([
                ("GIT_CONFIG_COUNT", "1".to_owned()),
                ("GIT_CONFIG_KEY_0", format!("http.{url}.extraHeader")),
                (
                    "GIT_CONFIG_VALUE_0",
                    format!("Authorization: {authorization}"),
                ),
            ]);
        }
        if let Credentials::SshKey {
            key, known_hosts, ..
        } = credentials
        {
            let agent = Agent::start(key).await.map_err(|source| GitError::Agent {
                url: url.to_string(),
                source,
            })?;
            let (checking, hosts) = match known_hosts {
                Some(lines) => {
                    let (directory, file) = write_known_hosts(lines)?;
                    login._known_hosts = Some(directory);
                    ("yes", file)
                }
                None => ("accept-new", remembered_hosts.to_owned()),
            };
            login.environment.extend([
                ("SSH_AUTH_SOCK", agent.socket().display().to_string()),
                ("GIT_SSH_COMMAND", ssh_command(checking, &hosts)),
                ("GIT_SSH_VARIANT", "ssh".to_owned()),
            ]);
            login._agent = Some(agent);
        }
        Ok(login)
    }

    /// Adds the login to a command.
    pub(super) fn apply(&self, command: &mut Command) {
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
    }
}

fn ssh_command(checking: &str, known_hosts: &Path) -> String {
    let hosts = nico_ssh::quote(&format!("UserKnownHostsFile={}", known_hosts.display()));
    format!(
        "ssh -F none -o BatchMode=yes -o ConnectTimeout=15 -o GlobalKnownHostsFile=/dev/null \
         -o StrictHostKeyChecking={checking} -o {hosts}"
    )
}

/// Host keys are public; they go into a directory of their own that goes with the login.
fn write_known_hosts(lines: &str) -> Result<(TempDir, PathBuf), GitError> {
    let storage = |source| GitError::Storage {
        path: std::env::temp_dir(),
        source,
    };
    let directory = TempDir::with_prefix("nico-git-").map_err(storage)?;
    let file = directory.path().join("known_hosts");
    std::fs::write(&file, format!("{lines}\n")).map_err(storage)?;
    Ok((directory, file))
}

/// `git` without any configuration but NICO's: no prompts, no helpers, no hooks, and only the
/// protocols that are allowed.
pub(super) fn git(home: &Path, allow_file_urls: bool) -> Command {
    let mut command = program::command("git", home);
    let protocols = if allow_file_urls {
        "http:https:ssh:file"
    } else {
        "http:https:ssh"
    };
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ALLOW_PROTOCOL", protocols)
        .args(["-c", "core.hooksPath=/dev/null", "-c", "credential.helper="])
        .args([
            "-c",
            "gc.autoDetach=false",
            "-c",
            "advice.detachedHead=false",
        ])
        .args([
            "-c",
            "http.lowSpeedLimit=1000",
            "-c",
            "http.lowSpeedTime=60",
        ]);
    command
}
