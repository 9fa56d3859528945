//! Machines, clusters, and what the API shows of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use nico_api::kubernetes_cluster::RolloutOrder;
use nico_api::names::MachineName;
use nico_api::{KubernetesCluster, Machine, NixosConfiguration, labels};
use nico_clusters::observed::{
    Drain, DrainedPod, Etcd, KubeconfigState, Node, Observed, OwnedSecret, Rival, Source, View,
    Workload,
};
use nico_clusters::role::Role;
use serde_json::json;

use crate::events::{Event, Quality, Setup, Shape};
use crate::host::{Commit, Host};
use crate::invariants;
use crate::operator::Operator;

/// Minor version of Kubernetes in the first commit.
const FIRST_MINOR: u32 = 30;

/// How many lines of a run are told when something breaks.
const STORY: usize = 80;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Everything.
pub(crate) struct World {
    pub(crate) now: i64,
    pub(crate) steps: u64,
    pub(crate) hosts: BTreeMap<MachineName, Host>,
    /// The Machine objects that exist.
    pub(crate) machines: BTreeMap<MachineName, Arc<Machine>>,
    /// Machines whose objects a person deleted and made again.
    pub(crate) made_again: BTreeSet<MachineName>,
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) commits: Vec<Commit>,
    story: VecDeque<String>,
    versions: u64,
}

/// A cluster, its objects, and its Nodes.
pub(crate) struct Cluster {
    pub(crate) object: KubernetesCluster,
    pub(crate) shape: Shape,
    pub(crate) configurations: BTreeMap<String, NixosConfiguration>,
    pub(crate) join_token: OwnedSecret,
    pub(crate) kubeconfig: KubeconfigState,
    pub(crate) nodes: BTreeMap<MachineName, NodeObject>,
    /// Number of the commit at the head of its branch.
    pub(crate) head: usize,
    pub(crate) operator: Operator,
    pub(crate) is_gone: bool,
    last_answer: Option<(i64, Vec<Node>)>,
}

/// A Node as its API server has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeObject {
    /// What it said last, which need not be true.
    pub(crate) says_ready: bool,
    pub(crate) unschedulable: bool,
    pub(crate) is_cordoned_by_a_person: bool,
    pub(crate) drain: Option<Drain>,
    pub(crate) has_pod: bool,
    pub(crate) is_held_by_budget: bool,
    pub(crate) minor: Option<u32>,
}

impl World {
    pub(crate) fn new(setup: &Setup) -> Self {
        let wanted: usize = setup
            .clusters
            .iter()
            .map(|shape| shape.control_planes + shape.workers)
            .sum();
        let mut world = Self {
            now: 1_000_000,
            steps: 0,
            hosts: BTreeMap::new(),
            machines: BTreeMap::new(),
            made_again: BTreeSet::new(),
            clusters: vec![],
            commits: vec![Commit {
                quality: Quality::Good,
                minor: FIRST_MINOR,
            }],
            story: VecDeque::new(),
            versions: 0,
        };
        for number in 0..wanted + setup.spare {
            let name: MachineName = format!("m-{number:03}").parse().unwrap();
            world.hosts.insert(name.clone(), Host::new(number));
            world.create_machine(&name);
        }
        for (number, shape) in setup.clusters.iter().enumerate() {
            world.clusters.push(Cluster::new(number, shape, world.now));
        }
        world
    }

    fn create_machine(&mut self, name: &MachineName) {
        let machine = json!({
            "apiVersion": "nio.homystack.com/v1alpha1", "kind": "Machine",
            "metadata": {"name": name.as_str(), "namespace": "default", "labels": {"pool": "all"},
                "resourceVersion": "0"},
            "spec": {"hostname": format!("{name}.lan")},
            "status": {"discoverable": true, "hasConfiguration": false,
                "hardwareFacts": {"os": {"id": "nixos"}}},
        });
        let machine = serde_json::from_value(machine).unwrap();
        self.machines.insert(name.clone(), Arc::new(machine));
    }

