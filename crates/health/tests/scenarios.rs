//! Whole clusters in an API server: what is named first, what the exit code is, and that nothing is
//! ever written.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::{Api, Client, Config};
use nico_apiserver::faults::{Fault, Faults, Rule, Verb};
use nico_apiserver::{Authorization, Server};
use nico_health::collect::{Scope, collect};
use nico_health::diagnose::diagnose;
use nico_health::flux::{reconcile, status, why};
use nico_health::issue::{Layer, ObjectRef, Severity};
use nico_health::report::{Report, Status};
use nico_health::thresholds::Thresholds;
use nico_health::world::World;
use serde_json::{Value, json};

/// A user who may read what `rights` says, and nothing else.
const USER_TOKEN: &str = "token-of-rita";

struct Cluster {
    server: Server,
    admin: Client,
    user: Client,
    folder: tempfile::TempDir,
}

impl Cluster {
    async fn start(rights: Value, faults: Faults) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = Server::builder()
            .authorization(Authorization::Rbac)
            .user_token(USER_TOKEN, "rita", &[])
            .audit_log(folder.path().join("audit"))
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

    async fn create(&self, object: &Value) -> Result<()> {
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

    /// Puts the kinds of Flux into the cluster.
    async fn with_flux(self) -> Result<Self> {
        for (group, version, kind) in [
            ("source.toolkit.fluxcd.io", "v1", "GitRepository"),
            ("kustomize.toolkit.fluxcd.io", "v1", "Kustomization"),
            ("helm.toolkit.fluxcd.io", "v2", "HelmRelease"),
        ] {
            let plural = plural(kind);
            self.create(&json!({
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": format!("{plural}.{group}")},
                "spec": {
                    "group": group,
                    "scope": "Namespaced",
                    "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind},
                    "versions": [{
                        "name": version,
                        "served": true,
                        "storage": true,
                        "subresources": {"status": {}},
                        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                    }],
                },
            }))
            .await?;
        }
        self.create(
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "flux-system"}}),
        )
        .await?;
        Ok(self)
    }

    async fn look(&self, client: &Client, namespace: Option<&str>) -> (World, Report) {
        let scope = Scope {
            namespace: namespace.map(str::to_owned),
            layers: vec![],
            timeout: Duration::from_secs(60),
        };
        self.look_with(client, scope).await
    }

    async fn look_with(&self, client: &Client, scope: Scope) -> (World, Report) {
        let collected = collect(client, &scope).await;
        let now = jiff::Timestamp::now();
        let report = diagnose(&collected.world, &[], &Thresholds::default(), now);
        (collected.world, report)
    }

    /// The verbs of all requests of the user, as the audit log has them.
    fn verbs_of_user(&self) -> Result<Vec<String>> {
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
        Some(stem) => format!("{stem}ies"),
        None => format!("{kind}s"),
    }
}

fn all_reads() -> Value {
    json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["list", "get", "watch"]}])
}

fn ready(status: &str, reason: &str, message: &str) -> Value {
    json!([{
        "type": "Ready",
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }])
}

fn repository() -> Value {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": "flux-system", "namespace": "flux-system"},
        "spec": {"interval": "1m0s", "url": "https://git.example.com/x"},
        "status": {"conditions": ready("True", "Succeeded", "stored artifact")},
    })
}

fn kustomization(name: &str, depends_on: Option<&str>, conditions: &Value) -> Value {
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

fn node(name: &str, ready_status: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "status": {"conditions": ready(ready_status, "Kubelet", "as the kubelet says")},
    })
}

#[tokio::test]
async fn a_cluster_without_flux_is_healthy_and_flux_is_absent() -> Result<()> {
    let cluster = Cluster::start(all_reads(), Faults::default()).await?;
    cluster.create(&node("node-1", "True")).await?;
    let (_, report) = cluster.look(&cluster.user, None).await;
    assert_eq!(report.issues, []);
    assert_eq!(report.status, Status::Healthy);
    assert_eq!(report.exit_code(Severity::Warning), 0);
    let flux = report
        .layers
        .iter()
        .find(|layer| layer.layer == Layer::Flux);
    assert_eq!(flux.map(|layer| layer.status), Some(Status::Absent));
    Ok(())
}

