//! Clusters and machines for the tests of pure decisions.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use nico_api::condition::{self, Truth};
use nico_api::kubernetes_cluster::Plane;
use nico_api::names::MachineName;
use nico_api::nixos_configuration::conditions::READY;
use nico_api::{
    KubernetesCluster, KubernetesClusterSpec, Machine, MachineSpec, MachineStatus,
    NixosConfiguration, labels,
};
use serde_json::json;

use crate::kubeconfig::{Contents, Found, Kubeconfig, Validity};
use crate::observed::{
    KubeconfigState, Node, Observed, OwnedSecret, Published, Source, View, Workload,
};
use crate::plan::{self, Intervals, Plan};
use crate::role::Role;

/// The name of a machine.
pub(crate) fn name(text: &str) -> MachineName {
    text.parse().unwrap()
}

/// `second` seconds after the epoch.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A machine that runs NixOS and answers, with the label `role` from its name.
pub(crate) fn machine(name: &str) -> Machine {
    let mut machine = Machine::new(
        name,
        MachineSpec {
            hostname: Some(format!("{name}.lan")),
            ..MachineSpec::default()
        },
    );
    machine.metadata.namespace = Some("default".to_owned());
    machine.metadata.resource_version = Some("1".to_owned());
    let role = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
    machine
        .labels_mut()
        .insert("role".to_owned(), role.to_owned());
    machine.status = Some(MachineStatus {
        discoverable: Some(true),
        has_configuration: Some(false),
        hardware_facts: json!({"os": {"id": "nixos"}}).as_object().cloned(),
        ..MachineStatus::default()
    });
    machine
}

/// A cluster without machines, created at second 100.
pub(crate) fn cluster(name: &str) -> KubernetesCluster {
    let mut cluster = KubernetesCluster::new(name, KubernetesClusterSpec::default());
    cluster.metadata.namespace = Some("default".to_owned());
    cluster.metadata.uid = Some(format!("{name}-uid"));
    cluster.metadata.generation = Some(1);
    cluster.metadata.creation_timestamp = Some(Time(at(100)));
    cluster.metadata.finalizers = Some(vec![labels::CLUSTER_FINALIZER.to_owned()]);
    cluster
}

/// A kubeconfig with an authority, a credential, and the seconds from and until which it is good.
pub(crate) fn contents(authority: &str, key: &str, life: Option<(i64, i64)>) -> Contents {
    let contents = Contents::read(&kubeconfig_text(authority, key)).unwrap();
    contents.good_during(life.map(|(from, until)| Validity {
        from: at(from),
        until: at(until),
    }))
}

/// The same as one that was found on a machine.
pub(crate) fn kubeconfig(machine: &str, contents: Contents) -> Kubeconfig {
    let text = kubeconfig_text("ca", "key");
    let found = Found::parse(&text, &name(machine)).unwrap();
    let address = ("10.0.0.1".to_owned(), 6443);
    found.rewrite("home", &address, None).with(contents)
}

fn kubeconfig_text(authority: &str, key: &str) -> String {
    format!(
        "clusters: [{{name: home, cluster: {{server: 'https://10.0.0.1:6443', certificate-authority-data: {authority}}}}}]\n\
         users: [{{name: home, user: {{token: {key}}}}}]\n\
         contexts: [{{name: home, context: {{cluster: home, user: home}}}}]\n"
    )
}

/// A plane of machines that are named.
pub(crate) fn named(machines: &[&str]) -> Plane {
    Plane {
        machines: Some(machines.iter().map(|name| (*name).to_owned()).collect()),
        ..Plane::default()
    }
}

/// A plane of `count` machines with the label `role`.
pub(crate) fn chosen(role: &str, count: i32) -> Plane {
    Plane {
        machine_selector: Some(LabelSelector {
            match_labels: Some(BTreeMap::from([("role".to_owned(), role.to_owned())])),
            match_expressions: None,
        }),
        count: Some(count),
        ..Plane::default()
    }
}

