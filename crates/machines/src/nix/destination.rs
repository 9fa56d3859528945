//! How the `ssh` program reaches a host: an agent of NICO's own with the key, and a
//! configuration that trusts exactly the host key that was seen. Where there is only a password,
//! which `ssh` cannot be given, it goes through a session of NICO's own.

use std::fmt;
use std::path::{Path, PathBuf};

use nico_ssh::{Agent, Bridge, Deadlines, Proof, PublicKey, Session, Target};

use super::error::NixError;

/// The name under which `ssh` knows the host: what `nix` is given is the same for every machine,
/// and addresses that `nix` cannot parse (IPv6, ports) do not reach it.
pub(super) const ALIAS: &str = "nio-target";

/// A host that programs can reach over `ssh`.
pub struct Destination {
    pub(super) configuration: PathBuf,
    pub(super) user: String,
    pub(super) shown: String,
    _way: Way,
}

/// What has to live as long as programs use a destination.
enum Way {
    Agent(Agent),
    Bridge(Bridge),
}

impl Destination {
    /// Prepares reaching `target` as the host to which there is a `session`: under the same host
    /// key, with the credentials that were accepted. The files, none of them secret, go into
    /// `directory`, whose owner removes them.
    ///
    /// # Errors
    /// [`NixError::Agent`], [`NixError::Bridge`] or [`NixError::Storage`].
    pub async fn prepare(
        target: &Target,
        session: &Session,
        directory: &Path,
    ) -> Result<Self, NixError> {
        let host_key = session.host_key();
        let way = match session.proof() {
            Proof::Key => {
                let agent = Agent::start(&target.credentials).await;
                Way::Agent(agent.map_err(NixError::Agent)?)
            }
            Proof::Password => {
                let bridge = Bridge::open(target, host_key, &Deadlines::default()).await;
                Way::Bridge(bridge.map_err(NixError::Bridge)?)
            }
        };
        let (address, port, host_key, agent) = match &way {
            Way::Agent(agent) => (target.address.clone(), target.port, host_key, agent),
            Way::Bridge(bridge) => {
                let address = bridge.address();
                let host_key = bridge.host_key();
                (
                    address.ip().to_string(),
                    address.port(),
                    host_key,
                    bridge.agent(),
                )
            }
        };
        let known_hosts = directory.join("known_hosts");
        let configuration = directory.join("ssh_config");
        write(&known_hosts, &known_hosts_line(host_key)).await?;
        let text = SshConfig {
            address: &address,
            port,
            user: &target.user,
            authentication: Authentication::Agent(agent.socket()),
            known_hosts: &known_hosts,
        };
        write(&configuration, &text.to_string()).await?;
        Ok(Self {
            configuration,
            user: target.user.clone(),
            shown: format!("{}@{}", target.user, target.address),
            _way: way,
        })
    }
}

/// The host key as a line of `known_hosts`.
pub(super) fn known_hosts_line(key: &PublicKey) -> String {
    let key = PublicKey::new(key.key_data().clone(), "");
    let encoded = key.to_openssh().unwrap_or_default();
    format!("{ALIAS} {}\n", encoded.trim_end())
}

/// The configuration of `ssh` for one host. `Display` gives the text of the file.
pub(super) struct SshConfig<'a> {
    pub(super) address: &'a str,
    pub(super) port: u16,
    pub(super) user: &'a str,
    pub(super) authentication: Authentication<'a>,
    pub(super) known_hosts: &'a Path,
}

/// How `ssh` logs in.
pub(super) enum Authentication<'a> {
    /// With the keys of the agent at this socket, and nothing else.
    Agent(&'a Path),
    /// With a password that somebody types in for it.
    Password,
}

impl fmt::Display for SshConfig<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            address,
            port,
            user,
            ..
        } = self;
        let known_hosts = self.known_hosts.display();
        write!(
            formatter,
            "Host {ALIAS}\n\
             \x20 HostName {address}\n\
             \x20 Port {port}\n\
             \x20 User {user}\n\
             \x20 HostKeyAlias {ALIAS}\n\
             \x20 UserKnownHostsFile \"{known_hosts}\"\n\
             \x20 GlobalKnownHostsFile /dev/null\n\
             \x20 StrictHostKeyChecking yes\n\
             \x20 UpdateHostKeys no\n\
             \x20 IdentityFile none\n\
             \x20 ControlMaster no\n\
             \x20 ControlPath none\n\
             \x20 ConnectTimeout 15\n\
             \x20 ServerAliveInterval 15\n\
             \x20 ServerAliveCountMax 4\n"
        )?;
        match self.authentication {
            Authentication::Agent(socket) => write!(
                formatter,
                "\x20 IdentityAgent \"{}\"\n\
                 \x20 PasswordAuthentication no\n\
                 \x20 KbdInteractiveAuthentication no\n\
                 \x20 BatchMode yes\n",
                socket.display()
            ),
            Authentication::Password => write!(
                formatter,
                "\x20 IdentityAgent none\n\x20 NumberOfPasswordPrompts 1\n"
            ),
        }
    }
}

/// Writes a file of one attempt.
pub(super) async fn write(path: &Path, text: &str) -> Result<(), NixError> {
    tokio::fs::write(path, text)
        .await
        .map_err(|source| NixError::Storage {
            path: path.display().to_string(),
            source,
        })
}