#[tokio::test]
async fn forty_that_wait_for_one_are_one_issue_and_nothing_is_written() -> Result<()> {
    let cluster = Cluster::start(all_reads(), Faults::default())
        .await?
        .with_flux()
        .await?;
    cluster.create(&repository()).await?;
    let failed = ready(
        "False",
        "BuildFailed",
        "failed to decrypt: no identity matched",
    );
    cluster
        .create(&kustomization("infra", None, &failed))
        .await?;
    for number in 0..40 {
        let waits = ready(
            "False",
            "DependencyNotReady",
            "dependency 'flux-system/infra' is not ready",
        );
        let name = format!("app-{number:02}");
        cluster
            .create(&kustomization(&name, Some("infra"), &waits))
            .await?;
    }
    let (world, report) = cluster.look(&cluster.user, None).await;
    let roots: Vec<String> = report
        .roots()
        .map(|issue| issue.object.to_string())
        .collect();
    assert_eq!(roots, ["Kustomization flux-system/infra"]);
    assert_eq!(report.issues[0].id, "decryption-failed");
    assert_eq!(report.issues[0].explains, 40);
    assert_eq!(report.exit_code(Severity::Critical), 2);

    let shown = status::status(&world, report.timestamp);
    assert_eq!(shown.status, Status::Critical);
    assert_eq!(shown.objects.len(), 42);
    let asked = ObjectRef::new("Kustomization", "flux-system", "app-07");
    let chain = why::why(&world, &report, &Thresholds::default(), &asked).context("it is there")?;
    let infra = ObjectRef::new("Kustomization", "flux-system", "infra");
    assert_eq!(chain.failing, Some(infra));
    let links: Vec<String> = chain
        .links
        .iter()
        .map(|link| link.object.to_string())
        .collect();
    assert_eq!(
        links,
        [
            "GitRepository flux-system/flux-system",
            "Kustomization flux-system/app-07",
            "Kustomization flux-system/infra"
        ]
    );

    let verbs = cluster.verbs_of_user()?;
    assert!(!verbs.is_empty());
    assert!(
        verbs
            .iter()
            .all(|verb| ["get", "list"].contains(&verb.as_str())),
        "{verbs:?}"
    );
    cluster.server.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn three_failures_with_one_cause_name_the_node() -> Result<()> {
    let cluster = Cluster::start(all_reads(), Faults::default()).await?;
    cluster.create(&node("node-1", "Unknown")).await?;
    cluster.create(&node("node-2", "True")).await?;
    cluster
        .create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "apps"}}))
        .await?;
    for name in ["a", "b", "c"] {
        cluster
            .create(&json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "apps"},
                "spec": {"nodeName": "node-1", "containers": [{"name": "main", "image": "main"}]},
                "status": {"phase": "Running", "conditions": ready("False", "NodeLost", "")},
            }))
            .await?;
    }
    let (_, report) = cluster.look(&cluster.user, None).await;
    let roots: Vec<String> = report
        .roots()
        .map(|issue| issue.object.to_string())
        .collect();
    assert_eq!(roots, ["Node node-1"]);
    assert_eq!(report.issues[0].explains, 3);
    Ok(())
}

#[tokio::test]
async fn a_user_with_few_rights_is_told_what_was_not_checked() -> Result<()> {
    let rights = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]);
    let cluster = Cluster::start(rights, Faults::default()).await?;
    let (_, report) = cluster.look(&cluster.user, None).await;
    assert_eq!(report.issues, []);
    assert_eq!(report.status, Status::Unknown);
    assert_eq!(report.exit_code(Severity::Critical), 3);
    let nodes = report
        .layers
        .iter()
        .find(|layer| layer.layer == Layer::Nodes)
        .context("nodes")?;
    assert_eq!(nodes.status, Status::Unknown);
    assert!(nodes.gaps[0].why.contains("rita"), "{:?}", nodes.gaps);
    Ok(())
}

#[tokio::test]
async fn what_is_not_answered_in_time_is_unknown_and_not_healthy() -> Result<()> {
    let slow = Rule::new(Fault::Latency {
        before: Duration::from_secs(600),
        after: Duration::ZERO,
    });
    let faults = Faults::default();
    faults.add(slow.verbs([Verb::List]).resource("nodes").user("rita"));
    let cluster = Cluster::start(all_reads(), faults).await?;
    let scope = Scope {
        namespace: None,
        layers: vec![Layer::Nodes],
        timeout: Duration::from_secs(5),
    };
    let (_, report) = cluster.look_with(&cluster.user, scope).await;
    assert_eq!(report.status, Status::Unknown);
    assert_eq!(report.exit_code(Severity::Warning), 3);
    let nodes = report
        .layers
        .iter()
        .find(|layer| layer.layer == Layer::Nodes)
        .context("nodes")?;
    assert!(
        nodes.gaps[0].why.contains("no answer within 5 s"),
        "{:?}",
        nodes.gaps
    );
    Ok(())
}

