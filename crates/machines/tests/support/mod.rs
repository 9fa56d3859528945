//! A management cluster, the machine layer in a task that can be killed, and a
//! Git repository with a flake that needs no nixpkgs.

#![allow(dead_code, reason = "each test file uses its part of what they share")]

pub mod lab;

use std::fmt::Debug;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Client, Resource, ResourceExt};
use nico_api::condition;
use nico_api::machine::conditions::REACHABLE;
use nico_api::nixos_configuration::conditions::READY;
use nico_api::{Machine, NixosConfiguration};
use nico_machines::{Metrics, Settings};
use nico_runtime::context::Context;
use nico_runtime::events::Events;
use nico_testbed::ControlPlane;
use prometheus_client::registry::Registry;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Whether `git` is there. Says loudly when a test is skipped because it is not.
pub fn git_is_missing() -> bool {
    let missing = Command::new("git").arg("--version").output().is_err();
    if missing {
        nico_sandbox::tools::skip("this test needs git in PATH");
    }
    missing
}

/// Nothing that a test waits for takes longer, on a machine that is busy with other tests.
const DEADLINE: Duration = Duration::from_secs(120);

/// The management cluster and the operator's directory.
pub struct Cluster {
    pub client: Client,
    pub repository: Repository,
    directory: TempDir,
    control_plane: ControlPlane,
}

/// The machine layer at work. Killed, like by SIGKILL, when it is dropped.
pub struct Operator {
    /// Its metrics.
    pub registry: Registry,
    task: JoinHandle<()>,
    shutdown: CancellationToken,
}

impl Cluster {
    pub async fn start() -> Self {
        let control_plane = ControlPlane::start().await.unwrap();
        let client = control_plane.client().await.unwrap();
        let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
        for (_, crd) in nico_api::crds::all() {
            crds.create(&PostParams::default(), &crd).await.unwrap();
            let name = crd.name_any();
            eventually(&crds, &name, |crd| {
                let status = crd.status.as_ref();
                let conditions = status.and_then(|status| status.conditions.as_ref());
                conditions.is_some_and(|conditions| {
                    conditions
                        .iter()
                        .any(|it| it.type_ == "Established" && it.status == "True")
                })
            })
            .await;
        }
        let directory = TempDir::new().unwrap();
        let home = directory.path().join("home/.config/nix");
        std::fs::create_dir_all(&home).unwrap();
        let store = directory.path().join("store");
        std::fs::write(
            home.join("nix.conf"),
            format!(
                // A store of its own, in which Nix builds only in a sandbox, which has to see a
                // shell: nothing of this machine is written.
                "store = local?root={}\nsandbox-paths = /bin /usr /lib /lib64\n\
                 build-users-group =\nsubstitute = false\n",
                store.display()
            ),
        )
        .unwrap();
        Self {
            client,
            repository: Repository::create(),
            directory,
            control_plane,
        }
    }

    /// Where nobody answers at the address of the Machine `m`, with an operator. `None`, said
    /// loudly, where there is no `git`.
    pub async fn with_unreachable_machine() -> Option<(Self, Operator)> {
        if git_is_missing() {
            return None;
        }
        let cluster = Self::start().await;
        let operator = cluster.operator();
        cluster.machine("m", "192.0.2.1").await;
        Some((cluster, operator))
    }

    /// Starts the machine layer as a new process would find it.
    pub fn operator(&self) -> Operator {
        self.operator_with(|_| {})
    }

    /// The same, with other settings than those of the tests.
    pub fn operator_with(&self, change: impl FnOnce(&mut Settings)) -> Operator {
        let mut settings = Settings::default();
        settings.configurations.base_path = self.directory.path().to_owned();
        settings.configurations.allow_file_urls = true;
        settings.configurations.reconcile_interval = Duration::from_secs(2);
        settings.configurations.substitute_on_destination = false;
        settings.configurations.backoff.base = Duration::from_millis(200);
        settings.machines.discovery_interval = Duration::from_secs(2);
        change(&mut settings);
        let shutdown = CancellationToken::new();
        let context = Context {
            client: self.client.clone(),
            events: Events::new(self.client.clone(), "test"),
            shutdown: shutdown.clone(),
            namespace: "default".to_owned(),
        };
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let task = tokio::spawn(async move {
            nico_machines::run(context, settings, metrics)
                .await
                .unwrap();
        });
        Operator {
            registry,
            task,
            shutdown,
        }
    }

