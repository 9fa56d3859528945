//! Which kinds are read for a layer: its own, those at which its detectors look beside them, and
//! those that explain what they find.

use crate::issue::Layer;
use crate::world::{Kind, World};

/// What can be the reason that Pods do not run, and that what stands on Pods does not work.
const BEHIND_PODS: &[&str] = &[
    "Pod",
    "Event",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "Node",
    "Machine",
    "NixosConfiguration",
    "PersistentVolumeClaim",
    "StorageClass",
    "Service",
    "EndpointSlice",
    "ExternalSecret",
    "SecretStore",
    "ClusterSecretStore",
];

/// Whether a kind is read when these layers are asked about; all layers when none is named.
///
/// With what was read so far more kinds may be needed: a cordoned Node calls for its Pods.
pub fn is_needed(kind: &Kind, layers: &[Layer], world: &World) -> bool {
    let needs = |layer: Layer| {
        kind.layer == layer
            || looked_at(layer, world).contains(&kind.name)
            || explains(kind, layer, world)
    };
    layers.is_empty() || layers.iter().any(|layer| needs(*layer))
}

/// Kinds of other layers at which the detectors of a layer look. Without one of them it is not
/// known whether the layer is healthy.
pub fn looked_at(layer: Layer, world: &World) -> &'static [&'static str] {
    match layer {
        Layer::ApiServer => &["Service", "EndpointSlice", "Pod"],
        Layer::Nodes if has_cordoned_node(world) => &["Pod", "PodDisruptionBudget"],
        Layer::Network => &["Pod", "Deployment", "StatefulSet", "DaemonSet"],
        Layer::Storage => &["Pod", "Event"],
        Layer::Flux => &["Deployment"],
        Layer::Platform => &["Deployment", "StatefulSet", "DaemonSet"],
        // Who may read one namespace alone seldom may read Nodes.
        Layer::Workloads if world.namespace.is_none() => &["Node"],
        Layer::Nodes | Layer::Workloads | Layer::Nico => &[],
    }
}

/// Whether something may be wrong with an object of this kind that explains an issue of the layer.
fn explains(kind: &Kind, layer: Layer, world: &World) -> bool {
    let is_behind_pods = BEHIND_PODS.contains(&kind.name);
    match layer {
        Layer::ApiServer | Layer::Network | Layer::Storage | Layer::Workloads => is_behind_pods,
        Layer::Nodes => kind.layer == Layer::Nico || (is_behind_pods && has_cordoned_node(world)),
        Layer::Platform => is_behind_pods && has_tunnel(world),
        // Flux says in words what it waits for, and that may be anything.
        Layer::Flux => true,
        Layer::Nico => false,
    }
}

/// A Node that is to be empty and is not has Pods that may not go.
fn has_cordoned_node(world: &World) -> bool {
    world.nodes.iter().any(|node| node.spec.unschedulable)
}

/// A tunnel is the only part of the platform that is seen in its Pods.
fn has_tunnel(world: &World) -> bool {
    let workloads = world.deployments.iter().chain(&world.stateful_sets);
    let mut workloads = workloads.chain(&world.daemon_sets);
    workloads.any(crate::facts::workload::Workload::is_tunnel)
}
