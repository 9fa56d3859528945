//! What gives Pods their network does not run on each Node.

use crate::detect::{Detector, Found, Scene};
use crate::issue::Layer;

pub(super) static DETECTOR: Detector = Detector {
    id: "network-agent-down",
    layer: Layer::Network,
    finds: "A network agent (Cilium, Calico, Flannel, Multus, kube-proxy and the like) is missing on Nodes.",
    severity: "warning; critical when none is left",
    fix: "look at its Pods on the Nodes that are named; new Pods there get no network",
    detect,
};

fn detect(scene: &Scene<'_>, found: &mut Found) {
    for agent in scene
        .world
        .daemon_sets
        .iter()
        .filter(|one| is_agent(&one.metadata.name))
    {
        let (wanted, serving) = (agent.wanted(), agent.serving());
        if serving >= wanted || !agent.is_observed() {
            continue;
        }
        let reference = agent.reference();
        let pods = scene.index.pods_of(&reference);
        let lost: Vec<_> = pods.iter().filter(|pod| !pod.is_ready()).collect();
        let on_dead_nodes = lost
            .iter()
            .map(|pod| crate::issue::ObjectRef::new("Node", "", &pod.spec.node_name));
        let suspects: Vec<_> = on_dead_nodes
            .chain(lost.iter().map(|pod| pod.reference()))
            .collect();
        let message = format!("the network agent is ready on {serving} of {wanted} Nodes");
        let issue = match serving {
            0 => found.critical(reference, message),
            _ => found.warning(reference, message),
        };
        issue.suspects(suspects);
    }
}

/// Names under which network agents are installed.
fn is_agent(name: &str) -> bool {
    const AGENTS: &[&str] = &[
        "antrea-agent",
        "aws-node",
        "calico-node",
        "canal",
        "cilium",
        "kindnet",
        "kube-flannel",
        "kube-flannel-ds",
        "kube-multus-ds",
        "kube-ovn-cni",
        "kube-proxy",
        "kube-router",
        "multus",
        "weave-net",
        "whereabouts",
    ];
    AGENTS.contains(&name)
}
