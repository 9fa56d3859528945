//! Whether a machine is what its cluster needs it to be.

use nico_api::condition;
use nico_api::names::MachineName;
use nico_api::nixos_configuration::conditions::{READY, STALLED};
use nico_api::{Machine, NixosConfiguration};

use crate::observed::{Node, Observed, Workload};
use crate::role::Role;

use super::configuration::asks_for_the_same;

/// A machine of the cluster, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The machine.
    pub machine: MachineName,
    /// What it is in the cluster.
    pub role: Role,
    /// Its configuration.
    pub configuration: ConfigurationState,
    /// Whether the configuration asks for the wanted revision. Also true while it is not known
    /// which revision is wanted: then no change is.
    pub updated: bool,
    /// Its Node in the new cluster.
    pub node: NodeState,
}

/// How far the configuration of a machine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigurationState {
    /// There is none.
    Absent,
    /// It is being taken off.
    Removing,
    /// It was never on the machine yet.
    New(Progress),
    /// An earlier state of it is on the machine, the present one is not.
    Behind(Progress),
    /// The machine runs it.
    Applied,
}

/// What the machine layer says of a configuration that is not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Reason and message of its condition `Ready`.
    pub message: String,
    /// Whether nothing more is tried until something changes.
    pub is_stalled: bool,
}

/// How the Node of a machine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Nobody can be asked yet.
    NotAsked,
    /// It is Ready.
    Ready,
    /// The new cluster has no Node for the machine.
    Missing,
    /// It is not Ready, for this reason.
    NotReady(String),
    /// The new cluster did not answer, and never said before how the Node is; it was ready when
    /// the status was last written, or it was not.
    Unknown {
        /// Whether the machine was ready by the last status.
        was_ready: bool,
    },
}

impl Member {
    /// Whether the machine runs what its configuration asks for and, once the new cluster can
    /// be asked, its Node is Ready.
    pub fn is_ready(&self) -> bool {
        self.configuration == ConfigurationState::Applied
            && matches!(
                self.node,
                NodeState::NotAsked | NodeState::Ready | NodeState::Unknown { was_ready: true }
            )
    }

    /// What the machine waits for, after its name; `None` when it is ready.
    pub fn waits_for(&self) -> Option<String> {
        let progress = |progress: &Progress| progress.message.clone();
        match &self.configuration {
            ConfigurationState::Absent => Some("has no configuration yet".to_owned()),
            ConfigurationState::Removing => Some("is losing its configuration".to_owned()),
            ConfigurationState::New(state) | ConfigurationState::Behind(state) => {
                Some(progress(state))
            }
            ConfigurationState::Applied => match &self.node {
                NodeState::NotAsked | NodeState::Ready | NodeState::Unknown { was_ready: true } => {
                    None
                }
                NodeState::Unknown { was_ready: false } => {
                    Some("cannot be asked for in the new cluster".to_owned())
                }
                NodeState::Missing => Some("has no Node in the new cluster yet".to_owned()),
                NodeState::NotReady(message) => Some(format!("Node is not Ready: {message}")),
            },
        }
    }

    /// Whether nothing more is tried on the machine until something changes.
    pub fn is_stalled(&self) -> bool {
        match &self.configuration {
            ConfigurationState::New(state) | ConfigurationState::Behind(state) => state.is_stalled,
            _ => false,
        }
    }
}

/// Judges a machine of the cluster. `desired` is the configuration that it should have, if that
/// is known.
pub fn judge(
    observed: &Observed,
    machine: &MachineName,
    role: Role,
    desired: Option<&NixosConfiguration>,
) -> Member {
    let existing = observed.configuration_of(machine);
    let updated = match (existing, desired) {
        (Some(existing), Some(desired)) => asks_for_the_same(&existing.spec, &desired.spec),
        (existing, _) => existing.is_some(),
    };
    Member {
        machine: machine.clone(),
        role,
        configuration: existing.map_or(ConfigurationState::Absent, configuration_state),
        updated,
        node: node_state(observed, machine),
    }
}

/// Control-plane machines that may have a kubeconfig, in the order in which to ask them.
pub fn kubeconfig_sources(observed: &Observed, control_plane: &[MachineName]) -> Vec<MachineName> {
    control_plane
        .iter()
        .filter(|machine| {
            observed.configuration_of(machine).is_some_and(|existing| {
                configuration_state(existing) == ConfigurationState::Applied
            })
        })
        .cloned()
        .collect()
}

