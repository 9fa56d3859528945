//! What an operator sees of the world.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use nico_api::names::MachineName;
use nico_clusters::kubeconfig::Contents;
use nico_clusters::observed::{
    Etcd, KubeconfigState, Node, Observed, Published, Source, View, Workload,
};

use crate::cluster::joined;
use crate::world::{World, at};

/// What lies in the Secret of every cluster.
const KUBECONFIG: &str = "
clusters: [{name: c, cluster: {server: 'https://10.0.0.1:6443', certificate-authority-data: ca}}]
users: [{name: u, user: {token: secret}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
";

impl World {
    /// What an operator sees of a cluster.
    pub(crate) fn observe(&mut self, number: usize) -> Observed {
        let workload = self.workload(number);
        let cluster = &mut self.clusters[number];
        let is_missing = matches!(cluster.kubeconfig, KubeconfigState::Missing(_));
        if is_missing && matches!(workload, Workload::Answers(_)) {
            cluster.kubeconfig = KubeconfigState::Published(Published {
                uid: "kubeconfig".to_owned(),
                version: "1".to_owned(),
                machine: None,
                contents: Ok(Contents::read(KUBECONFIG).unwrap()),
                found: None,
                problem: None,
            });
        }
        let cluster = &self.clusters[number];
        let is_published = matches!(cluster.kubeconfig, KubeconfigState::Published(_));
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
        let now = at(self.now);
        let has_quorum = self.has_quorum(number);
        let cluster = &mut self.clusters[number];
        if !has_quorum {
            return Workload::Unreachable {
                is_refusal: false,
                since: cluster.operator.contact.failed(now),
                last_nodes: cluster.operator.last_nodes.clone(),
                message: "no answer".to_owned(),
            };
        }
        let nodes: Vec<Node> = cluster
            .nodes
            .iter()
            .map(|(name, node)| node.shown(name))
            .collect();
        cluster.operator.last_nodes = Some(nodes.clone());
        let back_since = cluster.operator.contact.answered(now);
        if back_since == Some(now) {
            cluster.operator.unnoticed = cluster.unnoticed.clone();
        }
        let draining = cluster
            .nodes
            .iter()
            .filter(|(_, node)| node.drain.is_some())
            .map(|(name, node)| (name.to_string(), node.pods()));
        let draining = draining.collect();
        let shows_etcd = cluster.shape.shows_etcd;
        let members: BTreeMap<String, bool> = self
            .etcd(number)
            .map(|(machine, works)| (machine.to_string(), works))
            .collect();
        Workload::Answers(View {
            nodes,
            not_ready: None,
            etcd: match shows_etcd {
                true => Etcd::Members(members),
                false => Etcd::Unseen,
            },
            draining,
            back_since,
        })
    }

    /// How many etcd members of a cluster work, and how many there are.
    pub(crate) fn quorum(&self, number: usize) -> (usize, usize) {
        let up = self.etcd(number).filter(|(_, works)| *works).count();
        (up, self.clusters[number].etcd.len())
    }

    /// Whether the API of a cluster can answer.
    pub(crate) fn has_quorum(&self, number: usize) -> bool {
        let (up, all) = self.quorum(number);
        up > all / 2
    }

    /// Whether each etcd member of a cluster works.
    pub(crate) fn etcd(&self, number: usize) -> impl Iterator<Item = (&MachineName, bool)> {
        let cluster = &self.clusters[number];
        let runs: BTreeSet<MachineName> = joined(&cluster.configurations)
            .map(|(machine, _)| machine)
            .collect();
        cluster.etcd.iter().map(move |machine| {
            let works = runs.contains(machine) && self.hosts[machine].is_up(self.now);
            (machine, works)
        })
    }
}