/// A cluster that answers with these Nodes.
pub(crate) fn answers(nodes: Vec<Node>) -> Workload {
    Workload::Answers(View {
        nodes,
        ..View::default()
    })
}

/// A snapshot that a test can change as the world would.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) observed: Observed,
}

impl World {
    /// A cluster `home` and its machines, nothing done yet.
    pub(crate) fn new(control_plane: Plane, data_plane: Option<Plane>, machines: &[&str]) -> Self {
        let mut cluster = cluster("home");
        cluster.spec.control_plane = control_plane;
        cluster.spec.data_plane = data_plane;
        let numbered = machines.iter().enumerate().map(|(number, text)| {
            let mut machine = machine(text);
            machine.spec.ip_address = Some(format!("10.0.0.{}", number + 1));
            (name(text), Arc::new(machine))
        });
        Self {
            observed: Observed {
                cluster,
                machines: numbered.collect(),
                unreadable_machines: BTreeMap::new(),
                rivals: vec![],
                gone_clusters: std::collections::BTreeSet::new(),
                configurations: BTreeMap::new(),
                configured_by_others: BTreeMap::new(),
                source: Source::Resolved {
                    repository: "https://git.example/clusters.git".parse().unwrap(),
                    commit: "a".repeat(40).parse().unwrap(),
                },
                join_token: OwnedSecret::Missing,
                kubeconfig: KubeconfigState::Missing(None),
                workload: Workload::NotAsked,
            },
        }
    }

    pub(crate) fn of_one_control_plane() -> Self {
        Self::new(named(&["cp-01"]), None, &["cp-01"])
    }

    pub(crate) fn of_one_control_plane_and_one_worker() -> Self {
        Self::new(
            named(&["cp-01"]),
            Some(named(&["w-01"])),
            &["cp-01", "w-01"],
        )
    }

    /// Claims everything, creates every configuration, and has the machines apply it.
    pub(crate) fn applied(mut self) -> Self {
        for _ in 0..4 {
            self.step();
            self.apply_all();
        }
        self
    }

    /// Both Secrets, made by the cluster.
    pub(crate) fn with_secrets(mut self) -> Self {
        self.observed.join_token = OwnedSecret::Ours {
            uid: "token-uid".to_owned(),
        };
        self.observed.kubeconfig = KubeconfigState::Published(Published {
            uid: "kubeconfig-uid".to_owned(),
            version: "1".to_owned(),
            machine: None,
            contents: Ok(contents("ca", "key", None)),
            found: None,
            problem: None,
        });
        self
    }

    pub(crate) fn plan(&self) -> Plan {
        plan::plan(&self.observed, &Intervals::default(), at(1000))
    }

    /// Plans, does everything that the plan says, and writes the status.
    pub(crate) fn step(&mut self) -> Plan {
        use crate::action::Action;
        let plan = self.plan();
        for action in &plan.actions {
            match action {
                Action::Claim { machine, role, .. } => self.claim(machine.as_str(), *role),
                Action::Release { machine, .. } => self.release(machine.as_str()),
                Action::CreateJoinToken => {
                    self.observed.join_token = OwnedSecret::Ours {
                        uid: "token-uid".to_owned(),
                    };
                }
                Action::CreateConfiguration(configuration)
                | Action::UpdateConfiguration(configuration)
                | Action::StageConfiguration(configuration)
                | Action::SettleConfiguration(configuration)
                | Action::RollBackConfiguration { configuration, .. }
                | Action::NoteFailure { configuration, .. } => self.store(configuration),
                Action::DeleteNode { node, .. } => self.delete_node(node),
                Action::DeleteConfiguration { machine, .. } => self.start_removal(machine.as_str()),
                other => panic!("not expected here: {other:?}"),
            }
        }
        self.observed.cluster.status = Some(plan.status.clone());
        plan
    }

    fn delete_node(&mut self, node: &str) {
        if let Workload::Answers(view) = &mut self.observed.workload {
            view.nodes.retain(|known| known.name != node);
        }
    }

