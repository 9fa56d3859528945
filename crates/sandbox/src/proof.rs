//! What must be true once the cluster is deleted: five free machines, and nothing left.

use std::fs;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use nico_api::{KubernetesCluster, Machine, NixosConfiguration, labels};

use crate::host::{Host, HostError};

/// What a cluster puts on a host that must be gone with it.
const LEFTOVERS: &str = "\
find /etc/rancher /run/k3s /run/services /var/lib/nio -mindepth 1 ! -type d 2>/dev/null || true";

/// How the names of the Secrets end that a cluster has.
const OF_A_CLUSTER: [&str; 2] = ["-join-token", "-kubeconfig"];

const SYSTEM: &str = "\
readlink -f /nix/var/nix/profiles/system
readlink -f /run/current-system";

/// One thing that must be true, and what was found instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What must be true.
    pub claim: &'static str,
    /// What was found that should not be there; empty when the claim is true.
    pub found: Vec<String>,
}

/// Looks at the management cluster, for all clusters at once.
///
/// # Errors
/// When the API or a host cannot be asked.
pub async fn of_the_api(client: &Client) -> Result<Vec<Finding>, kube::Error> {
    let everything = ListParams::default();
    let clusters = Api::<KubernetesCluster>::all(client.clone());
    let configurations = Api::<NixosConfiguration>::all(client.clone());
    let secrets = Api::<Secret>::all(client.clone());
    let machines = Api::<Machine>::all(client.clone())
        .list(&everything)
        .await?;
    let names = |names: Vec<String>, claim| Finding {
        claim,
        found: names,
    };
    Ok(vec![
        names(
            clusters
                .list(&everything)
                .await?
                .iter()
                .map(ResourceExt::name_any)
                .collect(),
            "no KubernetesCluster",
        ),
        names(
            configurations
                .list(&everything)
                .await?
                .iter()
                .map(ResourceExt::name_any)
                .collect(),
            "no NixosConfiguration",
        ),
        names(
            secrets
                .list(&everything)
                .await?
                .iter()
                .map(ResourceExt::name_any)
                .filter(|name| OF_A_CLUSTER.iter().any(|suffix| name.ends_with(suffix)))
                .collect(),
            "no Secret of the cluster",
        ),
        names(
            machines
                .iter()
                .filter(|machine| !is_free(machine))
                .map(ResourceExt::name_any)
                .collect(),
            "every machine is free and reachable",
        ),
    ])
}

/// Looks at the hosts themselves, not over SSH.
///
/// # Errors
/// When a host is powered off.
pub fn of_the_hosts(hosts: &[Host]) -> Result<Vec<Finding>, HostError> {
    let mut programs = Vec::new();
    for host in hosts {
        for pid in host.processes()? {
            programs.extend(other_than_sshd(pid).map(|line| format!("{}: {line}", host.name())));
        }
    }
    let ask = |claim, script: &str, is_wrong: fn(&str) -> bool| {
        let mut found = Vec::new();
        for host in hosts {
            let output = host.run(script)?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let wrong = text.lines().filter(|line| is_wrong(line));
            found.extend(wrong.map(|line| format!("{}: {line}", host.name())));
        }
        Ok::<_, HostError>(Finding { claim, found })
    };
    Ok(vec![
        Finding {
            claim: "no process on any host but its SSH server",
            found: programs,
        },
        ask("no file of the cluster on any host", LEFTOVERS, |_| true)?,
        ask("every host runs the system `minimal`", SYSTEM, |path| {
            !path.ends_with("-nixos-system-minimal-sandbox")
        })?,
    ])
}

/// The command line of a process, unless it belongs to the SSH server or is gone.
fn other_than_sshd(pid: u32) -> Option<String> {
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = program.file_name()?.to_string_lossy();
    if name.starts_with("sshd") {
        return None;
    }
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    Some(words.collect::<Vec<_>>().join(" ").trim().to_owned())
}

fn is_free(machine: &Machine) -> bool {
    let applied = machine
        .status
        .as_ref()
        .and_then(|status| status.applied_configuration.as_deref())
        .unwrap_or_default();
    machine.is_discoverable()
        && !machine.has_configuration()
        && applied.is_empty()
        && machine.label(labels::CLUSTER).is_none()
        && machine.label(labels::ROLE).is_none()
}
