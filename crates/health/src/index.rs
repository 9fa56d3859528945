//! Which objects belong together, found once for all detectors.

use std::collections::{BTreeMap, HashMap};

use crate::facts::flux::FluxObject;
use crate::facts::network::Service;
use crate::facts::node::Event;
use crate::facts::pod::{Pod, is_selected};
use crate::facts::workload::Workload;
use crate::issue::ObjectRef;
use crate::world::World;

/// Which objects of a world belong together.
pub struct Index<'a> {
    world: &'a World,
    pods_by_workload: HashMap<ObjectRef, Vec<&'a Pod>>,
    pods_by_node: HashMap<&'a str, Vec<&'a Pod>>,
    flux: BTreeMap<ObjectRef, &'a dyn FluxObject>,
    ready_endpoints: HashMap<(&'a str, &'a str), usize>,
    events: HashMap<(&'a str, &'a str, &'a str), Vec<&'a Event>>,
}

impl<'a> Index<'a> {
    /// Looks once at everything.
    pub fn new(world: &'a World) -> Self {
        let mut index = Self {
            world,
            pods_by_workload: HashMap::new(),
            pods_by_node: HashMap::new(),
            flux: BTreeMap::new(),
            ready_endpoints: HashMap::new(),
            events: HashMap::new(),
        };
        for pod in &world.pods {
            if let Some(workload) = workload_of(pod) {
                index
                    .pods_by_workload
                    .entry(workload)
                    .or_default()
                    .push(pod);
            }
            if !pod.spec.node_name.is_empty() {
                index
                    .pods_by_node
                    .entry(&pod.spec.node_name)
                    .or_default()
                    .push(pod);
            }
        }
        for object in all_flux(world) {
            index.flux.insert(object.reference(), object);
        }
        for slice in &world.endpoints {
            let Some(service) = slice.service() else {
                continue;
            };
            let key = (slice.metadata.namespace.as_str(), service);
            *index.ready_endpoints.entry(key).or_default() += slice.ready();
        }
        for event in &world.events {
            let about = &event.involved_object;
            let key = (
                about.kind.as_str(),
                about.namespace.as_str(),
                about.name.as_str(),
            );
            index.events.entry(key).or_default().push(event);
        }
        index
    }

    /// All Deployments, StatefulSets and DaemonSets.
    pub fn all_workloads(&self) -> impl Iterator<Item = &'a Workload> + use<'a> {
        let world = self.world;
        let first = world.deployments.iter().chain(&world.stateful_sets);
        first.chain(&world.daemon_sets)
    }

    /// The Pods of a Deployment, StatefulSet, DaemonSet or Job.
    pub fn pods_of(&self, workload: &ObjectRef) -> &[&'a Pod] {
        self.pods_by_workload
            .get(workload)
            .map_or(&[], Vec::as_slice)
    }

    /// The Pods on a Node.
    pub fn pods_on(&self, node: &str) -> &[&'a Pod] {
        self.pods_by_node.get(node).map_or(&[], Vec::as_slice)
    }

    /// An object of Flux.
    pub fn flux(&self, reference: &ObjectRef) -> Option<&'a dyn FluxObject> {
        self.flux.get(reference).copied()
    }

    /// All objects of Flux.
    pub fn all_flux(&self) -> impl Iterator<Item = &'a dyn FluxObject> + '_ {
        self.flux.values().copied()
    }

    /// Warnings about an object, the newest first.
    pub fn events(&self, about: &ObjectRef) -> Vec<&'a Event> {
        let key = (
            about.kind.as_str(),
            about.namespace.as_str(),
            about.name.as_str(),
        );
        let mut events = self.events.get(&key).cloned().unwrap_or_default();
        events.sort_by_key(|event| std::cmp::Reverse(event.last_seen()));
        events
    }

    /// How many endpoints of a Service take requests; `None` when the Service has no endpoints at
    /// all, ready or not.
    pub fn ready_endpoints(&self, namespace: &str, service: &str) -> Option<usize> {
        self.ready_endpoints.get(&(namespace, service)).copied()
    }

    /// Services that select Pods and have none that takes requests.
    pub fn services_without_endpoints(&self) -> impl Iterator<Item = &'a Service> + '_ {
        self.world.services.iter().filter(|service| {
            let metadata = &service.metadata;
            let ready = self.ready_endpoints(&metadata.namespace, &metadata.name);
            let is_served = service.spec.selector.is_empty() || service.spec.kind == "ExternalName";
            !is_served && ready.unwrap_or(0) == 0
        })
    }

    /// The Deployments, StatefulSets and DaemonSets whose Pods a selector selects.
    pub fn workloads_selected<'b>(
        &'b self,
        namespace: &'b str,
        selector: &'b BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'a Workload> + use<'a, 'b> {
        self.all_workloads().filter(move |workload| {
            let labels = &workload.spec.template.metadata.labels;
            workload.metadata.namespace == namespace && is_selected(labels, selector)
        })
    }
}

/// All objects of Flux.
pub fn all_flux(world: &World) -> impl Iterator<Item = &dyn FluxObject> {
    let sources = [
        &world.git_repositories,
        &world.oci_repositories,
        &world.helm_repositories,
        &world.helm_charts,
        &world.buckets,
    ];
    let sources = sources.into_iter().flatten();
    let sources = sources.map(|source| source as &dyn FluxObject);
    let kustomizations = world
        .kustomizations
        .iter()
        .map(|one| one as &dyn FluxObject);
    let releases = world.helm_releases.iter().map(|one| one as &dyn FluxObject);
    sources.chain(kustomizations).chain(releases)
}

/// What makes a Pod. A Deployment is told by the name of its ReplicaSet, which ends with the hash
/// that is a label of the Pod.
pub fn workload_of(pod: &Pod) -> Option<ObjectRef> {
    let owner = pod.metadata.controller()?;
    let namespace = &pod.metadata.namespace;
    if owner.kind == "ReplicaSet"
        && let Some(hash) = pod.metadata.label("pod-template-hash")
        && let Some(name) = owner.name.strip_suffix(hash)
        && let Some(name) = name.strip_suffix('-')
    {
        return Some(ObjectRef::new("Deployment", namespace, name));
    }
    Some(ObjectRef::new(&owner.kind, namespace, &owner.name))
}