    fn store(&mut self, configuration: &NixosConfiguration) {
        let key = configuration.name_any();
        let existing = self.observed.configurations.get(&key);
        let mut stored = configuration.clone();
        stored.metadata.uid = Some(format!("{key}-uid"));
        stored.metadata.generation = Some(
            existing
                .and_then(|existing| existing.metadata.generation)
                .unwrap_or(0)
                + 1,
        );
        stored.status = existing.and_then(|existing| existing.status.clone());
        self.observed.configurations.insert(key, stored);
    }

    /// Every machine applies the configuration that it has.
    pub(crate) fn apply_all(&mut self) {
        let machines: Vec<String> = self
            .observed
            .configurations
            .values()
            .map(|configuration| configuration.spec.machine_ref.name.clone())
            .collect();
        for machine in machines {
            self.apply(&machine);
        }
    }

    /// A machine applies the configuration that it has, or stages it. Without a Machine nothing
    /// happens to the host.
    pub(crate) fn apply(&mut self, machine: &str) {
        if !self.observed.machines.contains_key(&name(machine)) {
            return;
        }
        if self.configuration(machine).spec.hold {
            return self.say(machine, "Staged", "waits for its turn");
        }
        self.report(machine, Truth::True, "Applied", "runs what is wanted");
        let configuration = self.configuration(machine);
        let status = configuration.status.get_or_insert_default();
        status.applied_commit = Some(configuration.spec.reference.clone());
        self.change(machine, |machine| {
            machine.status.get_or_insert_default().has_configuration = Some(true);
        });
    }

    /// The machine layer says why a machine is not ready.
    pub(crate) fn say(&mut self, machine: &str, reason: &str, message: &str) {
        self.report(machine, Truth::False, reason, message);
    }

    fn report(&mut self, machine: &str, truth: Truth, reason: &str, message: &str) {
        let configuration = self.configuration(machine);
        let generation = configuration.metadata.generation;
        let status = configuration.status.get_or_insert_default();
        status.observed_generation = generation;
        condition::set(
            &mut status.conditions,
            READY,
            truth,
            reason,
            message,
            generation,
            at(500),
        );
    }

    pub(crate) fn configuration(&mut self, machine: &str) -> &mut NixosConfiguration {
        self.observed
            .configurations
            .values_mut()
            .find(|configuration| configuration.spec.machine_ref.name == machine)
            .unwrap()
    }

    pub(crate) fn start_removal(&mut self, machine: &str) {
        self.configuration(machine).metadata.deletion_timestamp = Some(Time(at(900)));
    }

    pub(crate) fn finish_removal(&mut self, machine: &str) {
        self.observed
            .configurations
            .retain(|_, configuration| configuration.spec.machine_ref.name != machine);
        self.change(machine, |machine| {
            machine.status.get_or_insert_default().has_configuration = Some(false);
        });
    }

    pub(crate) fn claim(&mut self, machine: &str, role: Role) {
        self.claim_for(machine, role, "home");
    }

    /// Another cluster claims the machine.
    pub(crate) fn claim_for(&mut self, machine: &str, role: Role, cluster: &str) {
        self.change(machine, |machine| {
            let labels = machine.labels_mut();
            labels.insert(labels::CLUSTER.to_owned(), cluster.to_owned());
            labels.insert(labels::ROLE.to_owned(), role.as_str().to_owned());
            machine
                .annotations_mut()
                .insert(labels::CLUSTER_UID.to_owned(), format!("{cluster}-uid"));
        });
    }

    pub(crate) fn release(&mut self, machine: &str) {
        self.change(machine, |machine| {
            machine.labels_mut().remove(labels::CLUSTER);
            machine.labels_mut().remove(labels::ROLE);
            machine.annotations_mut().remove(labels::CLUSTER_UID);
        });
    }

    /// Changes a machine.
    pub(crate) fn change(&mut self, machine: &str, change: impl FnOnce(&mut Machine)) {
        change(Arc::make_mut(
            self.observed.machines.get_mut(&name(machine)).unwrap(),
        ));
    }
}