fn configuration_state(existing: &NixosConfiguration) -> ConfigurationState {
    if existing.metadata.deletion_timestamp.is_some() {
        return ConfigurationState::Removing;
    }
    let status = existing.status.clone().unwrap_or_default();
    let is_about_this_spec = status.observed_generation.is_some()
        && status.observed_generation == existing.metadata.generation;
    let ready = condition::find(&status.conditions, READY);
    if is_about_this_spec && ready.is_some_and(|ready| ready.status == "True") {
        return ConfigurationState::Applied;
    }
    let progress = Progress {
        message: match ready.filter(|_| is_about_this_spec) {
            Some(ready) => format!("{}: {}", ready.reason, ready.message),
            None => "configuration is not taken up yet".to_owned(),
        },
        is_stalled: is_about_this_spec && condition::is_true(&status.conditions, STALLED),
    };
    if status.applied_commit.is_some() {
        ConfigurationState::Behind(progress)
    } else {
        ConfigurationState::New(progress)
    }
}

fn node_state(observed: &Observed, name: &MachineName) -> NodeState {
    let nodes = match &observed.workload {
        Workload::NotAsked => return NodeState::NotAsked,
        Workload::Nodes(nodes)
        | Workload::Unreachable {
            last_nodes: Some(nodes),
            ..
        } => nodes,
        Workload::Unreachable {
            last_nodes: None, ..
        } => {
            return NodeState::Unknown {
                was_ready: was_ready(observed, name),
            };
        }
    };
    let machine = observed.machines.get(name);
    match nodes
        .iter()
        .find(|node| is_node_of(node, name, machine.map(AsRef::as_ref)))
    {
        None => NodeState::Missing,
        Some(node) if node.ready => NodeState::Ready,
        Some(node) => NodeState::NotReady(node.message.clone()),
    }
}

fn was_ready(observed: &Observed, name: &MachineName) -> bool {
    observed.cluster.status.as_ref().is_some_and(|status| {
        [&status.control_plane, &status.data_plane]
            .into_iter()
            .flatten()
            .any(|plane| {
                plane
                    .ready_machines
                    .iter()
                    .any(|ready| ready == name.as_str())
            })
    })
}

/// Whether `node` is that machine: by its name, a host name or an address.
fn is_node_of(node: &Node, name: &MachineName, machine: Option<&Machine>) -> bool {
    let spec = machine.map(|machine| &machine.spec);
    let known_as = [
        Some(name.as_str()),
        spec.and_then(|spec| spec.hostname.as_deref()),
        spec.and_then(|spec| spec.ip_address.as_deref()),
    ];
    known_as
        .into_iter()
        .flatten()
        .filter(|known| !known.is_empty())
        .any(|known| node.name == known || node.addresses.iter().any(|address| address == known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{self, World};

    fn node(name: &str, addresses: &[&str], ready: bool) -> Node {
        Node {
            name: name.to_owned(),
            addresses: addresses.iter().map(|text| (*text).to_owned()).collect(),
            ready,
            message: "kubelet stopped posting status".to_owned(),
        }
    }

    fn member(workload: Workload) -> Member {
        let mut observed = World::of_one_control_plane().applied().observed;
        observed.workload = workload;
        judge(
            &observed,
            &fixtures::name("cp-01"),
            Role::ControlPlane,
            None,
        )
    }

    #[test]
    fn until_a_kubeconfig_exists_the_configuration_alone_counts() {
        assert!(member(Workload::NotAsked).is_ready());
    }

    #[test]
    fn a_node_is_found_by_name_host_name_or_address() {
        for node in [
            node("cp-01", &[], true),
            node("cp-01.lan", &[], true),
            node("x", &["cp-01.lan"], true),
            node("x", &["10.0.0.1"], true),
        ] {
            assert!(
                member(Workload::Nodes(vec![node.clone()])).is_ready(),
                "{node:?}"
            );
        }
        let other = member(Workload::Nodes(vec![node("cp-02", &["10.0.0.2"], true)]));
        assert_eq!(other.node, NodeState::Missing);
        assert!(!other.is_ready());
    }

    #[test]
    fn a_node_that_is_not_ready_makes_its_machine_not_ready() {
        let member = member(Workload::Nodes(vec![node("cp-01", &[], false)]));
        assert!(!member.is_ready());
        assert!(member.waits_for().unwrap().contains("kubelet stopped"));
    }

    #[test]
    fn while_the_cluster_does_not_answer_its_last_words_count() {
        let silent = |last_nodes| Workload::Unreachable {
            last_answer: None,
            last_nodes,
            message: "refused".to_owned(),
        };
        assert!(member(silent(Some(vec![node("cp-01", &[], true)]))).is_ready());
        assert!(!member(silent(Some(vec![node("cp-01", &[], false)]))).is_ready());
        assert!(member(silent(None)).is_ready(), "it was by the status");
    }

    #[test]
    fn a_status_of_an_older_spec_does_not_count() {
        let mut world = World::of_one_control_plane().applied();
        for configuration in world.observed.configurations.values_mut() {
            configuration.metadata.generation = Some(2);
        }
        let member = judge(
            &world.observed,
            &fixtures::name("cp-01"),
            Role::ControlPlane,
            None,
        );
        assert!(
            matches!(member.configuration, ConfigurationState::Behind(_)),
            "{member:?}"
        );
    }
}
