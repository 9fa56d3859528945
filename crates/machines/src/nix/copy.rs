//! Copying a closure to a host, over the `ssh` program and an agent of NICO's own.

use std::path::{Path, PathBuf};
use std::time::Instant;

use nico_api::names::StorePath;
use nico_ssh::{Agent, PublicKey, Target, quote};

use super::error::NixError;
use super::local::{Nix, turn};
use crate::configuration::metrics::BuildType;
use crate::program::{self, Redactor};

/// The name under which `ssh` knows the host: what `nix` is given is the same for every machine,
/// and addresses that `nix` cannot parse (IPv6, ports) do not reach it.
const ALIAS: &str = "nio-target";

/// A host that closures can be copied to: an agent with its key, and a configuration of `ssh`
/// that trusts exactly its host key.
pub struct Destination {
    configuration: PathBuf,
    user: String,
    shown: String,
    _agent: Agent,
}

impl Destination {
    /// Prepares copying to `target`, which was seen to have `host_key`. The files, none of them
    /// secret, go into `directory`, whose owner removes them.
    ///
    /// # Errors
    /// [`NixError::Agent`] when there is no key, [`NixError::Storage`].
    pub async fn prepare(
        target: &Target,
        host_key: &PublicKey,
        directory: &Path,
    ) -> Result<Self, NixError> {
        let agent = Agent::start(&target.credentials)
            .await
            .map_err(NixError::Agent)?;
        let known_hosts = directory.join("known_hosts");
        let configuration = directory.join("ssh_config");
        write(&known_hosts, &known_hosts_line(host_key)).await?;
        let text = ssh_config(target, agent.socket(), &known_hosts);
        write(&configuration, &text).await?;
        Ok(Self {
            configuration,
            user: target.user.clone(),
            shown: format!("{}@{}", target.user, target.address),
            _agent: agent,
        })
    }

    /// The store URL. Users other than root write to the store through `sudo`.
    fn store_url(&self) -> String {
        if self.user == "root" {
            format!("ssh://{ALIAS}")
        } else {
            format!("ssh://{ALIAS}?remote-program=sudo%20-n%20nix-store")
        }
    }
}

impl Nix {
    /// Copies a store path and all that it needs, as far as the host lacks it.
    ///
    /// # Errors
    /// [`NixError::Copy`].
    pub async fn copy(
        &self,
        path: &StorePath,
        destination: &Destination,
        redactor: &Redactor,
    ) -> Result<(), NixError> {
        let _turn = turn(&self.copies).await;
        let started = Instant::now();
        let mut command = self.nix(&["copy", "--no-check-sigs"]);
        if self.settings.substitute_on_destination {
            command.arg("--substitute-on-destination");
        }
        let options = format!("-F {}", quote(&destination.configuration.to_string_lossy()));
        command
            .env("NIX_SSHOPTS", options)
            .args(["--to", &destination.store_url(), path.as_str()]);
        let copied = program::run(command, self.settings.copy_deadline, redactor).await;
        self.metrics
            .built(BuildType::Copy, copied.is_ok(), started.elapsed());
        copied.map(|_| ()).map_err(|source| NixError::Copy {
            path: path.to_string(),
            host: destination.shown.clone(),
            source,
        })
    }
}

fn known_hosts_line(key: &PublicKey) -> String {
    let key = PublicKey::new(key.key_data().clone(), "");
    let encoded = key.to_openssh().unwrap_or_default();
    format!("{ALIAS} {}\n", encoded.trim_end())
}

fn ssh_config(target: &Target, agent: &Path, known_hosts: &Path) -> String {
    format!(
        "Host {ALIAS}\n\
         \x20 HostName {address}\n\
         \x20 Port {port}\n\
         \x20 User {user}\n\
         \x20 HostKeyAlias {ALIAS}\n\
         \x20 UserKnownHostsFile \"{known_hosts}\"\n\
         \x20 GlobalKnownHostsFile /dev/null\n\
         \x20 StrictHostKeyChecking yes\n\
         \x20 UpdateHostKeys no\n\
         \x20 IdentityAgent \"{agent}\"\n\
         \x20 IdentityFile none\n\
         \x20 PasswordAuthentication no\n\
         \x20 KbdInteractiveAuthentication no\n\
         \x20 BatchMode yes\n\
         \x20 ControlMaster no\n\
         \x20 ControlPath none\n\
         \x20 ConnectTimeout 15\n\
         \x20 ServerAliveInterval 15\n\
         \x20 ServerAliveCountMax 4\n",
        address = target.address,
        port = target.port,
        user = target.user,
        known_hosts = known_hosts.display(),
        agent = agent.display(),
    )
}

async fn write(path: &Path, text: &str) -> Result<(), NixError> {
    tokio::fs::write(path, text)
        .await
        .map_err(|source| NixError::Storage {
            path: path.display().to_string(),
            source,
        })
}
