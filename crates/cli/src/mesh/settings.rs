//! The settings of the mesh: environment variables, or arguments of the same meaning. What is
//! secret is taken from the environment or from files alone, for arguments are seen by everybody.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use nico_mesh::names::{IpNet, NetworkName};
use nico_mesh::netmaker::{BaseUrl, ClientSettings, Credentials, Secret};
use nico_mesh::ownership::Cluster;
use nico_mesh::{Settings, Share};

use crate::duration::duration;
use crate::process::Process;

/// The usual name of the Lease.
const LEASE: &str = "kaput-not";
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// What every command of the mesh needs.
///
/// The password is the environment variable NETMAKER_PASSWORD. In the place of a user name and a
/// password, NETMAKER_TOKEN or the file of NETMAKER_TOKEN_FILE may hold an access token.
#[derive(Args)]
pub(super) struct Common {
    /// Address of Netmaker's API, such as `https://api.netmaker.example.com`.
    #[arg(long, env = "NETMAKER_API_URL", value_name = "URL")]
    netmaker_api_url: Option<String>,
    /// Name of the account. Its password is the environment variable NETMAKER_PASSWORD.
    #[arg(long, env = "NETMAKER_USERNAME", value_name = "NAME")]
    netmaker_username: Option<String>,
    /// File with an access token, in the place of user name and password. It is read anew when
    /// the token holds no longer. The environment variable NETMAKER_TOKEN may hold the token itself.
    #[arg(long, env = "NETMAKER_TOKEN_FILE", value_name = "FILE")]
    netmaker_token_file: Option<PathBuf>,
    /// File with certificates in PEM that are trusted beside those of the system.
    #[arg(long, env = "NETMAKER_CA_FILE", value_name = "FILE")]
    netmaker_ca_file: Option<PathBuf>,
    /// How long a request of Netmaker may take, with its answer.
    #[arg(long, env = "NETMAKER_TIMEOUT", value_name = "TIME", default_value = "30s", value_parser = duration)]
    netmaker_timeout: Duration,
    /// Name of this cluster. Clusters that share a Netmaker server need different names.
    #[arg(long, env = "K8S_CLUSTER_NAME", value_name = "NAME")]
    cluster_name: Option<String>,
    /// Which Nodes count, as a label selector; all by default.
    #[arg(long, env = "MESH_NODE_SELECTOR", value_name = "SELECTOR")]
    node_selector: Option<String>,
    /// The only networks that are looked at, separated by commas; all by default.
    #[arg(long, env = "MESH_NETWORKS", value_name = "NAMES")]
    networks: Option<String>,
    /// The only ranges in which rules are written, separated by commas; all by default.
    #[arg(long, env = "MESH_CIDRS", value_name = "CIDRS")]
    cidrs: Option<String>,
    /// How many of the rules one pass may delete, when there are more than ten.
    #[arg(
        long,
        env = "MESH_MAX_DELETES",
        value_name = "PERCENT",
        default_value = "50%"
    )]
    max_deletes: Share,
}

/// Whether anything is written.
#[derive(Args)]
pub(super) struct DryRun {
    /// Whether to say what would be done, and to write nothing.
    #[arg(long = "dry-run", env = "MESH_DRY_RUN", value_name = "BOOL", default_value = "false", action = clap::ArgAction::Set, value_parser = boolean)]
    pub(super) is_wanted: bool,
}

/// What running needs.
#[derive(Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(super) common: Common,
    /// Time between two passes over everything.
    #[arg(long, env = "MESH_RESYNC_PERIOD", value_name = "TIME", default_value = "10m", value_parser = duration)]
    resync_period: Duration,
    #[command(flatten)]
    dry_run: DryRun,
    /// Whether to wait for a Lease, so that of several processes one writes. By default it is so in a
    /// Pod.
    #[arg(long, env = "LEADER_ELECTION_ENABLED", value_name = "BOOL", value_parser = boolean)]
    leader_election_enabled: Option<bool>,
    /// Namespace of the Lease. By default that of the Pod, or else kube-system.
    #[arg(long, env = "LEADER_ELECTION_NAMESPACE", value_name = "NAME")]
    leader_election_namespace: Option<String>,
    /// Name of the Lease.
    #[arg(
        long,
        env = "LEADER_ELECTION_ID",
        value_name = "NAME",
        default_value = LEASE
    )]
    leader_election_id: String,
    #[command(flatten)]
    pub(super) process: Process,
}

/// Whether and where a Lease is waited for.
pub(super) struct Election {
    pub(super) is_enabled: bool,
    pub(super) namespace: String,
    pub(super) id: String,
}

impl Common {
    /// How the mesh is kept, with the usual time between passes.
    pub(super) fn settings(&self) -> anyhow::Result<Settings> {
        let name = given(self.cluster_name.as_deref()).unwrap_or_default();
        let networks: BTreeSet<NetworkName> = items(self.networks.as_deref())
            .map(network)
            .collect::<anyhow::Result<_>>()?;
        let cidrs = items(self.cidrs.as_deref()).map(|text| {
            let cidr = text.parse::<IpNet>();
            cidr.with_context(|| format!("MESH_CIDRS: {text:?} is no CIDR"))
        });
        Ok(Settings {
            cluster: Cluster::new(name).context("K8S_CLUSTER_NAME cannot be used")?,
            selector: given(self.node_selector.as_deref()).map(ToOwned::to_owned),
            networks: (!networks.is_empty()).then_some(networks),
            cidrs: cidrs.collect::<anyhow::Result<_>>()?,
            max_deletes: self.max_deletes,
            ..Settings::default()
        })
    }

