//! A management cluster, machines, a machine layer, a new cluster, and an operator.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Config, Resource, ResourceExt};
use nico_api::kubernetes_cluster::KubernetesClusterStatus;
use nico_api::{KubernetesCluster, Machine, NixosConfiguration, condition};
use nico_apiserver::Server;
use nico_clusters::kubeconfig::{HostError, Hosts, Script};
use nico_clusters::plan::Intervals;
use nico_clusters::{Metrics, Settings};
use nico_runtime::context::Context;
use nico_runtime::events::Events;
use nico_testbed::ControlPlane;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::machine_layer::MachineLayer;
use crate::writes::{CrashPoint, Side, USER, Writes};

/// Waits no longer than this for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A commit that needs no repository to be resolved.
pub(crate) const COMMIT: &str = "1111111111111111111111111111111111111111";

/// Whoever may do everything.
const MASTERS: [&str; 1] = ["system:masters"];

pub(crate) struct Lab {
    management: ControlPlane,
    new_cluster: ControlPlane,
    pub(crate) client: Client,
    pub(crate) new_client: Client,
    pub(crate) layer: MachineLayer,
    /// What the machines have: the kubeconfig of a user that the rules of [`Writes`] can tell
    /// from the machine layer.
    pub(crate) kubeconfigs: Arc<Kubeconfigs>,
    /// How often an operator looks at a cluster of which it hears nothing.
    pub(crate) intervals: Intervals,
    /// How often an operator looks whether the kubeconfig changed.
    pub(crate) kubeconfig_interval: Duration,
}

/// An operator that runs. Dropping it is like killing the process.
pub(crate) struct Operator {
    task: JoinHandle<()>,
    registry: Registry,
}

impl Operator {
    /// What it would answer a request for its metrics.
    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Every machine has the kubeconfig of the new cluster, as k3s writes it.
pub(crate) struct Kubeconfigs(Mutex<String>);

impl Kubeconfigs {
    pub(crate) fn new(text: String) -> Self {
        Self(Mutex::new(text))
    }

    /// From now on the machines have this one.
    pub(crate) fn replace(&self, text: String) {
        *self.0.lock().unwrap() = text;
    }
}

#[async_trait]
impl Hosts for Kubeconfigs {
    async fn run(&self, _: &Machine, script: Script) -> Result<nico_ssh::Output, HostError> {
        assert!(script.0.contains("/etc/rancher/k3s/k3s.yaml"));
        Ok(nico_ssh::Output {
            status: 0,
            stdout: format!("/etc/rancher/k3s/k3s.yaml\n{}", self.0.lock().unwrap()).into_bytes(),
            stderr: vec![],
        })
    }
}

impl Lab {
    /// Starts everything but the operator, with `machines` that answer and run NixOS.
    pub(crate) async fn start(machines: &[&str]) -> Self {
        let planes = tokio::try_join!(ControlPlane::start(), ControlPlane::start());
        Self::on(planes.unwrap(), machines).await
    }

    /// The same on the embedded API server, whose faults a test needs, always.
    pub(crate) async fn start_embedded(machines: &[&str]) -> Self {
        let start = ControlPlane::start_embedded;
        Self::on(tokio::try_join!(start(), start()).unwrap(), machines).await
    }

    async fn on(planes: (ControlPlane, ControlPlane), machines: &[&str]) -> Self {
        let (management, new_cluster) = planes;
        let client = client(management.kubeconfig()).await;
        let new_client = self::client(new_cluster.kubeconfig()).await;
        install(&client).await;
        let kubeconfig = match new_cluster.embedded() {
            Some(server) => server.kubeconfig_for(USER, &MASTERS).unwrap(),
            None => new_cluster.kubeconfig().to_owned(),
        };
        let lab = Self {
            kubeconfigs: Arc::new(Kubeconfigs::new(kubeconfig)),
            intervals: Intervals {
                starting: Duration::from_millis(100),
                unready: Duration::from_millis(500),
                ready: Duration::from_millis(500),
            },
            kubeconfig_interval: Duration::from_secs(600),
            layer: MachineLayer::start(client.clone(), new_client.clone()),
            management,
            new_cluster,
            client,
            new_client,
        };
        for machine in machines {
            lab.add_machine(machine).await;
        }
        lab
    }

