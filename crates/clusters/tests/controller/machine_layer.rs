//! A stand-in for the machine layer: it applies every configuration at once, starts a Node in
//! the new cluster, and notes when a rule was broken.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use nico_api::{Machine, NixosConfiguration, labels};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// Applies configurations until it is dropped.
pub(crate) struct MachineLayer {
    behaviour: Arc<Behaviour>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Behaviour {
    broken: Mutex<Vec<String>>,
    /// Machines whose configurations fail, with what they say.
    failing: Mutex<BTreeMap<String, String>>,
    /// The version of Kubernetes in each commit, where that can be told.
    versions: Mutex<BTreeMap<String, String>>,
    /// Which configuration each machine carries.
    carries: Mutex<BTreeMap<String, String>>,
    /// Machines in the order in which they were changed: name and commit.
    log: Mutex<Vec<(String, String)>>,
}

impl MachineLayer {
    pub(crate) fn start(client: Client, new_cluster: Client) -> Self {
        let behaviour = Arc::new(Behaviour::default());
        let worker = Worker {
            client,
            new_cluster,
            behaviour: behaviour.clone(),
        };
        Self {
            behaviour,
            task: tokio::spawn(worker.run()),
        }
    }

    /// From now on configurations of `machine` fail, and nothing more is tried.
    pub(crate) fn fail(&self, machine: &str, message: &str) {
        let mut failing = self.behaviour.failing.lock().unwrap();
        failing.insert(machine.to_owned(), message.to_owned());
    }

    /// From now on configurations of `machine` are applied.
    pub(crate) fn succeed(&self, machine: &str) {
        self.behaviour.failing.lock().unwrap().remove(machine);
    }

    /// What is of `commit` runs this version of Kubernetes.
    pub(crate) fn is_of_version(&self, commit: &str, version: &str) {
        let mut versions = self.behaviour.versions.lock().unwrap();
        versions.insert(commit.to_owned(), version.to_owned());
    }

    /// Machines and commits in the order in which they were applied.
    pub(crate) fn log(&self) -> Vec<(String, String)> {
        self.behaviour.log.lock().unwrap().clone()
    }

    pub(crate) fn assert_no_rule_was_broken(&self) {
        assert_eq!(*self.behaviour.broken.lock().unwrap(), [""; 0]);
    }
}

impl Drop for MachineLayer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Worker {
    client: Client,
    new_cluster: Client,
    behaviour: Arc<Behaviour>,
}

impl Worker {
    async fn run(self) {
        let configurations: Api<NixosConfiguration> = self.configurations();
        let changes = watcher(configurations, watcher::Config::default())
            .default_backoff()
            .applied_objects();
        let mut changes = changes.boxed();
        while let Ok(Some(configuration)) = changes.try_next().await {
            // A conflict shows up as a newer version of the object, which comes next.
            let _ = self.work(&configuration.name_any()).await;
        }
    }

    fn configurations(&self) -> Api<NixosConfiguration> {
        Api::namespaced(self.client.clone(), "default")
    }

    async fn work(&self, name: &str) -> Result<(), kube::Error> {
        let Some(configuration) = self.configurations().get_opt(name).await? else {
            return Ok(());
        };
        let machine = configuration.spec.machine_ref.name.clone();
        if configuration.metadata.deletion_timestamp.is_some() {
            return self.remove(&configuration, &machine).await;
        }
        let finalizers = configuration.finalizers();
        if !finalizers
            .iter()
            .any(|finalizer| finalizer == labels::CONFIGURATION_FINALIZER)
        {
            // From here on the configuration cannot vanish under our hands.
            let version = configuration.resource_version();
            self.set_finalizers(name, version, &[labels::CONFIGURATION_FINALIZER])
                .await?;
        }
        self.check(&configuration, &machine).await?;
        self.apply(&configuration, name, &machine).await
    }

    /// A machine carries one configuration, of the cluster that claimed it.
    async fn check(
        &self,
        configuration: &NixosConfiguration,
        machine: &str,
    ) -> Result<(), kube::Error> {
        let name = configuration.name_any();
        let machines: Api<Machine> = Api::namespaced(self.client.clone(), "default");
        let found = machines.get_opt(machine).await?;
        let claimed = found
            .as_ref()
            .and_then(|found| found.label(labels::CLUSTER));
        let cluster = configuration
            .labels()
            .get(labels::CLUSTER)
            .map(String::as_str);
        let mut broken = self.behaviour.broken.lock().unwrap();
        if found.is_some() && claimed != cluster {
            broken.push(format!(
                "{name} is of {cluster:?}, and {machine} is claimed by {claimed:?}"
            ));
        }
        let mut carries = self.behaviour.carries.lock().unwrap();
        let first = carries
            .entry(machine.to_owned())
            .or_insert_with(|| name.clone());
        if *first != name {
            broken.push(format!("{machine} has {first} and {name}"));
        }
        Ok(())
    }