    /// Changes a Machine object, which gets a new resourceVersion.
    pub(crate) fn change(&mut self, name: &MachineName, change: impl FnOnce(&mut Machine)) {
        self.versions += 1;
        let version = self.versions.to_string();
        if let Some(machine) = self.machines.get_mut(name) {
            let machine = Arc::make_mut(machine);
            change(machine);
            machine.metadata.resource_version = Some(version);
        }
    }

    pub(crate) fn tell(&mut self, line: &str) {
        if self.story.len() == STORY {
            self.story.pop_front();
        }
        self.story.push_back(format!("{} {line}", self.now));
    }

    /// What happened last.
    pub(crate) fn story(&self) -> String {
        Vec::from(self.story.clone()).join("\n")
    }

    /// Lets one thing happen, and checks what must hold.
    pub(crate) fn happen(&mut self, event: &Event) -> Result<(), String> {
        match *event {
            Event::Operate(number) => {
                let cluster = number % self.clusters.len();
                self.operate(cluster)?;
            }
            Event::OperateAll => {
                for cluster in 0..self.clusters.len() {
                    self.operate_until_idle(cluster)?;
                }
            }
            Event::Apply(number) => {
                let all = self.configurations();
                if !all.is_empty() {
                    let (cluster, name) = &all[number % all.len()];
                    self.apply(*cluster, name);
                }
            }
            Event::ApplyAll => {
                for (cluster, name) in self.configurations() {
                    self.apply(cluster, &name);
                }
            }
            Event::Heartbeat => self.heartbeat(),
            Event::Pass(seconds) => self.now += seconds,
            Event::Crash(number) => self.cluster(number).operator = Operator::default(),
            Event::Conflict(number) => self.cluster(number).operator.meets_conflict = true,
            Event::PowerOff(number) => self.power(number, false),
            Event::PowerOn(number) => self.power(number, true),
            Event::ToggleSsh(number) => {
                let name = self.host_name(number);
                let host = self.hosts.get_mut(&name).unwrap();
                host.answers_ssh = !host.answers_ssh;
            }
            Event::Lie(number) => self.node(number, |node| node.says_ready = !node.says_ready),
            Event::Push(number, quality) => self.push(number, quality),
            Event::Revert(number) => self.cluster(number).head = 0,
            Event::TogglePause(number) => {
                let spec = &mut self.cluster(number).object.spec;
                spec.paused = !spec.paused;
            }
            Event::Scale(number, workers) => {
                let plane = self.cluster(number).object.spec.data_plane.as_mut();
                plane.unwrap().count = i32::try_from(workers).ok();
            }
            Event::ToggleMachine(number) => {
                let name = self.host_name(number);
                if self.machines.remove(&name).is_none() {
                    self.create_machine(&name);
                }
                self.made_again.insert(name);
            }
            Event::ToggleCordon(number) => self.node(number, |node| {
                node.is_cordoned_by_a_person = !node.is_cordoned_by_a_person;
                node.unschedulable = node.is_cordoned_by_a_person;
            }),
            Event::ToggleBudget(number) => self.node(number, |node| {
                node.is_held_by_budget = !node.is_held_by_budget;
            }),
            Event::DeleteCluster(number) => {
                let now = at(self.now);
                let cluster = self.cluster(number);
                let metadata = &mut cluster.object.metadata;
                metadata.deletion_timestamp.get_or_insert(Time(now));
                cluster.is_gone |= metadata.finalizers.is_none();
            }
        }
        if !event.is_routine() {
            self.tell(&format!("{event:?}"));
        }
        self.step()
    }

    /// Counts a step and checks what must hold after each.
    pub(crate) fn step(&mut self) -> Result<(), String> {
        self.steps += 1;
        invariants::of_world(self)
    }

    fn cluster(&mut self, number: usize) -> &mut Cluster {
        let count = self.clusters.len();
        &mut self.clusters[number % count]
    }

    fn host_name(&self, number: usize) -> MachineName {
        self.hosts
            .keys()
            .nth(number % self.hosts.len())
            .unwrap()
            .clone()
    }

    fn power(&mut self, number: usize, on: bool) {
        let name = self.host_name(number);
        let now = self.now;
        self.hosts.get_mut(&name).unwrap().power(on, now);
    }