    /// Starts an operator.
    pub(crate) async fn operator(&self) -> Operator {
        self.operator_with(client(self.management.kubeconfig()).await)
    }

    /// Starts an operator that is stopped dead after a number of writes to one of the embedded
    /// API servers.
    pub(crate) async fn operator_that_stops(&self, at: CrashPoint) -> (Operator, Writes) {
        let writes = Writes::until(at, |side| self.server(side));
        let management = self.server(Side::Management);
        let kubeconfig = management.kubeconfig_for(USER, &MASTERS).unwrap();
        (self.operator_with(client(&kubeconfig).await), writes)
    }

    pub(crate) fn server(&self, side: Side) -> &Server {
        let plane = match side {
            Side::Management => &self.management,
            Side::NewCluster => &self.new_cluster,
        };
        plane.embedded().unwrap()
    }

    /// A client whose writes are counted, by the embedded API servers.
    pub(crate) async fn counted(&self) -> (Client, Writes) {
        let writes = Writes::until(CrashPoint::NEVER, |side| self.server(side));
        let kubeconfig = self.server(Side::Management).kubeconfig_for(USER, &MASTERS);
        (client(&kubeconfig.unwrap()).await, writes)
    }

    fn operator_with(&self, client: Client) -> Operator {
        let context = Context {
            events: Events::new(client.clone(), "nico-operator"),
            client,
            shutdown: CancellationToken::new(),
            namespace: "default".to_owned(),
        };
        let settings = Settings {
            intervals: self.intervals,
            source_interval: Duration::from_millis(200),
            source_retry: Duration::from_millis(200),
            kubeconfig_interval: self.kubeconfig_interval,
            allow_file_urls: true,
            ..Settings::default()
        };
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let hosts = self.kubeconfigs.clone();
        let task = tokio::spawn(async move {
            nico_clusters::run_with(context, settings, metrics, hosts)
                .await
                .unwrap();
        });
        Operator { task, registry }
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    pub(crate) fn nodes(&self) -> Api<Node> {
        Api::all(self.new_client.clone())
    }

    pub(crate) async fn add_machine(&self, name: &str) {
        let role = name.split('-').next().unwrap();
        let machine = json!({
            "apiVersion": "nio.homystack.com/v1alpha1", "kind": "Machine",
            "metadata": {"name": name, "labels": {"role": role}},
            "spec": {"ipAddress": "127.0.0.1", "hostname": format!("{name}.lan")},
        });
        let machines: Api<Machine> = self.api();
        let machine = serde_json::from_value(machine).unwrap();
        machines
            .create(&PostParams::default(), &machine)
            .await
            .unwrap();
        let status = json!({"status": {
            "discoverable": true, "hasConfiguration": false,
            "hardwareFacts": {"os": {"id": "nixos"}},
        }});
        machines
            .patch_status(name, &PatchParams::default(), &Patch::Merge(status))
            .await
            .unwrap();
    }

    /// Creates a cluster with a spec in the form of the API.
    pub(crate) async fn create(&self, name: &str, spec: Value) {
        let mut spec = spec;
        let fields = spec.as_object_mut().unwrap();
        fields
            .entry("gitRepo")
            .or_insert_with(|| json!("https://git.example/clusters.git"));
        fields.entry("ref").or_insert_with(|| json!(COMMIT));
        let cluster = json!({
            "apiVersion": "nico.homystack.com/v1alpha1", "kind": "KubernetesCluster",
            "metadata": {"name": name}, "spec": spec,
        });
        let clusters: Api<KubernetesCluster> = self.api();
        let cluster = serde_json::from_value(cluster).unwrap();
        clusters
            .create(&PostParams::default(), &cluster)
            .await
            .unwrap();
    }

    pub(crate) async fn status(&self, cluster: &str) -> KubernetesClusterStatus {
        let clusters: Api<KubernetesCluster> = self.api();
        let cluster = clusters.get_opt(cluster).await.unwrap();
        cluster
            .and_then(|cluster| cluster.status)
            .unwrap_or_default()
    }

    /// Waits until a condition of a cluster has `status`; gives its reason and message.
    pub(crate) async fn condition(
        &self,
        cluster: &str,
        kind: &str,
        status: &str,
    ) -> (String, String) {
        eventually(&format!("{cluster} {kind}={status}"), async || {
            let conditions = self.status(cluster).await.conditions;
            let found = condition::find(&conditions, kind)?;
            (found.status == status).then(|| (found.reason.clone(), found.message.clone()))
        })
        .await
    }

    /// Waits until a condition of a cluster has `reason`; gives its message.
    pub(crate) async fn reason(&self, cluster: &str, kind: &str, reason: &str) -> String {
        eventually(
            &format!("{cluster} {kind} because of {reason}"),
            async || {
                let conditions = self.status(cluster).await.conditions;
                let found = condition::find(&conditions, kind)?;
                (found.reason == reason).then(|| found.message.clone())
            },
        )
        .await
    }

    /// Who holds each machine: cluster and role.
    pub(crate) async fn claims(&self) -> BTreeMap<String, (String, String)> {
        let machines: Api<Machine> = self.api();
        let machines = machines.list(&ListParams::default()).await.unwrap();
        machines
            .iter()
            .filter_map(|machine| {
                let label = |name| machine.label(name).map(ToOwned::to_owned);
                let cluster = label(nico_api::labels::CLUSTER)?;
                let role = label(nico_api::labels::ROLE)?;
                Some((machine.name_any(), (cluster, role)))
            })
            .collect()
    }

    pub(crate) async fn names<K>(&self) -> Vec<String>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + serde::de::DeserializeOwned,
    {
        let list = self.api::<K>().list(&ListParams::default()).await.unwrap();
        list.iter().map(ResourceExt::name_any).collect()
    }

    pub(crate) async fn delete(&self, cluster: &str) {
        let clusters: Api<KubernetesCluster> = self.api();
        clusters
            .delete(cluster, &kube::api::DeleteParams::default())
            .await
            .unwrap();
    }

    pub(crate) async fn gone(&self, cluster: &str) {
        eventually(&format!("{cluster} is gone"), async || {
            let clusters: Api<KubernetesCluster> = self.api();
            clusters
                .get_opt(cluster)
                .await
                .unwrap()
                .is_none()
                .then_some(())
        })
        .await;
    }

    /// Checks that nothing of any cluster is left.
    pub(crate) async fn assert_nothing_is_left(&self) {
        assert_eq!(self.names::<KubernetesCluster>().await, [""; 0]);
        assert_eq!(self.names::<NixosConfiguration>().await, [""; 0]);
        assert_eq!(self.names::<Secret>().await, [""; 0]);
        assert_eq!(self.claims().await, BTreeMap::new());
        self.layer.assert_no_rule_was_broken();
    }
}

/// Waits until `probe` gives something.
pub(crate) async fn eventually<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(DEADLINE, what, probe).await
}

/// The same with a deadline of its own.
pub(crate) async fn eventually_within<T>(
    deadline: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    let waiting = async {
        loop {
            interval.tick().await;
            if let Some(found) = probe().await {
                return found;
            }
        }
    };
    match tokio::time::timeout(deadline, waiting).await {
        Ok(found) => found,
        Err(_) => panic!("not within {deadline:?}: {what}"),
    }
}

async fn client(kubeconfig: &str) -> Client {
    Client::try_from(config(kubeconfig).await).unwrap()
}

async fn config(kubeconfig: &str) -> Config {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).unwrap();
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap()
}

async fn install(client: &Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for (_, definition) in nico_api::crds::all() {
        definitions
            .create(&PostParams::default(), &definition)
            .await
            .unwrap();
    }
    eventually("the CRDs are served", async || {
        let namespace = "default";
        let machines: Api<Machine> = Api::namespaced(client.clone(), namespace);
        let configurations: Api<NixosConfiguration> = Api::namespaced(client.clone(), namespace);
        let clusters: Api<KubernetesCluster> = Api::namespaced(client.clone(), namespace);
        let request = ListParams::default();
        machines.list(&request).await.ok()?;
        configurations.list(&request).await.ok()?;
        clusters.list(&request).await.ok().map(drop)
    })
    .await;
}