    pub fn configurations(&self) -> Api<NixosConfiguration> {
        Api::namespaced(self.client.clone(), "default")
    }

    pub fn machines(&self) -> Api<Machine> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// What an operator keeps while it works on an attempt.
    pub fn attempts(&self) -> usize {
        let attempts = self.directory.path().join("attempts");
        std::fs::read_dir(attempts).map_or(0, Iterator::count)
    }

    /// The operator's directory.
    pub fn base_path(&self) -> &Path {
        self.directory.path()
    }

    pub async fn apply(&self, manifest: Value) {
        let manifest: kube::core::DynamicObject = serde_json::from_value(manifest).unwrap();
        let types = manifest.types.clone().unwrap();
        let gvk = kube::core::GroupVersionKind::try_from(types).unwrap();
        let resource = kube::core::ApiResource::from_gvk(&gvk);
        let api: Api<kube::core::DynamicObject> =
            Api::namespaced_with(self.client.clone(), "default", &resource);
        let parameters = PatchParams::apply("test").force();
        let name = manifest.name_any();
        api.patch(&name, &parameters, &Patch::Apply(&manifest))
            .await
            .unwrap();
    }

    pub async fn secret(&self, name: &str, key: &str, value: &str) {
        self.apply(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name},
            "stringData": {key: value},
        }))
        .await;
    }

    /// A machine that is reached at `address`, with the key in the Secret `machine-key`.
    pub async fn machine(&self, name: &str, address: &str) {
        self.apply(json!({
            "apiVersion": "nio.homystack.com/v1alpha1", "kind": "Machine",
            "metadata": {"name": name},
            "spec": {"ipAddress": address, "sshKeySecretRef": {"name": "machine-key"}},
        }))
        .await;
    }

    /// A machine whose SSH server listens there, with the key in the Secret `machine-key`.
    pub async fn machine_at(&self, name: &str, address: std::net::SocketAddr) {
        self.apply(json!({
            "apiVersion": "nio.homystack.com/v1alpha1", "kind": "Machine",
            "metadata": {"name": name},
            "spec": {
                "ipAddress": address.ip().to_string(), "sshPort": address.port(),
                "sshKeySecretRef": {"name": "machine-key"},
            },
        }))
        .await;
    }

    /// A configuration of the output `web` for the machine of the same name, with changes.
    pub async fn configuration(&self, name: &str, machine: &str, change: Value) {
        let mut spec = json!({
            "gitRepo": self.repository.url(),
            "flake": "#web",
            "configurationSubdir": "hosts",
            "onRemoveFlake": "#minimal",
            "machineRef": {"name": machine},
        });
        for (field, value) in change.as_object().unwrap() {
            spec[field] = value.clone();
        }
        self.apply(json!({
            "apiVersion": "nio.homystack.com/v1alpha1", "kind": "NixosConfiguration",
            "metadata": {"name": name},
            "spec": spec,
        }))
        .await;
    }

    pub async fn annotate(&self, name: &str, annotation: &str, value: &str) {
        let patch = json!({"metadata": {"annotations": {annotation: value}}});
        self.configurations()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    pub async fn delete(&self, name: &str) {
        self.configurations()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    /// Waits until a Machine is reachable, or not, for this reason, and gives the condition.
    pub async fn reachable(&self, name: &str, reason: &str) -> Condition {
        let of = |machine: &Machine| {
            let status = machine.status.as_ref()?;
            condition::find(&status.conditions, REACHABLE).cloned()
        };
        let is_it = |machine: &Machine| of(machine).is_some_and(|it| it.reason == reason);
        of(&eventually(&self.machines(), name, is_it).await).unwrap()
    }

    /// Waits until a configuration is Ready, or not, for this reason at its newest generation.
    pub async fn reason(&self, name: &str, reason: &str) -> NixosConfiguration {
        eventually(&self.configurations(), name, |configuration| {
            let status = configuration.status.as_ref();
            let ready = status.and_then(|status| condition::find(&status.conditions, READY));
            ready.is_some_and(|ready| {
                ready.reason == reason
                    && ready.observed_generation == configuration.metadata.generation
            })
        })
        .await
    }

    /// Waits until a configuration has this commit applied.
    pub async fn commit(&self, name: &str, commit: &str) -> NixosConfiguration {
        eventually(&self.configurations(), name, |configuration| {
            let status = configuration.status.as_ref();
            status.is_some_and(|status| {
                status.applied_commit.as_deref() == Some(commit)
                    && condition::is_true(&status.conditions, READY)
            })
        })
        .await
    }

    pub async fn stop(self) {
        self.control_plane.shutdown().await;
    }
}

impl Operator {
    /// Ends it at once, whatever it does.
    pub async fn kill(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Asks it to end, and waits until it has.
    pub async fn shut_down(mut self) {
        self.shutdown.cancel();
        (&mut self.task).await.unwrap();
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The message of the condition of type `kind`.
pub fn message(configuration: &NixosConfiguration, kind: &str) -> String {
    let status = configuration.status.as_ref().unwrap();
    condition::find(&status.conditions, kind)
        .unwrap()
        .message
        .clone()
}

/// Waits until an object is as it should be. Fails with what it was last.
pub async fn eventually<K>(api: &Api<K>, name: &str, is_right: impl Fn(&K) -> bool) -> K
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let end = Instant::now() + DEADLINE;
    let mut last = None;
    while Instant::now() < end {
        let version = match api.get_opt(name).await.unwrap() {
            Some(object) if is_right(&object) => return object,
            Some(object) => {
                let version = object.resource_version().unwrap();
                last = Some(object);
                version
            }
            None => "0".to_owned(),
        };
        next_change(api, name, &version).await;
    }
    panic!("{name} did not become what it should within {DEADLINE:?}; it is {last:#?}");
}

/// Waits until an object is gone.
pub async fn gone<K>(api: &Api<K>, name: &str)
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let end = Instant::now() + DEADLINE;
    while let Some(object) = api.get_opt(name).await.unwrap() {
        assert!(Instant::now() < end, "{name} is still there: {object:#?}");
        next_change(api, name, &object.resource_version().unwrap()).await;
    }
}

/// Waits for a change after `version`, or a while.
async fn next_change<K>(api: &Api<K>, name: &str, version: &str)
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let parameters = WatchParams::default()
        .fields(&format!("metadata.name={name}"))
        .timeout(5);
    let watch = api.watch(&parameters, version).await.unwrap();
    let mut changes = watch.boxed();
    while let Some(change) = changes.next().await {
        match change {
            Ok(WatchEvent::Bookmark(_)) => {}
            _ => return,
        }
    }
}

/// A Git repository with a flake of two systems. `web` needs the additional file `token`.
pub struct Repository(TempDir);

/// Notes every activation, waits while there is `/var/hold`, and is then the running system, as
/// its namesake in NixOS does.
const SWITCH: &str = r#"#!/bin/sh
system=$(readlink -f "$0")
system=${system%/bin/switch-to-configuration}
echo "$1 $system" >>/var/log/switches
while [ -e /var/hold ]; do sleep 0.05; done
[ "$1" = boot ] || ln -sfn "$system" /run/current-system
"#;

/// `${../shared}` is above the directory of the flake; `token` is an additional file.
const FLAKE: &str = r#"{
  outputs = { self }:
    let
      system = name: content: {
        config.system.build.toplevel = derivation {
          name = "nixos-system-${name}";
          system = "x86_64-linux";
          builder = "/bin/sh";
          args = [ "-c" ''
            /bin/mkdir -p $out/bin
            /bin/cat ${../switch} > $out/bin/switch-to-configuration
            /bin/chmod +x $out/bin/switch-to-configuration
            echo "$content" > $out/content
          '' ];
          inherit content;
        };
      };
    in {
      nixosConfigurations.web = system "web" (builtins.readFile ./content + builtins.readFile ./token);
      nixosConfigurations.minimal = system "minimal" "minimal";
    };
}
"#;

impl Repository {
    fn create() -> Self {
        let repository = Self(TempDir::new().unwrap());
        repository.git(&["init", "--quiet", "--initial-branch=main", "."]);
        repository.write("switch", SWITCH);
        repository.write("hosts/flake.nix", FLAKE);
        repository.write("hosts/content", "one ");
        repository.write("hosts/token", "");
        repository.commit();
        repository
    }

    pub fn url(&self) -> String {
        format!("file://{}", self.0.path().display())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, path: &str, content: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Commits everything, and gives the commit.
    pub fn commit(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "-m", "a change"]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
            .args(arguments)
            .current_dir(self.0.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// Waits until something outside of the cluster holds; gives whether it came to that.
pub async fn came(holds: impl Fn() -> bool) -> bool {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        if Instant::now() >= end {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}
