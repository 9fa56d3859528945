//! A cluster in the embedded API server, with a user whose every request is logged.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::{Api, Client, Config};
use nico_apiserver::faults::Faults;
use nico_apiserver::storage::{Expected, Memory, Storage};
use nico_apiserver::{Authorization, Server};
use nico_health::collect::{Scope, Wanted, collect};
use nico_health::diagnose::diagnose;
use nico_health::report::Report;
use nico_health::thresholds::Thresholds;
use nico_health::world::{KINDS, Kind, Reach, World};
use serde_json::{Value, json};

/// A user who may read what `rights` says, and nothing else.
const USER_TOKEN: &str = "token-of-rita";

/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(86_400);

/// An API server with an administrator and a user.
pub(crate) struct Cluster {
    pub(crate) server: Server,
    pub(crate) admin: Client,
    pub(crate) user: Client,
    pub(crate) folder: tempfile::TempDir,
}

impl Cluster {
    /// An empty cluster.
    pub(crate) async fn start(rights: Value, faults: Faults) -> Result<Self> {
        Self::start_on(Arc::new(Memory::default()), rights, faults).await
    }

    /// A cluster that has these objects, as one has them whose etcd was restored: through the API
    /// nobody may say when something was made or is to be gone.
    pub(crate) async fn restored(objects: &[Value], rights: Value) -> Result<Self> {
        let storage = Memory::default();
        for (number, object) in objects.iter().enumerate() {
            let mut object = object.clone();
            object["metadata"]["uid"] = json!(format!("restored-{number}"));
            // What owns is seldom among the objects of a test; one ClusterRole stands for it.
            for owner in object["metadata"]["ownerReferences"]
                .as_array_mut()
                .into_iter()
                .flatten()
            {
                owner["uid"] = json!("owner");
            }
            store(&storage, &object).await?;
            let is_going = object["metadata"]["deletionTimestamp"].is_string();
            if object["kind"] == "Namespace" && is_going {
                store(&storage, &holding(&object["metadata"]["name"])).await?;
            }
        }
        store(&storage, &owner()).await?;
        let cluster = Self::start_on(Arc::new(storage), rights, Faults::default()).await?;
        for kind in KINDS.iter().filter(|kind| !kind.is_built_in) {
            let is_it = |object: &Value| kind_of(object).is_some_and(|one| std::ptr::eq(one, kind));
            let is_there = objects.iter().any(is_it);
            if is_there && kind.group != "apiregistration.k8s.io" {
                cluster.define(kind).await?;
            }
        }
        Ok(cluster)
    }

    async fn start_on(storage: Arc<Memory>, rights: Value, faults: Faults) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = Server::builder()
            .storage(storage)
            .authorization(Authorization::Rbac)
            .user_token(USER_TOKEN, "rita", &[])
            .audit_log(folder.path().join("audit"))
            .event_ttl(FOR_EVER)
            .faults(faults)
            .start()
            .await?;
        let admin = client(server.kubeconfig(), None).await?;
        let user = client(server.kubeconfig(), Some(USER_TOKEN)).await?;
        let cluster = Self {
            server,
            admin,
            user,
            folder,
        };
        cluster
            .create(&json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": {"name": "reader"},
                "rules": rights,
            }))
            .await?;
        cluster
            .create(&json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "reader"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "rita"}],
            }))
            .await?;
        Ok(cluster)
    }

    /// Makes an object as the administrator, with its status.
    pub(crate) async fn create(&self, object: &Value) -> Result<()> {
        let kind = object["kind"].as_str().context("it has a kind")?;
        let version = object["apiVersion"].as_str().context("it has a version")?;
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk(group, version, kind),
            &plural(kind),
        );
        let metadata = &object["metadata"];
        let name = metadata["name"].as_str().context("it has a name")?;
        let api: Api<DynamicObject> = match metadata["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.admin.clone(), namespace, &resource),
            None => Api::all_with(self.admin.clone(), &resource),
        };
        let parameters = PatchParams::apply("test").force();
        let applied = api.patch(name, &parameters, &Patch::Apply(object)).await;
        applied.with_context(|| format!("cannot create {kind} {name}"))?;
        if let Some(status) = object.get("status") {
            let mut object = object.clone();
            object["status"] = status.clone();
            let applied = api
                .patch_status(name, &parameters, &Patch::Apply(&object))
                .await;
            applied.with_context(|| format!("cannot set the status of {kind} {name}"))?;
        }
        Ok(())
    }

    /// Serves a kind of custom resources.
    pub(crate) async fn define(&self, kind: &Kind) -> Result<()> {
        let scope = match kind.reach {
            Reach::Cluster => "Cluster",
            Reach::Namespace | Reach::Everywhere => "Namespaced",
        };
        let group = kind.group;
        let mut definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{}.{group}", kind.plural)},
            "spec": {
                "group": group,
                "scope": scope,
                "names": {
                    "plural": kind.plural,
                    "singular": kind.name.to_lowercase(),
                    "kind": kind.name,
                },
                "versions": [{
                    "name": kind.versions[0],
                    "served": true,
                    "storage": true,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": true,
                    }},
                }],
            },
        });
        if group.ends_with(".k8s.io") {
            definition["metadata"]["annotations"] =
                json!({"api-approved.kubernetes.io": "unapproved, for a test"});
        }
        self.create(&definition).await
    }

    /// Puts the kinds of Flux into the cluster.
    pub(crate) async fn with_flux(self) -> Result<Self> {
        for name in ["GitRepository", "Kustomization", "HelmRelease"] {
            let mut kinds = KINDS.iter();
            let kind = kinds.find(|kind| kind.name == name && !kind.is_built_in);
            self.define(kind.context("it is a kind that is read")?)
                .await?;
        }
        self.create(
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "flux-system"}}),
        )
        .await?;
        Ok(self)
    }

    /// What a client sees now, of everything or of one namespace.
    pub(crate) async fn look(&self, client: &Client, namespace: Option<&str>) -> (World, Report) {
        let world = collect(client, &everything(namespace)).await.world;
        let now = jiff::Timestamp::now();
        let report = diagnose(&world, &[], &Thresholds::default(), now);
        (world, report)
    }

    /// The verbs of all requests of the user, as the audit log has them.
    pub(crate) fn verbs_of_user(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(self.folder.path().join("audit"))?;
        let mut verbs = vec![];
        for line in text.lines() {
            let event: Value = serde_json::from_str(line)?;
            if event["user"]["username"] == "rita" {
                verbs.push(event["verb"].as_str().unwrap_or_default().to_owned());
            }
        }
        Ok(verbs)
    }

    /// Fails if the user asked for anything but to read, or for nothing at all.
    pub(crate) fn has_only_been_read(&self) -> Result<()> {
        let verbs = self.verbs_of_user()?;
        anyhow::ensure!(!verbs.is_empty(), "the user asked for nothing");
        let is_read = |verb: &String| ["get", "list"].contains(&verb.as_str());
        anyhow::ensure!(verbs.iter().all(is_read), "the user wrote: {verbs:?}");
        Ok(())
    }
}

