//! A control plane with the CRDs and the Machine controller, for one test.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use nico_api::{Machine, MachineSpec, condition, crds};
use nico_machines::{Metrics, Settings};
use nico_runtime::context::Context;
use nico_runtime::events::Events;
use nico_ssh::test_server::{Behaviour, PrivateKey, TestServer, pem};
use nico_testbed::ControlPlane;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

const NAMESPACE: &str = "default";
const OPERATOR_NAMESPACE: &str = "kube-system";

/// Long enough for a busy machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) client: Client,
    registry: Registry,
    _control_plane: ControlPlane,
    running: JoinHandle<Result<(), nico_machines::Error>>,
    shutdown: DropGuard,
}

/// What a test waits for: a condition of this type with this reason.
pub(crate) struct Settled(pub(crate) &'static str, pub(crate) &'static str);

pub(crate) trait Expectation {
    fn holds(&self, machine: &Machine) -> bool;
}

impl Expectation for Settled {
    fn holds(&self, machine: &Machine) -> bool {
        condition_of(machine, self.0).is_some_and(|found| found.reason == self.1)
    }
}

impl<F: Fn(&Machine) -> bool> Expectation for F {
    fn holds(&self, machine: &Machine) -> bool {
        self(machine)
    }
}

impl World {
    /// Intervals are long, so that every probe in a test has a cause.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(
        adjust: impl FnOnce(&mut nico_machines::machine::Settings),
    ) -> Self {
        let control_plane = ControlPlane::start().await.expect("the API starts");
        let client = control_plane.client().await.expect("a client");
        install_crds(&client).await;

        let shutdown = CancellationToken::new();
        let context = Context {
            events: Events::new(client.clone(), "nico-operator"),
            client: client.clone(),
            shutdown: shutdown.clone(),
            namespace: OPERATOR_NAMESPACE.to_owned(),
        };
        let mut settings = Settings::default();
        settings.machines.discovery_interval = Duration::from_secs(3600);
        settings.machines.hardware_scan_interval = Duration::from_secs(3600);
        adjust(&mut settings.machines);
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let running = tokio::spawn(nico_machines::run(context, settings, metrics));
        Self {
            client,
            registry,
            _control_plane: control_plane,
            running,
            shutdown: shutdown.drop_guard(),
        }
    }

    /// Asks the operator to end and waits until it has.
    pub(crate) async fn stop(self) {
        drop(self.shutdown);
        let outcome = in_time(self.running)
            .await
            .expect("the operator does not panic");
        outcome.expect("the operator ends because it was asked to");
    }

    pub(crate) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    pub(crate) fn operator_secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), OPERATOR_NAMESPACE)
    }

    fn machines(&self) -> Api<Machine> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    pub(crate) async fn create_key(&self, name: &str, key: &PrivateKey) {
        self.create_secret(name, &[("ssh-privatekey", &pem(key))])
            .await;
    }

    pub(crate) async fn create_secret(&self, name: &str, data: &[(&str, &str)]) {
        let data = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            string_data: Some(data.collect()),
            ..Secret::default()
        };
        self.secrets()
            .create(&PostParams::default(), &secret)
            .await
            .expect("the Secret is new");
    }

    pub(crate) async fn create(&self, name: &str, spec: MachineSpec) {
        let machine = Machine::new(name, spec);
        self.machines()
            .create(&PostParams::default(), &machine)
            .await
            .expect("a valid Machine");
    }

    /// Creates an object of kind Machine with anything in its spec.
    pub(crate) async fn create_raw(&self, name: &str, spec: Value) {
        let resource = ApiResource::erase::<Machine>(&());
        let machine = DynamicObject::new(name, &resource).data(json!({"spec": spec}));
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), NAMESPACE, &resource);
        api.create(&PostParams::default(), &machine)
            .await
            .expect("anything goes");
    }

    pub(crate) async fn patch(&self, name: &str, patch: Value) {
        let patch = Patch::Merge(patch);
        self.machines()
            .patch(name, &PatchParams::default(), &patch)
            .await
            .expect("a valid patch");
    }

    pub(crate) async fn annotate(&self, name: &str, annotation: &str, value: &str) {
        self.patch(
            name,
            json!({"metadata": {"annotations": {annotation: value}}}),
        )
        .await;
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.machines()
            .delete(name, &DeleteParams::default())
            .await
            .expect("it is there");
    }

    pub(crate) async fn machine(&self, name: &str) -> Machine {
        self.machines().get(name).await.expect("it is there")
    }

    /// Waits until the Machine is as expected, and gives it.
    pub(crate) async fn settle(&self, name: &str, expected: impl Expectation) -> Machine {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut last = None;
        let found = wait_for(self.machines(), config, |machine| {
            last = Some(machine.clone());
            expected.holds(machine)
        })
        .await;
        found.unwrap_or_else(|| panic!("Machine {name} did not become as expected: {last:#?}"))
    }

    /// Waits for an event on the Machine of that name and gives its note.
    pub(crate) async fn wait_for_event(&self, machine: &str, reason: &str) -> String {
        let events: Api<Event> = Api::namespaced(self.client.clone(), NAMESPACE);
        let found = wait_for(events, watcher::Config::default(), |event| {
            let regarding = event
                .regarding
                .as_ref()
                .and_then(|object| object.name.as_deref());
            regarding == Some(machine) && event.reason.as_deref() == Some(reason)
        })
        .await;
        let event = found.unwrap_or_else(|| panic!("no event {reason} on {machine}"));
        event.note.unwrap_or_default()
    }

    pub(crate) async fn wait_for_metric(&self, line: &str) {
        self.wait_for_metrics(|text| text.contains(line)).await;
    }

    /// Metrics have no watch: the page is read again whenever a Machine may have changed, and at
    /// short intervals.
    pub(crate) async fn wait_for_metrics(&self, expected: impl Fn(&str) -> bool) {
        let read = || {
            let mut text = String::new();
            encode(&mut text, &self.registry).expect("metrics can be written");
            text
        };
        let poll = async {
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            while !expected(&read()) {
                tick.tick().await;
            }
        };
        let outcome = tokio::time::timeout(PATIENCE, poll).await;
        assert!(
            outcome.is_ok(),
            "metrics did not become as expected:\n{}",
            read()
        );
    }

    /// Takes the schema of Machines away, as an older version of the CRD might have had none.
    pub(crate) async fn accept_any_machine(&self) {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let schema = json!([{
            "op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema",
            "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }]);
        let patch = Patch::Json::<()>(serde_json::from_value(schema).expect("a patch"));
        let name = "machines.nio.homystack.com";
        api.patch(name, &PatchParams::default(), &patch)
            .await
            .expect("a valid CRD");
    }
}

async fn install_crds(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for (_, crd) in crds::all() {
        api.create(&PostParams::default(), &crd)
            .await
            .expect("a valid CRD");
    }
    for (_, crd) in crds::all() {
        let config =
            watcher::Config::default().fields(&format!("metadata.name={}", crd.name_any()));
        wait_for(api.clone(), config, |crd| {
            let conditions = crd
                .status
                .as_ref()
                .and_then(|status| status.conditions.as_ref());
            conditions
                .into_iter()
                .flatten()
                .any(|found| found.type_ == "Established" && found.status == "True")
        })
        .await
        .expect("the CRD is established");
    }
}

async fn wait_for<K>(
    api: Api<K>,
    config: watcher::Config,
    mut expected: impl FnMut(&K) -> bool,
) -> Option<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let objects = watcher(api, config).default_backoff().applied_objects();
    let found = objects
        .into_stream()
        .filter_map(|object| std::future::ready(object.ok()))
        .filter(|object| std::future::ready(expected(object)));
    let mut found = std::pin::pin!(found);
    tokio::time::timeout(PATIENCE, found.next())
        .await
        .ok()
        .flatten()
}

pub(crate) fn condition_of<'a>(machine: &'a Machine, kind: &str) -> Option<&'a Condition> {
    condition::find(&machine.status.as_ref()?.conditions, kind)
}

pub(crate) fn reason_of<'a>(machine: &'a Machine, kind: &str) -> &'a str {
    condition_of(machine, kind).map_or("", |found| &found.reason)
}

/// Waits for something that must not take long.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it happens in time")
}

/// Starts a server at an address where another one has just stopped.
pub(crate) async fn listen_again(address: SocketAddr, behaviour: Behaviour) -> TestServer {
    let start = async {
        loop {
            match TestServer::start_at(address, behaviour.clone()).await {
                Ok(server) => return server,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    in_time(start).await
}