    async fn apply(
        &self,
        configuration: &NixosConfiguration,
        name: &str,
        machine: &str,
    ) -> Result<(), kube::Error> {
        let generation = configuration.metadata.generation;
        let status = configuration.status.as_ref();
        let failure = self.behaviour.failing.lock().unwrap().get(machine).cloned();
        if status.and_then(|status| status.observed_generation) == generation && failure.is_none() {
            return Ok(());
        }
        let commit = configuration.spec.reference.clone();
        let version = self
            .behaviour
            .versions
            .lock()
            .unwrap()
            .get(&commit)
            .cloned();
        let condition = |kind: &str, truth: &str, reason: &str, message: &str| {
            json!({"type": kind, "status": truth, "reason": reason, "message": message,
                "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": generation})
        };
        let status = match failure {
            None if configuration.spec.hold => json!({"observedGeneration": generation,
                "staged": {"commit": commit, "systemPath": "/nix/store/system",
                    "kubernetesVersion": version},
                "conditions": [condition("Ready", "False", "Staged", "waits for its turn")]}),
            Some(message) => json!({"observedGeneration": generation, "conditions": [
                condition("Ready", "False", "EvaluationFailed", &message),
                condition("Stalled", "True", "WaitingForChange", ""),
            ]}),
            None => {
                self.start_node(machine, version).await?;
                self.note_on_machine(
                    machine,
                    json!({"hasConfiguration": true, "appliedConfiguration": name}),
                )
                .await?;
                self.behaviour
                    .log
                    .lock()
                    .unwrap()
                    .push((machine.to_owned(), commit.clone()));
                json!({"observedGeneration": generation, "appliedCommit": commit, "conditions": [
                    condition("Ready", "True", "Applied", "runs what is wanted"),
                ]})
            }
        };
        let patch = Patch::Merge(json!({"status": status}));
        self.configurations()
            .patch_status(name, &PatchParams::default(), &patch)
            .await
            .map(drop)
    }

    async fn remove(
        &self,
        configuration: &NixosConfiguration,
        machine: &str,
    ) -> Result<(), kube::Error> {
        // Without its Machine nobody gets to a host, which goes on with what it runs.
        let machines: Api<Machine> = Api::namespaced(self.client.clone(), "default");
        if machines.get_opt(machine).await?.is_some() {
            let nodes: Api<Node> = Api::all(self.new_cluster.clone());
            match set_node_ready(&nodes, machine, false).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                other => other?,
            }
        }
        let cleared = json!({"hasConfiguration": false, "appliedConfiguration": null});
        self.note_on_machine(machine, cleared).await?;
        self.behaviour.carries.lock().unwrap().remove(machine);
        let others: Vec<&str> = configuration
            .finalizers()
            .iter()
            .map(String::as_str)
            .filter(|finalizer| *finalizer != labels::CONFIGURATION_FINALIZER)
            .collect();
        self.set_finalizers(
            &configuration.name_any(),
            configuration.resource_version(),
            &others,
        )
        .await
    }

    async fn note_on_machine(&self, machine: &str, status: Value) -> Result<(), kube::Error> {
        let machines: Api<Machine> = Api::namespaced(self.client.clone(), "default");
        let patch = Patch::Merge(json!({"status": status}));
        match machines
            .patch_status(machine, &PatchParams::default(), &patch)
            .await
        {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop),
        }
    }

    async fn set_finalizers(
        &self,
        name: &str,
        version: Option<String>,
        finalizers: &[&str],
    ) -> Result<(), kube::Error> {
        let patch = Patch::Merge(
            json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}}),
        );
        self.configurations()
            .patch(name, &PatchParams::default(), &patch)
            .await
            .map(drop)
    }

    async fn start_node(&self, machine: &str, version: Option<String>) -> Result<(), kube::Error> {
        let nodes: Api<Node> = Api::all(self.new_cluster.clone());
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": machine}});
        let node = serde_json::from_value(node).unwrap();
        match nodes.create(&PostParams::default(), &node).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            other => {
                other?;
                self.start_pod(machine).await?;
            }
        }
        if let Some(version) = version {
            let info = json!({"architecture": "", "bootID": "", "containerRuntimeVersion": "",
                "kernelVersion": "", "kubeProxyVersion": "", "machineID": "", "operatingSystem": "",
                "osImage": "", "systemUUID": "", "kubeletVersion": format!("v{version}")});
            let patch = Patch::Merge(json!({"status": {"nodeInfo": info}}));
            let parameters = PatchParams::default();
            nodes.patch_status(machine, &parameters, &patch).await?;
        }
        set_node_ready(&nodes, machine, true).await
    }

    /// A Pod that a drain has to move, and that ends at once.
    async fn start_pod(&self, machine: &str) -> Result<(), kube::Error> {
        let pods: Api<Pod> = Api::namespaced(self.new_cluster.clone(), "default");
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("on-{machine}")},
            "spec": {"nodeName": machine, "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "main", "image": "registry.example/main"}]}});
        let pod = serde_json::from_value(pod).unwrap();
        match pods.create(&PostParams::default(), &pod).await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            other => other.map(drop),
        }
    }
}

/// Sets whether a Node is Ready.
pub(crate) async fn set_node_ready(
    nodes: &Api<Node>,
    name: &str,
    ready: bool,
) -> Result<(), kube::Error> {
    let truth = if ready { "True" } else { "Unknown" };
    let status = json!({"status": {"conditions": [
        {"type": "Ready", "status": truth, "reason": "Test", "message": "kubelet stopped posting status"},
    ]}});
    nodes
        .patch_status(name, &PatchParams::default(), &Patch::Merge(status))
        .await
        .map(drop)
}
