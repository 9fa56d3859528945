//! Whether a machine is what its cluster needs it to be.

use nico_api::condition;
use nico_api::names::MachineName;
use nico_api::nixos_configuration::Step;
use nico_api::nixos_configuration::conditions::{READY, STALLED};
use nico_api::reason::ConfigurationReason as Reason;
use nico_api::{Machine, NixosConfiguration};

use crate::observed::{Node, Observed, Workload};
use crate::role::Role;

use super::configuration::asks_for_the_same;
use super::marks::Marks;

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
    /// Whether the machine runs the wanted revision although its configuration asks for
    /// another: that one was never activated.
    pub runs_wanted: bool,
    /// Whether what was last seen to work on the machine is of the wanted commit, whatever else
    /// has changed.
    pub runs_commit: bool,
    /// How its Node in the new cluster is.
    pub node: NodeState,
    /// Whether the new cluster was asked for it just now, if it can be asked at all.
    pub is_fresh: bool,
    /// Its Node, as it was last seen.
    pub seen: Option<Node>,
    /// What rollouts noted on its configuration.
    pub marks: Marks,
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
    /// An earlier state of it is on the machine, the present one is being copied there.
    Staging(Progress),
    /// An earlier state of it is on the machine, and the present one waits there. With the
    /// version of Kubernetes in it, if that can be told.
    Staged(Option<String>),
    /// An earlier state of it is on the machine, the present one is not.
    Behind(Progress),
    /// The machine runs it.
    Applied,
}

/// What the machine layer says of a configuration that is not applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Reason and message of its condition `Ready`.
    pub message: String,
    /// The step that the last attempt reached.
    pub step: Option<Step>,
    /// What holds it up.
    pub obstacle: Obstacle,
}

/// What holds a configuration up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Obstacle {
    /// Nothing, or what goes away by itself.
    #[default]
    None,
    /// The machine does not answer over SSH.
    Unreachable,
    /// The system was not activated, or the host went back. It is tried again by itself.
    NotActivated,
    /// Nothing more is tried until something changes.
    Stalled,
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
    /// Whether the machine does its work: what was last brought to it runs, it is not in the
    /// middle of a change, and, once the new cluster can be asked, its Node is Ready.
    pub fn is_ready(&self) -> bool {
        use ConfigurationState::{Absent, Applied, Behind, New, Removing, Staged, Staging};
        let runs_something = match self.configuration {
            Applied | Staging(_) | Staged(_) => true,
            Absent | Removing | New(_) | Behind(_) => false,
        };
        runs_something && self.is_undisturbed() && self.node_is_ready()
    }

    /// Whether the machine is ready and runs the wanted revision.
    pub fn is_current(&self) -> bool {
        self.updated && self.configuration == ConfigurationState::Applied && self.is_ready()
    }

    /// Whether the machine serves the cluster, whatever the machine layer thinks of it.
    pub fn is_alive(&self) -> bool {
        self.is_undisturbed()
            && match self.node {
                NodeState::NotAsked => self.is_ready(),
                _ => self.node_is_ready(),
            }
    }

    /// Whether the Node is Ready, as far as anybody can be asked.
    pub fn node_is_ready(&self) -> bool {
        matches!(
            self.node,
            NodeState::NotAsked | NodeState::Ready | NodeState::Unknown { was_ready: true }
        )
    }

    /// Whether no rollout took the machine in hand and left it in an unknown state. What became
    /// of one that was in hand is told by the cluster itself, not by its last words; before it
    /// can be asked, by the machine layer.
    fn is_undisturbed(&self) -> bool {
        self.marks.changing_since.is_none()
            || match self.node {
                NodeState::NotAsked => self.configuration == ConfigurationState::Applied,
                _ => self.is_fresh,
            }
    }

    /// What the machine waits for, after its name; `None` when it is ready.
    pub fn waits_for(&self) -> Option<String> {
        match &self.configuration {
            ConfigurationState::Absent => Some("has no configuration yet".to_owned()),
            ConfigurationState::Removing => Some("is losing its configuration".to_owned()),
            ConfigurationState::New(state) | ConfigurationState::Behind(state) => {
                Some(state.message.clone())
            }
            ConfigurationState::Staging(_)
            | ConfigurationState::Staged(_)
            | ConfigurationState::Applied => match &self.node {
                NodeState::NotAsked | NodeState::Ready | NodeState::Unknown { was_ready: true } => {
                    (!self.is_undisturbed()).then(|| "waits for a change that heals it".to_owned())
                }
                NodeState::Unknown { was_ready: false } => {
                    Some("cannot be asked for in the new cluster".to_owned())
                }
                NodeState::Missing => Some("has no Node in the new cluster yet".to_owned()),
                NodeState::NotReady(message) => Some(format!("Node is not Ready: {message}")),
            },
        }
    }

    /// What the machine layer says, while the wanted state is not on the machine.
    pub fn progress(&self) -> Option<&Progress> {
        match &self.configuration {
            ConfigurationState::New(progress)
            | ConfigurationState::Staging(progress)
            | ConfigurationState::Behind(progress) => Some(progress),
            _ => None,
        }
    }

    /// Whether nothing more is tried on the machine until something changes.
    pub fn is_stalled(&self) -> bool {
        self.progress()
            .is_some_and(|progress| progress.obstacle == Obstacle::Stalled)
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
    let marks = existing.map(Marks::of).unwrap_or_default();
    let runs_wanted = match (existing, desired, &marks.previous) {
        (Some(existing), Some(desired), Some(runs)) => {
            existing.spec.hold
                && marks.changing_since.is_none()
                && asks_for_the_same(runs, &desired.spec)
        }
        _ => false,
    };
    let applied = existing
        .and_then(|existing| existing.status.as_ref())
        .and_then(|status| status.applied_commit.as_ref());
    let (node, seen) = node_state(observed, machine);
    Member {
        machine: machine.clone(),
        role,
        configuration: existing.map_or(ConfigurationState::Absent, configuration_state),
        updated,
        runs_wanted,
        runs_commit: desired.is_some_and(|desired| Some(&desired.spec.reference) == applied),
        node,
        is_fresh: !matches!(observed.workload, Workload::Unreachable { .. }),
        seen,
        marks,
    }
}