/// All that there is, or all that one namespace has to do with.
pub(crate) fn everything(namespace: Option<&str>) -> Scope {
    Scope {
        namespace: namespace.map(str::to_owned),
        wanted: Wanted::Layers(vec![]),
        is_closer: false,
        timeout: Duration::from_secs(60),
    }
}

/// The right to read everything.
pub(crate) fn all_reads() -> Value {
    json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["list", "get", "watch"]}])
}

/// A list of conditions with one, `Ready`.
pub(crate) fn ready(status: &str, reason: &str, message: &str) -> Value {
    json!([{
        "type": "Ready",
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }])
}

/// The repository of Flux, ready.
pub(crate) fn repository() -> Value {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": "flux-system", "namespace": "flux-system"},
        "spec": {"interval": "1m0s", "url": "https://git.example.com/x"},
        "status": {"conditions": ready("True", "Succeeded", "stored artifact")},
    })
}

/// A Kustomization from that repository.
pub(crate) fn kustomization(name: &str, depends_on: Option<&str>, conditions: &Value) -> Value {
    let depends_on: Vec<Value> = depends_on
        .into_iter()
        .map(|name| json!({"name": name}))
        .collect();
    json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": name, "namespace": "flux-system"},
        "spec": {
            "interval": "10m0s",
            "prune": true,
            "sourceRef": {"kind": "GitRepository", "name": "flux-system"},
            "dependsOn": depends_on,
        },
        "status": {"conditions": conditions},
    })
}

/// A Node whose kubelet says this of it.
pub(crate) fn node(name: &str, ready_status: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "status": {"conditions": ready(ready_status, "Kubelet", "as the kubelet says")},
    })
}

/// Writes an object as etcd has it.
async fn store(storage: &Memory, object: &Value) -> Result<()> {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().context("it has a name")?;
    let version = object["apiVersion"].as_str().context("it has a version")?;
    let (group, _) = version.rsplit_once('/').unwrap_or(("", version));
    let plural = match kind_of(object) {
        Some(kind) => kind.plural.to_owned(),
        None => plural(object["kind"].as_str().context("it has a kind")?),
    };
    let key = match metadata["namespace"].as_str() {
        Some(namespace) => format!("{group}/{plural}/{namespace}/{name}"),
        None => format!("{group}/{plural}/{name}"),
    };
    let value = serde_json::to_vec(object)?;
    let written = storage.write(&key, Expected::Absent, Some(value.into()));
    written
        .await
        .with_context(|| format!("{key} is there twice"))?;
    Ok(())
}

/// What holds a namespace that is to be gone.
fn holding(namespace: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "held",
            "namespace": namespace,
            "uid": format!("held-in-{namespace}"),
            "finalizers": ["example.com/held"],
        },
    })
}

/// What owns every object that says that it has an owner.
fn owner() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "owner", "uid": "owner"},
        "rules": [],
    })
}

fn kind_of(object: &Value) -> Option<&'static Kind> {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let group = version.rsplit_once('/').map_or("", |(group, _)| group);
    let mut kinds = KINDS.iter();
    kinds.find(|kind| object["kind"] == kind.name && kind.group == group)
}

async fn client(kubeconfig: &str, token: Option<&str>) -> Result<Client> {
    let mut kubeconfig = Kubeconfig::from_yaml(kubeconfig)?;
    if let Some(token) = token {
        for user in &mut kubeconfig.auth_infos {
            let auth = user.auth_info.get_or_insert_default();
            *auth = serde_json::from_value(json!({"token": token}))?;
        }
    }
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    match kind.strip_suffix('y') {
        Some(stem) if !kind.ends_with("ay") => format!("{stem}ies"),
        _ => format!("{kind}s"),
    }
}
