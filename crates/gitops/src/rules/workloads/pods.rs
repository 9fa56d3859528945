//! Workloads and their Pods, whatever the kind.

use crate::build::Object;
use crate::graph::Graph;
use crate::yaml::Node;

/// A workload, and the template of its Pods.
#[derive(Clone, Copy, Debug)]
pub struct Workload<'a> {
    /// The Deployment, Job or whatever it is.
    pub object: &'a Object,
    /// Metadata and specification of its Pods.
    pub template: &'a Node,
}

/// The workloads of the repository.
pub fn workloads(graph: &Graph) -> impl Iterator<Item = Workload<'_>> {
    graph.all_objects().filter_map(|object| {
        let template = match (object.group(), object.kind()) {
            ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
            | ("batch", "Job") => object.spec(&["template"]),
            ("batch", "CronJob") => object.spec(&["jobTemplate", "spec", "template"]),
            ("", "Pod") => Some(&object.node),
            _ => None,
        }?;
        Some(Workload { object, template })
    })
}

impl<'a> Workload<'a> {
    /// The specification of its Pods.
    pub fn pod(&self) -> Option<&'a Node> {
        self.template.get("spec")
    }

    /// The containers that stay.
    pub fn containers(&self) -> impl Iterator<Item = &'a Node> {
        let containers = self.pod().and_then(|pod| pod.get("containers"));
        containers.map_or(&[][..], Node::items).iter()
    }

    /// All containers, those that run first too.
    pub fn all_containers(&self) -> impl Iterator<Item = &'a Node> {
        let init = self.pod().and_then(|pod| pod.get("initContainers"));
        self.containers().chain(init.map_or(&[][..], Node::items))
    }

    /// The number of Pods that are wanted; none where something else decides it.
    pub fn replicas(&self) -> Option<u64> {
        match self.object.spec(&["replicas"]) {
            Some(node) => node.to_json().as_u64(),
            None => matches!(self.object.kind(), "Deployment" | "StatefulSet").then_some(1),
        }
    }

    /// Whether a label selector means its Pods. Expressions are not read, and mean none.
    pub fn is_selected_by(&self, selector: &Node) -> bool {
        let has_expressions = selector
            .get("matchExpressions")
            .is_some_and(|list| !list.items().is_empty());
        let wanted = selector.get("matchLabels").map_or(&[][..], Node::fields);
        let labels = self.template.path(&["metadata", "labels"]);
        !has_expressions
            && wanted.iter().all(|field| {
                let label = labels.and_then(|labels| labels.get(&field.key));
                label.and_then(Node::scalar_text) == field.node.scalar_text()
            })
    }
}
