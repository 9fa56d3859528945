//! Machines and clusters, and what happens to them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use nico_api::Machine;
use nico_api::names::MachineName;
use nico_clusters::observed::claimant_uid;
use nico_clusters::role::Role;
use serde_json::json;

use crate::cluster::{Cluster, NodeObject, is_leaving, joined};
use crate::events::{Event, Quality, Setup};
use crate::host::{Commit, Host};
use crate::invariants;
use crate::operator::Operator;

/// Minor version of Kubernetes in the first commit.
const FIRST_MINOR: u32 = 30;

/// How long a cluster takes to notice a Node of which it hears nothing, in seconds.
const NOTICING: i64 = 50;

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
    /// Machines whose objects a person deleted and made again, and that nobody claimed since.
    pub(crate) made_again: BTreeSet<MachineName>,
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) commits: Vec<Commit>,
    story: VecDeque<String>,
    versions: u64,
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
            Event::Pass(seconds) => self.pass(seconds),
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
        for number in 0..self.clusters.len() {
            self.note_whether_it_answers(number);
        }
        invariants::of_world(self)
    }

    fn note_whether_it_answers(&mut self, number: usize) {
        let answers = self.has_quorum(number);
        let now = self.now;
        let cluster = &mut self.clusters[number];
        let is_lost =
            |name: &MachineName, node: &NodeObject| node.says_ready && !self.hosts[name].is_up(now);
        if answers {
            cluster.answers_since.get_or_insert(now);
            let nodes = &cluster.nodes;
            let is_still_lost =
                |name: &MachineName| nodes.get(name).is_some_and(|node| is_lost(name, node));
            cluster.unnoticed.retain(is_still_lost);
            cluster.operator.unnoticed.retain(is_still_lost);
        } else {
            cluster.answers_since = None;
            // Whether the operator knows of this silence is told by its next look.
            cluster.operator.unnoticed.clear();
            let lost = cluster.nodes.iter();
            let lost = lost.filter(|(name, node)| is_lost(name, node));
            cluster.unnoticed.extend(lost.map(|(name, _)| name.clone()));
        }
    }

    /// Time passes, in which a cluster that answers notices the Nodes of which it hears nothing.
    fn pass(&mut self, seconds: i64) {
        self.now += seconds;
        let now = self.now;
        for cluster in &mut self.clusters {
            let long_enough = |since: i64| now - since >= NOTICING;
            if !cluster.answers_since.is_some_and(long_enough) {
                continue;
            }
            for (name, node) in &mut cluster.nodes {
                node.says_ready &= self.hosts[name].is_up(now);
            }
        }
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
        for number in 0..self.clusters.len() {
            let has_members = !self.clusters[number].etcd.is_empty();
            if has_members && !self.has_quorum(number) {
                // Nobody can tell the API anything.
                continue;
            }
            let cluster = &mut self.clusters[number];
            let members: Vec<(MachineName, Role)> = joined(&cluster.configurations).collect();
            for (name, node) in &mut cluster.nodes {
                let is_member = members.iter().any(|(member, _)| member == name);
                node.says_ready &= is_member;
            }
            for (machine, role) in members {
                let host = &self.hosts[&machine];
                let is_up = host.is_up(self.now);
                let is_new = !cluster.nodes.contains_key(&machine);
                // A Node is there soon after its machine runs something, or not at all: one that
                // comes when nobody knows of the machine any more is for a person to remove.
                let claimed = self.machines.get(&machine);
                let is_claimed = claimed.is_some_and(|it| claimant_uid(it).is_some());
                let comes_late = is_leaving(&cluster.configurations, &machine) || !is_claimed;
                if is_new && (!is_up || host.was_removed || comes_late) {
                    continue;
                }
                if role == Role::ControlPlane && is_up {
                    cluster.etcd.insert(machine.clone());
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

    /// Has all faults stop, and everybody go on until nothing changes any more.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        for host in self.hosts.values_mut() {
            host.power(true, self.now);
            host.answers_ssh = true;
            host.was_removed = false;
        }
        for number in 0..self.hosts.len() {
            let name = self.host_name(number);
            if !self.machines.contains_key(&name) {
                self.create_machine(&name);
            }
        }
        for number in 0..self.clusters.len() {
            let minors = self.control_plane_minors(number);
            let highest = minors.iter().max();
            let head_minor = self.commits[self.clusters[number].head].minor;
            self.commits.push(Commit {
                quality: Quality::Good,
                minor: highest.copied().unwrap_or(head_minor),
            });
            let head = self.commits.len() - 1;
            let cluster = &mut self.clusters[number];
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