    fn node(&mut self, number: usize, change: impl FnOnce(&mut NodeObject)) {
        let mut nodes: Vec<&mut NodeObject> = self
            .clusters
            .iter_mut()
            .flat_map(|cluster| cluster.nodes.values_mut())
            .collect();
        let count = nodes.len();
        if count > 0 {
            change(nodes[number % count]);
        }
    }

    fn push(&mut self, number: usize, quality: Quality) {
        let head = self.cluster(number).head;
        let minor = self.commits[head].minor;
        let minor = minor + u32::from(quality == Quality::Upgrade);
        self.commits.push(Commit { quality, minor });
        self.cluster(number).head = self.commits.len() - 1;
    }

    pub(crate) fn configurations(&self) -> Vec<(usize, String)> {
        let of = |(number, cluster): (usize, &Cluster)| {
            let names: Vec<String> = cluster.configurations.keys().cloned().collect();
            names.into_iter().map(move |name| (number, name))
        };
        self.clusters.iter().enumerate().flat_map(of).collect()
    }

    /// The machine layer takes up a configuration.
    fn apply(&mut self, number: usize, name: &str) {
        self.steps += 1;
        let cluster = &mut self.clusters[number];
        let Some(configuration) = cluster.configurations.get_mut(name) else {
            return;
        };
        let machine: MachineName = configuration.spec.machine_ref.name.parse().unwrap();
        let host = self.hosts.get_mut(&machine).unwrap();
        let is_there = self.machines.contains_key(&machine);
        if configuration.metadata.deletion_timestamp.is_some() {
            if is_there && !host.can_be_reached() {
                return;
            }
            if is_there {
                host.runs = None;
                cluster.nodes.remove(&machine);
            }
            cluster.configurations.remove(name);
            self.note_configuration(&machine, false);
            return;
        }
        if !is_there {
            return;
        }
        let commit = usize::from_str_radix(&configuration.spec.reference, 16).unwrap();
        let was_held = configuration.spec.hold;
        let changed = host.take_up(configuration, self.commits[commit], self.now);
        assert!(
            !(changed && was_held),
            "{machine} was changed while it was held"
        );
        if changed {
            self.note_configuration(&machine, true);
            self.tell(&format!("{machine} was changed to commit {commit}"));
        }
    }

    fn note_configuration(&mut self, machine: &MachineName, has: bool) {
        self.change(machine, |machine| {
            machine.status.get_or_insert_default().has_configuration = Some(has);
        });
    }

    fn heartbeat(&mut self) {
        for cluster in &mut self.clusters {
            for (machine, _) in joined(&cluster.configurations) {
                let host = &self.hosts[&machine];
                let is_up = host.is_up(self.now);
                if !is_up && !cluster.nodes.contains_key(&machine) {
                    continue;
                }
                let node = cluster.nodes.entry(machine).or_insert_with(|| NodeObject {
                    has_pod: true,
                    ..NodeObject::default()
                });
                node.says_ready = is_up;
                node.has_pod |= is_up && !node.unschedulable;
                if is_up {
                    node.minor = host.runs.as_ref().map(|(_, commit)| commit.minor);
                }
            }
        }
        for (name, host) in self.hosts.clone() {
            let answers = Some(host.can_be_reached());
            if let Some(machine) = self.machines.get(&name)
                && machine
                    .status
                    .as_ref()
                    .and_then(|status| status.discoverable)
                    != answers
            {
                self.change(&name, |machine| {
                    machine.status.get_or_insert_default().discoverable = answers;
                });
            }
        }
    }

