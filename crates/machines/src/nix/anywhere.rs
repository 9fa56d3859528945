//! Installing a machine from scratch with `nixos-anywhere`.
//!
//! That program switches the checking of host keys off with options that no other option can
//! take back. So the `ssh` that it finds in `PATH` is a script of NICO's own, which puts the
//! checking first and then calls the real one: the installer is reached only under the host key
//! that was seen before, which its image takes over from the system that it replaces.

use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nico_api::names::FlakeAttribute;
use nico_ssh::{Agent, Proof, PublicKey, Target, quote};

use super::destination::{ALIAS, Authentication, SshConfig, known_hosts_line, write};
use super::error::NixError;
use super::evaluate::Tree;
use super::local::Nix;
use crate::configuration::metrics::BuildType;
use crate::program::{self, Redactor};

/// The port of an SSH server where nobody said otherwise, and that of the installer.
const USUAL_PORT: u16 = 22;

/// A file on the new disk, seen from its root, that names the installation.
pub const MARK: &str = "var/lib/nio/installation";

/// The machine that is installed.
pub struct Host<'a> {
    /// Where it is and how to log in.
    pub target: &'a Target,
    /// The host key that it was seen to have just now.
    pub host_key: &'a PublicKey,
    /// What it accepted of the credentials.
    pub proof: Proof,
    /// A private directory for files, none of them secret, whose owner removes it.
    pub directory: &'a Path,
    /// What is written to [`MARK`] on the new disk, by which it is known again.
    pub mark: &'a str,
}

impl Nix {
    /// Where `nixos-anywhere` is.
    ///
    /// # Errors
    /// [`NixError::InstallerMissing`].
    pub fn installer(&self) -> Result<PathBuf, NixError> {
        let name = &self.settings.installer;
        program::find(name).ok_or_else(|| NixError::InstallerMissing {
            program: name.display().to_string(),
        })
    }

    /// Wipes the disk of `host` and installs `nixosConfigurations.<attribute>` of a flake on it.
    /// Ends when the host reboots into it. `say` gets every line of output, without secrets.
    ///
    /// The host key of what is there before is kept for the installed system, which may be
    /// configured to have another one all the same.
    ///
    /// # Errors
    /// [`NixError::Install`] when the disk may be wiped; else what kept it from being begun.
    pub async fn install_from_scratch(
        &self,
        tree: &Tree<'_>,
        attribute: &FlakeAttribute,
        host: &Host<'_>,
        redactor: &Redactor,
        say: impl Fn(&str),
    ) -> Result<(), NixError> {
        let target = host.target;
        let mut command = program::command(self.installer()?, &self.settings.home);
        self.pass_environment(&mut command);
        // The key stays in this process. A password goes through the environment of the one
        // program that needs it, which is how that program takes it.
        let agent = match host.proof {
            Proof::Key => {
                let agent = Agent::start(&target.credentials)
                    .await
                    .map_err(NixError::Agent)?;
                command.env("SSH_AUTH_SOCK", agent.socket());
                Some(agent)
            }
            Proof::Password => {
                command.arg("--env-password");
                target.credentials.expose_password(|password| {
                    command.env("SSHPASS", password);
                });
                None
            }
        };
        let authentication = match &agent {
            Some(agent) => Authentication::Agent(agent.socket()),
            None => Authentication::Password,
        };
        command.env("PATH", checking_path(host, authentication).await?);
        let flake = tree.flake_url().await?;
        command.args(["--flake", &format!("{flake}#{attribute}")]);
        command.args(["--target-host", &format!("{}@{ALIAS}", target.user)]);
        if target.port != USUAL_PORT {
            command.args(["--ssh-port", &target.port.to_string()]);
        }
        command.arg("--copy-host-keys");
        command.arg("--extra-files").arg(extra_files(host).await?);
        if !self.settings.substitute_on_destination {
            command.arg("--no-substitute-on-destination");
        }
        let started = Instant::now();
        let installed =
            program::follow(command, self.settings.install_deadline, redactor, say).await;
        self.metrics
            .built(BuildType::Install, installed.is_ok(), started.elapsed());
        installed.map_err(|source| NixError::Install {
            host: format!("{}@{}", target.user, target.address),
            source,
        })
    }
}

/// A tree with the mark, which is copied to the root of the new disk, modes included.
async fn extra_files(host: &Host<'_>) -> Result<PathBuf, NixError> {
    let tree = host.directory.join("installer_files");
    let mark = tree.join(MARK);
    let directories: Vec<&Path> = mark
        .ancestors()
        .skip(1)
        .take_while(|directory| directory.starts_with(&tree))
        .collect();
    for directory in directories.into_iter().rev() {
        let made = async {
            tokio::fs::create_dir_all(directory).await?;
            tokio::fs::set_permissions(directory, Permissions::from_mode(0o755)).await
        };
        made.await.map_err(|source| NixError::Storage {
            path: directory.display().to_string(),
            source,
        })?;
    }
    write(&mark, host.mark).await?;
    Ok(tree)
}

/// A `PATH` whose `ssh` checks the host key.
async fn checking_path(
    host: &Host<'_>,
    authentication: Authentication<'_>,
) -> Result<OsString, NixError> {
    let known_hosts = host.directory.join("installer_known_hosts");
    write(&known_hosts, &known_hosts_line(host.host_key)).await?;
    let configuration = host.directory.join("installer_ssh_config");
    let text = SshConfig {
        address: &host.target.address,
        // It is given as an argument where it is another one: the installer has the usual one.
        port: USUAL_PORT,
        user: &host.target.user,
        authentication,
        known_hosts: &known_hosts,
    };
    write(&configuration, &text.to_string()).await?;

    let real = program::find(Path::new("ssh")).ok_or_else(|| NixError::InstallerMissing {
        program: "ssh".to_owned(),
    })?;
    let programs = host.directory.join("bin");
    let ssh = programs.join("ssh");
    let prepared = async {
        tokio::fs::create_dir_all(&programs).await?;
        tokio::fs::write(&ssh, checking_ssh(&real, &configuration, &known_hosts)).await?;
        tokio::fs::set_permissions(&ssh, Permissions::from_mode(0o700)).await
    };
    prepared.await.map_err(|source| NixError::Storage {
        path: ssh.display().to_string(),
        source,
    })?;
    let mut path = programs.into_os_string();
    if let Some(rest) = std::env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    Ok(path)
}

/// `ssh` takes the first value that it is given for an option.
fn checking_ssh(real: &Path, configuration: &Path, known_hosts: &Path) -> String {
    let word = |path: &Path| quote(&path.to_string_lossy());
    format!(
        "#!/bin/sh\nexec {} -F {} -o StrictHostKeyChecking=yes -o UserKnownHostsFile={} \
         -o GlobalKnownHostsFile=/dev/null -o HostKeyAlias={ALIAS} \"$@\"\n",
        word(real),
        word(configuration),
        word(known_hosts),
    )
}
