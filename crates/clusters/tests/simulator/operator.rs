//! Observes, plans, and does one action at a time, so that anything can happen in between.

use std::collections::{BTreeSet, VecDeque};

use kube::ResourceExt;
use nico_api::kubernetes_cluster::KubernetesClusterStatus;
use nico_api::names::MachineName;
use nico_api::{NixosConfiguration, labels};
use nico_clusters::action::Action;
use nico_clusters::observed::{Drain, KubeconfigState, Node, OwnedSecret};
use nico_clusters::plan::{self, Intervals};
use nico_clusters::workload::contact::Contact;

use crate::invariants;
use crate::world::{World, at};

/// Looks at a cluster, at most, until it has nothing more to do.
const LOOKS: usize = 200;

/// What an operator has in hand for one cluster, and remembers of it.
#[derive(Default)]
pub(crate) struct Operator {
    actions: VecDeque<Action>,
    status: Option<KubernetesClusterStatus>,
    pub(crate) meets_conflict: bool,
    pub(crate) contact: Contact,
    /// The Nodes that the cluster showed when it last answered.
    pub(crate) last_nodes: Option<Vec<Node>>,
    /// Nodes that went while the cluster was silent for so long that this operator has to know that
    /// it cannot rely on them, and that the cluster does not miss yet.
    pub(crate) unnoticed: BTreeSet<MachineName>,
}

impl World {
    /// One action, or a look. Whether there was anything to do.
    pub(crate) fn operate(&mut self, number: usize) -> Result<bool, String> {
        if self.clusters[number].is_gone {
            return Ok(false);
        }
        let operator = &mut self.clusters[number].operator;
        if let Some(action) = operator.actions.pop_front() {
            let is_refused = std::mem::take(&mut operator.meets_conflict);
            if is_refused || !self.perform(number, &action) {
                self.clusters[number].operator.actions.clear();
            }
            self.step()?;
            return Ok(true);
        }
        if let Some(status) = self.clusters[number].operator.status.take() {
            let object = &mut self.clusters[number].object;
            let is_new = object.status.as_ref() != Some(&status);
            object.status = Some(status);
            self.step()?;
            if is_new {
                return Ok(true);
            }
        }
        let observed = self.observe(number);
        let plan = plan::plan(&observed, &Intervals::default(), at(self.now));
        invariants::of_plan(self, number, &observed, &plan)?;
        invariants::of_status(self, number, &observed, &plan.status)?;
        let is_idle = plan.actions.is_empty()
            && self.clusters[number].object.status.as_ref() == Some(&plan.status);
        let operator = &mut self.clusters[number].operator;
        operator.actions = plan.actions.into();
        operator.status = Some(plan.status);
        self.step()?;
        Ok(!is_idle)
    }

    pub(crate) fn operate_until_idle(&mut self, number: usize) -> Result<(), String> {
        // Each machine may take a few looks of a few steps.
        for _ in 0..LOOKS * (1 + self.hosts.len()) {
            if !self.operate(number)? {
                return Ok(());
            }
        }
        Err(format!(
            "the operator never comes to rest with cluster {number}"
        ))
    }