    /// What an operator sees of a cluster.
    pub(crate) fn observe(&mut self, number: usize) -> Observed {
        let workload = self.workload(number);
        let cluster = &mut self.clusters[number];
        let is_missing = matches!(cluster.kubeconfig, KubeconfigState::Missing(_));
        if is_missing && matches!(workload, Workload::Answers(_)) {
            cluster.kubeconfig = KubeconfigState::Published {
                uid: "kubeconfig".to_owned(),
            };
        }
        let cluster = &self.clusters[number];
        let is_published = matches!(cluster.kubeconfig, KubeconfigState::Published { .. });
        let others = self.clusters.iter().enumerate();
        let rivals = others
            .filter(|(other, cluster)| *other != number && !cluster.is_gone)
            .filter(|(_, cluster)| cluster.object.metadata.deletion_timestamp.is_none())
            .map(|(_, cluster)| cluster.as_rival());
        Observed {
            cluster: cluster.object.clone(),
            machines: self.machines.clone(),
            unreadable_machines: BTreeMap::new(),
            rivals: rivals.collect(),
            gone_clusters: self
                .clusters
                .iter()
                .filter(|cluster| cluster.is_gone)
                .map(|cluster| cluster.object.uid().unwrap())
                .collect::<BTreeSet<String>>(),
            configurations: cluster.configurations.clone(),
            configured_by_others: self
                .clusters
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != number)
                .flat_map(|(_, other)| other.configurations.values())
                .map(|configuration| {
                    let machine = configuration.spec.machine_ref.name.parse().unwrap();
                    (machine, configuration.name_any())
                })
                .collect(),
            source: Source::Resolved {
                repository: "https://git.example/clusters.git".parse().unwrap(),
                commit: format!("{:040x}", cluster.head).parse().unwrap(),
            },
            join_token: cluster.join_token.clone(),
            kubeconfig: cluster.kubeconfig.clone(),
            workload: if is_published {
                workload
            } else {
                Workload::NotAsked
            },
        }
    }

    fn workload(&mut self, number: usize) -> Workload {
        let now = self.now;
        let (up, all) = self.quorum(number);
        let cluster = &mut self.clusters[number];
        if all == 0 || up < all / 2 + 1 {
            let last = cluster.last_answer.clone();
            return Workload::Unreachable {
                last_answer: last.as_ref().map(|(second, _)| at(*second)),
                last_nodes: last.map(|(_, nodes)| nodes),
                message: "no answer".to_owned(),
            };
        }
        let nodes: Vec<Node> = cluster
            .nodes
            .iter()
            .map(|(name, node)| node.shown(name))
            .collect();
        cluster.last_answer = Some((now, nodes.clone()));
        let draining = cluster
            .nodes
            .iter()
            .filter(|(_, node)| node.drain.is_some())
            .map(|(name, node)| (name.to_string(), node.pods()));
        let draining = draining.collect();
        let members = joined(&cluster.configurations)
            .filter(|(_, role)| *role == Role::ControlPlane)
            .map(|(machine, _)| {
                let is_up = self.hosts[&machine].is_up(now);
                (machine.to_string(), is_up)
            });
        Workload::Answers(View {
            nodes,
            not_ready: None,
            etcd: match cluster.shape.shows_etcd {
                true => Etcd::Members(members.collect()),
                false => Etcd::Unseen,
            },
            draining,
        })
    }

    /// How many control planes of a cluster work, and how many have joined it.
    pub(crate) fn quorum(&self, number: usize) -> (usize, usize) {
        let control_planes: Vec<MachineName> = joined(&self.clusters[number].configurations)
            .filter(|(_, role)| *role == Role::ControlPlane)
            .map(|(machine, _)| machine)
            .collect();
        let up = control_planes
            .iter()
            .filter(|machine| self.hosts[*machine].is_up(self.now))
            .count();
        (up, control_planes.len())
    }

    /// Has all faults stop, and everybody go on until nothing changes any more.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        for host in self.hosts.values_mut() {
            host.power(true, self.now);
            host.answers_ssh = true;
        }
        for number in 0..self.hosts.len() {
            let name = self.host_name(number);
            if !self.machines.contains_key(&name) {
                self.create_machine(&name);
            }
        }
        for number in 0..self.clusters.len() {
            let minors = self.control_plane_minors(number);
            let (lowest, highest) = (minors.iter().min(), minors.iter().max());
            let head_minor = self.commits[self.clusters[number].head].minor;
            self.commits.push(Commit {
                quality: Quality::Good,
                minor: highest.copied().unwrap_or(head_minor),
            });
            let head = self.commits.len() - 1;
            let cluster = &mut self.clusters[number];
            // A machine that joined late may be further ahead than the others may go at once.
            if highest > lowest.map(|lowest| lowest + 1).as_ref() {
                let strategy = cluster.object.spec.rollout.as_mut().unwrap();
                strategy.order = RolloutOrder::ControlPlaneFirst;
            }
            cluster.head = head;
            cluster.object.spec.paused = false;
            for node in cluster.nodes.values_mut() {
                node.is_held_by_budget = false;
            }
        }
        let machines = self.hosts.len();
        for _ in 0..40 + 12 * machines {
            for event in [
                Event::OperateAll,
                Event::ApplyAll,
                Event::Pass(30),
                Event::Heartbeat,
            ] {
                self.happen(&event)?;
            }
            if invariants::of_the_end(self).is_ok() {
                return Ok(());
            }
        }
        invariants::of_the_end(self)
    }

    /// The versions that the control planes of a cluster run.
    fn control_plane_minors(&self, number: usize) -> Vec<u32> {
        joined(&self.clusters[number].configurations)
            .filter(|(_, role)| *role == Role::ControlPlane)
            .filter_map(|(machine, _)| Some(self.hosts[&machine].runs.as_ref()?.1.minor))
            .collect()
    }
}