    /// How Netmaker is reached.
    pub(super) fn client(&self) -> anyhow::Result<ClientSettings> {
        let Some(url) = given(self.netmaker_api_url.as_deref()) else {
            bail!("NETMAKER_API_URL is not set");
        };
        let url: BaseUrl = url.parse().context("NETMAKER_API_URL cannot be used")?;
        let authorities = self
            .netmaker_ca_file
            .as_deref()
            .filter(|file| !file.as_os_str().is_empty());
        let authorities = authorities.map(|file| {
            fs::read(file)
                .with_context(|| format!("NETMAKER_CA_FILE: cannot read {}", file.display()))
        });
        let proxy = url.proxy(|name| std::env::var(name).ok())?;
        Ok(ClientSettings {
            url,
            proxy,
            credentials: self.credentials()?,
            authorities: authorities.transpose()?,
            timeout: self.netmaker_timeout,
        })
    }

    fn credentials(&self) -> anyhow::Result<Credentials> {
        let secret = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let file = self.netmaker_token_file.as_deref();
        let file = file.filter(|file| !file.as_os_str().is_empty());
        let username = given(self.netmaker_username.as_deref());
        match (secret("NETMAKER_TOKEN"), file, username) {
            (Some(_), Some(_), _) => {
                bail!("NETMAKER_TOKEN and NETMAKER_TOKEN_FILE are both set; set one")
            }
            (Some(token), None, _) => Ok(Credentials::Token(Secret::new(token.trim()))),
            (None, Some(file), _) => Ok(Credentials::TokenFile(file.to_owned())),
            (None, None, Some(username)) => {
                let password =
                    secret("NETMAKER_PASSWORD").context("NETMAKER_PASSWORD is not set")?;
                Ok(Credentials::Password {
                    username: username.to_owned(),
                    password: Secret::new(password),
                })
            }
            (None, None, None) => bail!(
                "NETMAKER_USERNAME is not set; set it with NETMAKER_PASSWORD, or set NETMAKER_TOKEN or NETMAKER_TOKEN_FILE"
            ),
        }
    }
}

impl Run {
    /// How the mesh is kept.
    pub(super) fn settings(&self) -> anyhow::Result<Settings> {
        Ok(Settings {
            resync: self.resync_period,
            dry_run: self.dry_run.is_wanted,
            ..self.common.settings()?
        })
    }

    pub(super) fn election(&self) -> anyhow::Result<Election> {
        let file = Path::new(NAMESPACE_FILE);
        let of_pod = match file.exists() {
            true => Some(
                fs::read_to_string(file)
                    .with_context(|| format!("cannot read {NAMESPACE_FILE}"))?,
            ),
            false => None,
        };
        let of_pod = of_pod.as_deref().map(str::trim);
        let namespace = given(self.leader_election_namespace.as_deref())
            .or(of_pod)
            .unwrap_or("kube-system");
        let id = given(Some(&self.leader_election_id)).unwrap_or(LEASE);
        for (variable, name) in [
            ("LEADER_ELECTION_NAMESPACE", namespace),
            ("LEADER_ELECTION_ID", id),
        ] {
            if !is_object_name(name) {
                bail!(
                    "{variable}: {name:?} is no name of an object: allowed are small letters, digits, \"-\" and \".\""
                );
            }
        }
        Ok(Election {
            is_enabled: self.leader_election_enabled.unwrap_or(of_pod.is_some()),
            namespace: namespace.to_owned(),
            id: id.to_owned(),
        })
    }
}

fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

fn items(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// A name that Netmaker lets a network have.
fn network(text: &str) -> anyhow::Result<NetworkName> {
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if text.len() > 32 || !text.bytes().all(is_allowed) {
        bail!(
            "MESH_NETWORKS: {text:?} is no name of a network: allowed are up to 32 small letters, digits, \"-\" and \"_\""
        );
    }
    Ok(text.into())
}

/// Whether Kubernetes takes this as the name of an object.
fn is_object_name(text: &str) -> bool {
    let is_inner =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    let is_outer = |end: Option<u8>| end.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 253
        && text.bytes().all(is_inner)
        && is_outer(text.bytes().next())
        && is_outer(text.bytes().last())
}

fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("allowed are true, 1, false and 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_separated_by_commas() {
        let list = |text| items(text).collect::<Vec<_>>();
        assert_eq!(list(Some("a, b,,c ")), ["a", "b", "c"]);
        assert_eq!(list(Some("")), Vec::<&str>::new());
        assert_eq!(list(None), Vec::<&str>::new());
    }

    #[test]
    fn a_lease_has_the_name_of_an_object() {
        for name in ["kaput-not", "a", "a.b", "1-2"] {
            assert!(is_object_name(name), "{name}");
        }
        for name in ["", "A_B", "-a", "a.", "a b", "a/b"] {
            assert!(!is_object_name(name), "{name}");
        }
    }

    #[test]
    fn truth_is_written_as_the_go_program_takes_it() {
        for (text, value) in [
            ("true", true),
            ("True", true),
            ("1", true),
            ("FALSE", false),
            ("0", false),
        ] {
            assert_eq!(boolean(text), Ok(value));
        }
        assert!(boolean("yes").is_err());
        assert!(boolean("").is_err());
    }
}