    /// Does an action; false when the API refuses it.
    fn perform(&mut self, number: usize, action: &Action) -> bool {
        let uid = self.clusters[number].object.uid().unwrap();
        let name = self.clusters[number].object.name_any();
        match action {
            Action::AddFinalizer => {
                let finalizers = self.clusters[number].object.finalizers_mut();
                finalizers.push(labels::CLUSTER_FINALIZER.to_owned());
            }
            Action::RemoveFinalizer => self.clusters[number].is_gone = true,
            Action::Claim {
                machine,
                role,
                version,
            } => {
                if !self.is_as_read(machine, version) {
                    return false;
                }
                self.made_again.remove(machine);
                self.change(machine, |machine| {
                    let labels = machine.labels_mut();
                    labels.insert(labels::CLUSTER.to_owned(), name);
                    labels.insert(labels::ROLE.to_owned(), role.to_string());
                    let annotations = machine.annotations_mut();
                    annotations.insert(labels::CLUSTER_UID.to_owned(), uid);
                });
            }
            Action::Release { machine, version } => {
                if !self.is_as_read(machine, version) {
                    return !self.machines.contains_key(machine);
                }
                self.change(machine, |machine| {
                    machine.labels_mut().remove(labels::CLUSTER);
                    machine.labels_mut().remove(labels::ROLE);
                    machine.annotations_mut().remove(labels::CLUSTER_UID);
                });
            }
            Action::CreateJoinToken => {
                self.clusters[number].join_token = OwnedSecret::Ours {
                    uid: "token".to_owned(),
                };
            }
            Action::CreateConfiguration(configuration)
            | Action::UpdateConfiguration(configuration)
            | Action::StageConfiguration(configuration)
            | Action::SettleConfiguration(configuration)
            | Action::RollBackConfiguration { configuration, .. }
            | Action::NoteFailure { configuration, .. } => self.store(number, configuration),
            Action::DeleteConfiguration { name, .. } => {
                let now = at(self.now);
                if let Some(found) = self.clusters[number].configurations.get_mut(name) {
                    let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now);
                    found.metadata.deletion_timestamp = Some(time);
                }
            }
            Action::DeleteNode { machine, .. } => {
                let cluster = &mut self.clusters[number];
                cluster.nodes.remove(machine);
                cluster.etcd.remove(machine);
                if let Some(host) = self.hosts.get_mut(machine) {
                    host.was_removed = true;
                }
            }
            Action::DrainNode {
                machine,
                since,
                attempt,
                cordon,
                ..
            } => {
                if let Some(node) = self.clusters[number].nodes.get_mut(machine) {
                    node.drain = Some(Drain {
                        since: *since,
                        attempt: attempt.clone(),
                        cordoned: *cordon,
                    });
                    node.unschedulable |= *cordon;
                }
            }
            Action::EvictPod { machine, .. } => {
                if let Some(node) = self.clusters[number].nodes.get_mut(machine) {
                    node.has_pod &= node.is_held_by_budget;
                }
            }
            Action::RestoreNode {
                machine, uncordon, ..
            } => {
                if let Some(node) = self.clusters[number].nodes.get_mut(machine) {
                    node.drain = None;
                    if *uncordon {
                        node.unschedulable = false;
                        node.is_cordoned_by_a_person = false;
                    }
                }
            }
            Action::MarkInstalled { .. }
            | Action::PublishKubeconfig(_)
            | Action::RenewKubeconfig { .. } => {}
            Action::DeleteSecret { name, .. } if name.ends_with("-join-token") => {
                self.clusters[number].join_token = OwnedSecret::Missing;
            }
            Action::DeleteSecret { .. } => {
                self.clusters[number].kubeconfig = KubeconfigState::Missing(None);
            }
        }
        self.tell(&format!("c-{number} {}", short(action)));
        true
    }

    fn is_as_read(&self, machine: &MachineName, version: &str) -> bool {
        self.machines
            .get(machine)
            .is_some_and(|found| found.metadata.resource_version.as_deref() == Some(version))
    }

    fn store(&mut self, number: usize, configuration: &NixosConfiguration) {
        let name = configuration.name_any();
        let configurations = &mut self.clusters[number].configurations;
        let existing = configurations.get(&name);
        let mut stored = configuration.clone();
        let generation = existing.and_then(|existing| existing.metadata.generation);
        let is_same = existing.is_some_and(|existing| existing.spec == stored.spec);
        stored.metadata.generation = Some(generation.unwrap_or(0) + i64::from(!is_same));
        stored.metadata.deletion_timestamp =
            existing.and_then(|existing| existing.metadata.deletion_timestamp.clone());
        stored.status = existing.and_then(|existing| existing.status.clone());
        configurations.insert(name, stored);
    }
}

/// An action in a few words.
fn short(action: &Action) -> String {
    match action {
        Action::CreateConfiguration(it) => format!("create {}", it.name_any()),
        Action::UpdateConfiguration(it) => {
            format!(
                "update {} to {}",
                it.name_any(),
                it.spec.reference.trim_start_matches('0')
            )
        }
        Action::StageConfiguration(it) => {
            format!(
                "stage {} to {}",
                it.name_any(),
                it.spec.reference.trim_start_matches('0')
            )
        }
        Action::SettleConfiguration(it) => format!("settle {}", it.name_any()),
        Action::RollBackConfiguration {
            configuration,
            failure,
        } => format!("roll back {}: {failure:?}", configuration.name_any()),
        Action::NoteFailure {
            configuration,
            failure,
        } => format!("note failure of {}: {failure:?}", configuration.name_any()),
        other => format!("{other:?}"),
    }
}