/// Control-plane machines that may have a kubeconfig, in the order in which to ask them.
pub fn kubeconfig_sources(observed: &Observed, control_plane: &[MachineName]) -> Vec<MachineName> {
    control_plane
        .iter()
        .filter(|machine| observed.configuration_of(machine).is_some_and(is_applied))
        .cloned()
        .collect()
}

/// Whether the machine runs what `existing` asks for.
pub fn is_applied(existing: &NixosConfiguration) -> bool {
    configuration_state(existing) == ConfigurationState::Applied
}

/// How far a configuration is on its machine.
pub fn configuration_state(existing: &NixosConfiguration) -> ConfigurationState {
    if existing.metadata.deletion_timestamp.is_some() {
        return ConfigurationState::Removing;
    }
    let status = existing.status.clone().unwrap_or_default();
    let is_about_this_spec = status.observed_generation.is_some()
        && status.observed_generation == existing.metadata.generation;
    let ready = condition::find(&status.conditions, READY).filter(|_| is_about_this_spec);
    if ready.is_some_and(|ready| ready.status == "True") {
        return ConfigurationState::Applied;
    }
    let has_reason = |reason: Reason| ready.is_some_and(|ready| ready.reason == reason.as_str());
    if existing.spec.hold && has_reason(Reason::Staged) {
        let staged = status.staged.as_ref();
        return ConfigurationState::Staged(
            staged.and_then(|staged| staged.kubernetes_version.clone()),
        );
    }
    let progress = Progress {
        message: match ready {
            Some(ready) => format!("{}: {}", ready.reason, ready.message),
            None => "configuration is not taken up yet".to_owned(),
        },
        step: status
            .last_attempt
            .as_ref()
            .filter(|_| is_about_this_spec)
            .and_then(|attempt| attempt.step),
        obstacle: if is_about_this_spec && condition::is_true(&status.conditions, STALLED) {
            Obstacle::Stalled
        } else if has_reason(Reason::MachineNotReachable) {
            Obstacle::Unreachable
        } else if [
            Reason::ActivationFailed,
            Reason::RolledBack,
            Reason::NotConfirmed,
        ]
        .into_iter()
        .any(has_reason)
        {
            Obstacle::NotActivated
        } else {
            Obstacle::None
        },
    };
    match (status.applied_commit.is_some(), existing.spec.hold) {
        (true, true) => ConfigurationState::Staging(progress),
        (true, false) => ConfigurationState::Behind(progress),
        (false, _) => ConfigurationState::New(progress),
    }
}

/// The Node of a machine in an answer of its cluster.
pub fn node_of<'a>(
    observed: &Observed,
    nodes: &'a [Node],
    machine: &MachineName,
) -> Option<&'a Node> {
    let found = observed.machines.get(machine).map(AsRef::as_ref);
    nodes.iter().find(|node| is_node_of(node, machine, found))
}

fn node_state(observed: &Observed, name: &MachineName) -> (NodeState, Option<Node>) {
    let nodes = match &observed.workload {
        Workload::NotAsked => return (NodeState::NotAsked, None),
        Workload::Answers(view) => &view.nodes,
        Workload::Unreachable {
            last_nodes: Some(nodes),
            ..
        } => nodes,
        Workload::Unreachable {
            last_nodes: None, ..
        } => {
            let was_ready = was_ready(observed, name);
            return (NodeState::Unknown { was_ready }, None);
        }
    };
    let seen = node_of(observed, nodes, name);
    let state = match seen {
        None => NodeState::Missing,
        Some(node) if node.ready => NodeState::Ready,
        Some(node) => NodeState::NotReady(node.message.clone()),
    };
    (state, seen.cloned())
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
    use crate::fixtures::{self, World, answers, at};

    fn node(name: &str, addresses: &[&str], ready: bool) -> Node {
        Node {
            name: name.to_owned(),
            addresses: addresses.iter().map(|text| (*text).to_owned()).collect(),
            ready,
            message: "kubelet stopped posting status".to_owned(),
            ..Node::default()
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
            assert!(member(answers(vec![node.clone()])).is_ready(), "{node:?}");
        }
        let other = member(answers(vec![node("cp-02", &["10.0.0.2"], true)]));
        assert_eq!(other.node, NodeState::Missing);
        assert!(!other.is_ready());
    }

    #[test]
    fn a_node_that_is_not_ready_makes_its_machine_not_ready() {
        let member = member(answers(vec![node("cp-01", &[], false)]));
        assert!(!member.is_ready());
        assert!(member.waits_for().unwrap().contains("kubelet stopped"));
    }

    #[test]
    fn while_the_cluster_does_not_answer_its_last_words_count() {
        let silent = |last_nodes| Workload::Unreachable {
            is_refusal: false,
            since: at(1000),
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
