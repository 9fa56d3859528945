//! What a user applies: the files under `examples/`, with the addresses and the repository of
//! a sandbox in place of those of a real network.

use crate::flake;
use crate::sandbox::Sandbox;

const MACHINES: &str = include_str!("../../../examples/machines.yaml");
const CLUSTER: &str = include_str!("../../../examples/kubernetescluster.yaml");

/// Name of the Secret with the private key, as the examples have it.
pub const KEY_SECRET: &str = "machine-key";

/// Name of the cluster, as the examples have it.
pub const CLUSTER_NAME: &str = "home";

/// The five machines of `examples/machines.yaml`, at the addresses of the sandbox.
pub fn machines(sandbox: &Sandbox) -> String {
    MACHINES.replace("10.0.0.", &address_prefix(sandbox))
}

/// The cluster of `examples/kubernetescluster.yaml`, from the repository of the sandbox.
pub fn cluster(sandbox: &Sandbox) -> String {
    CLUSTER
        .replace(
            "https://git.example/clusters.git",
            &sandbox.repository().url(),
        )
        .replace("examples/flake", flake::SUBDIRECTORY)
}

fn address_prefix(sandbox: &Sandbox) -> String {
    let [a, b, c, _] = sandbox.network().gateway().octets();
    format!("{a}.{b}.{c}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_have_what_a_sandbox_replaces() {
        for (example, text) in [
            (MACHINES, "ipAddress: 10.0.0.11"),
            (MACHINES, "ipAddress: 10.0.0.22"),
            (MACHINES, KEY_SECRET),
            (CLUSTER, "gitRepo: https://git.example/clusters.git"),
            (CLUSTER, "configurationSubdir: examples/flake"),
            (CLUSTER, "name: home"),
        ] {
            assert!(example.contains(text), "{text}");
        }
    }
}