impl Cluster {
    fn new(number: usize, shape: &Shape, now: i64) -> Self {
        let selector = json!({"matchLabels": {"pool": "all"}});
        let object = json!({
            "apiVersion": "nico.homystack.com/v1alpha1", "kind": "KubernetesCluster",
            "metadata": {"name": format!("c-{number}"), "namespace": "default",
                "uid": format!("uid-{number}"), "generation": 1,
                "creationTimestamp": at(now + i64::try_from(number).unwrap())},
            "spec": {
                "controlPlane": {"machineSelector": selector, "count": shape.control_planes},
                "dataPlane": {"machineSelector": selector, "count": shape.workers},
                "rollout": {
                    "maxUnavailableWorkers": shape.budget,
                    "drain": {"enabled": shape.drains},
                    "onFailure": if shape.rolls_back { "RollBackNode" } else { "Stop" },
                },
            },
        });
        Self {
            object: serde_json::from_value(object).unwrap(),
            shape: shape.clone(),
            configurations: BTreeMap::new(),
            join_token: OwnedSecret::Missing,
            kubeconfig: KubeconfigState::Missing(None),
            nodes: BTreeMap::new(),
            head: 0,
            operator: Operator::default(),
            is_gone: false,
            last_answer: None,
        }
    }

    fn as_rival(&self) -> Rival {
        Rival {
            uid: self.object.uid().unwrap(),
            created: self.object.metadata.creation_timestamp.as_ref().unwrap().0,
            control_plane: self.object.spec.control_plane.clone(),
            data_plane: self.object.spec.data_plane(),
            started: self
                .object
                .status
                .as_ref()
                .is_some_and(|status| !status.applied_machines.is_empty()),
        }
    }
}

impl NodeObject {
    fn shown(&self, name: &MachineName) -> Node {
        Node {
            name: name.to_string(),
            addresses: vec![],
            ready: self.says_ready,
            message: "kubelet is silent".to_owned(),
            unschedulable: self.unschedulable,
            repels_pods: false,
            kubelet_version: self.minor.map(|minor| format!("v1.{minor}.0")),
            drain: self.drain.clone(),
        }
    }

    fn pods(&self) -> Vec<DrainedPod> {
        let pod = DrainedPod {
            namespace: "default".to_owned(),
            name: "pod".to_owned(),
            uid: "uid".to_owned(),
            is_leaving: false,
            has_empty_dir: false,
            held_by: self.is_held_by_budget.then(|| "budget".to_owned()),
        };
        self.has_pod.then_some(pod).into_iter().collect()
    }
}

/// The machines on which a configuration ever worked, with their roles.
pub(crate) fn joined(
    configurations: &BTreeMap<String, NixosConfiguration>,
) -> impl Iterator<Item = (MachineName, Role)> {
    configurations
        .values()
        .filter(|configuration| {
            let status = configuration.status.as_ref();
            status.is_some_and(|status| status.applied_commit.is_some())
        })
        .map(|configuration| {
            let machine = configuration.spec.machine_ref.name.parse().unwrap();
            let role = configuration.labels().get(labels::ROLE).unwrap();
            (machine, Role::from_label(role).unwrap())
        })
}