#[tokio::test]
async fn an_api_server_that_is_away_is_unknown_and_not_healthy() -> Result<()> {
    let cluster = Cluster::start(all_reads(), Faults::default()).await?;
    let client = cluster.user.clone();
    cluster.server.shutdown().await;
    let scope = Scope {
        namespace: None,
        layers: vec![],
        timeout: Duration::from_secs(30),
    };
    let collected = collect(&client, &scope).await;
    let report = diagnose(
        &collected.world,
        &[],
        &Thresholds::default(),
        jiff::Timestamp::now(),
    );
    assert_eq!(report.exit_code(Severity::Critical), 3);
    assert!(collected.requests <= 2);
    assert!(Path::new(cluster.folder.path()).exists());
    Ok(())
}

#[tokio::test]
async fn a_namespace_alone_shows_what_is_in_it_and_what_explains_it() -> Result<()> {
    let cluster = Cluster::start(all_reads(), Faults::default()).await?;
    for name in ["apps", "other"] {
        cluster
            .create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
            .await?;
        cluster
            .create(&json!({
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": "data", "namespace": name},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
                "status": {"phase": "Lost"},
            }))
            .await?;
    }
    let (_, report) = cluster.look(&cluster.user, Some("apps")).await;
    let found: Vec<String> = report
        .issues
        .iter()
        .map(|issue| issue.object.to_string())
        .collect();
    assert_eq!(found, ["PersistentVolumeClaim apps/data"]);
    Ok(())
}

#[tokio::test]
async fn reconcile_annotates_as_flux_does_and_waits_until_flux_is_done() -> Result<()> {
    let rights = json!([
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["list", "get", "watch"]},
        {"apiGroups": ["kustomize.toolkit.fluxcd.io", "source.toolkit.fluxcd.io"], "resources": ["*"], "verbs": ["patch"]},
    ]);
    let cluster = Cluster::start(rights, Faults::default())
        .await?
        .with_flux()
        .await?;
    cluster.create(&repository()).await?;
    cluster
        .create(&kustomization(
            "apps",
            None,
            &ready("True", "ReconciliationSucceeded", "old"),
        ))
        .await?;
    let object = ObjectRef::new("Kustomization", "flux-system", "apps");
    let steps = reconcile::plan(&cluster.user, &object, true).await?;
    let repository = ObjectRef::new("GitRepository", "flux-system", "flux-system");
    assert_eq!(steps, [repository, object.clone()]);

    let now = jiff::Timestamp::now();
    let flux = async {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(
            "kustomize.toolkit.fluxcd.io",
            "v1",
            "Kustomization",
        ));
        let api: Api<DynamicObject> =
            Api::namespaced_with(cluster.admin.clone(), "flux-system", &resource);
        let is_asked = |found: Option<&DynamicObject>| {
            let annotations = found.and_then(|found| found.metadata.annotations.as_ref());
            annotations.is_some_and(|all| all.contains_key(reconcile::REQUESTED_AT))
        };
        let asked = kube::runtime::wait::await_condition(api.clone(), "apps", is_asked).await?;
        let annotations = asked.context("it is there")?.metadata.annotations;
        let request = annotations.and_then(|all| all.get(reconcile::REQUESTED_AT).cloned());
        let done = json!({"status": {
            "lastHandledReconcileAt": request,
            "conditions": ready("True", "ReconciliationSucceeded", "Applied revision: main@sha1:abc"),
        }});
        api.patch_status("apps", &PatchParams::default(), &Patch::Merge(done))
            .await?;
        anyhow::Ok(request)
    };
    let wait = Duration::from_secs(120);
    let (asked, done) = tokio::join!(
        flux,
        reconcile::reconcile(&cluster.user, &object, now, wait)
    );
    assert_eq!(asked?, Some(now.to_string()));
    assert_eq!(done?.message, "Applied revision: main@sha1:abc");
    Ok(())
}

#[tokio::test]
async fn reconcile_refuses_what_is_suspended() -> Result<()> {
    let cluster = Cluster::start(all_reads(), Faults::default())
        .await?
        .with_flux()
        .await?;
    let mut suspended = kustomization("apps", None, &ready("True", "x", ""));
    suspended["spec"]["suspend"] = json!(true);
    cluster.create(&suspended).await?;
    let object = ObjectRef::new("Kustomization", "flux-system", "apps");
    let refused = reconcile::plan(&cluster.user, &object, false).await;
    assert!(
        matches!(refused, Err(reconcile::ReconcileError::Suspended(_))),
        "{refused:?}"
    );
    Ok(())
}
