//! A cluster with Flux: releases of a Deployment with a Service each, and one Node that is off.

use std::path::{Path, PathBuf};

use anyhow::Context;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::Method;
use nico_bench::api_server::ApiServer;
use nico_bench::client::Endpoint;
use nico_bench::metrics::sum;
use nico_bench::nodes;
use serde_json::{Value, json};

/// Writers at the same time.
const AT_ONCE: usize = 8;
/// Variables of a container: with them a Pod has the 7 KB of most real ones, half of which the API
/// server adds to say who wrote what.
const VARIABLES: usize = 25;
/// Since when everything is as it is.
const LONG_AGO: &str = "2026-01-01T00:00:00Z";

/// How large the cluster is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub nodes: usize,
    pub pods: usize,
    pub kustomizations: usize,
    pub releases: usize,
}

impl Size {
    /// The cluster of the specification.
    pub const SPECIFIED: Self = Self {
        nodes: 500,
        pods: 10_000,
        kustomizations: 200,
        releases: 200,
    };
    /// One that is quickly made.
    pub const SMALL: Self = Self {
        nodes: 5,
        pods: 50,
        kustomizations: 5,
        releases: 5,
    };

    /// Pods on each Node.
    pub fn pods_of_a_node(self) -> usize {
        self.pods / self.nodes
    }

    /// Objects that are surely seen.
    pub fn objects(self) -> usize {
        self.nodes + self.pods + self.kustomizations + self.releases
    }

    fn pods_of_a_release(self) -> usize {
        self.pods / self.releases
    }
}

/// The cluster in an API server of its own.
pub struct World {
    server: ApiServer,
    endpoint: Endpoint,
}

impl World {
    /// Makes the cluster.
    pub async fn start(nico: &Path, size: Size) -> anyhow::Result<Self> {
        let server = ApiServer::start(nico).await?;
        let kubeconfig = std::fs::read_to_string(server.kubeconfig())?;
        let endpoint = Endpoint::from_kubeconfig(&kubeconfig)?;
        let world = Self { server, endpoint };
        world.write(definitions()).await?;
        let namespaces = (0..size.releases).map(namespace);
        world.write(namespaces.collect()).await?;
        world.write(objects(size)).await?;
        Ok(world)
    }

    /// The file by which the API server is found.
    pub fn kubeconfig(&self) -> PathBuf {
        self.server.kubeconfig()
    }

    /// Requests that were answered so far.
    pub async fn requests(&self) -> anyhow::Result<u64> {
        let mut connection = self.endpoint.connect().await?;
        let page = connection.request(Method::GET, "/metrics", "").await?;
        Ok(sum(
            &String::from_utf8_lossy(&page),
            "apiserver_request_total{",
        ))
    }

    /// Writes objects, and then the status of those that need that.
    async fn write(&self, objects: Vec<Object>) -> anyhow::Result<()> {
        let size = objects.len().div_ceil(AT_ONCE).max(1);
        let shares: Vec<&[Object]> = objects.chunks(size).collect();
        stream::iter(shares)
            .map(|share| async move {
                let mut connection = self.endpoint.connect().await?;
                for object in share {
                    let made = connection.request(Method::POST, &object.path, object.body.clone());
                    made.await?;
                    let Some(path) = &object.status_path else {
                        continue;
                    };
                    let put = connection.request(Method::PUT, path, object.body.clone());
                    put.await?;
                }
                anyhow::Ok(())
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
            .context("cannot make the cluster")
    }
}

/// An object that is written.
struct Object {
    path: String,
    status_path: Option<String>,
    body: Bytes,
}

impl Object {
    fn new(group: &str, plural: &str, body: &Value) -> Self {
        let path = match body["metadata"]["namespace"].as_str() {
            Some(namespace) => format!("{group}/namespaces/{namespace}/{plural}"),
            None => format!("{group}/{plural}"),
        };
        Self {
            path,
            status_path: None,
            body: body.to_string().into(),
        }
    }

    /// One whose status is not taken when it is made.
    fn with_status(group: &str, plural: &str, body: &Value) -> Self {
        let object = Self::new(group, plural, body);
        let name = body["metadata"]["name"].as_str().unwrap_or_default();
        Self {
            status_path: Some(format!("{}/{name}/status", object.path)),
            ..object
        }
    }
}

const SOURCE: (&str, &str) = ("source.toolkit.fluxcd.io", "v1");
const KUSTOMIZE: (&str, &str) = ("kustomize.toolkit.fluxcd.io", "v1");
const HELM: (&str, &str) = ("helm.toolkit.fluxcd.io", "v2");

fn definitions() -> Vec<Object> {
    let kinds = [
        (SOURCE, "GitRepository", "gitrepositories"),
        (SOURCE, "HelmChart", "helmcharts"),
        (KUSTOMIZE, "Kustomization", "kustomizations"),
        (HELM, "HelmRelease", "helmreleases"),
    ];
    let definitions = kinds.map(|((group, version), kind, plural)| {
        let body = json!({
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
                    "schema": {"openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": true,
                    }},
                }],
            },
        });
        Object::new(
            "/apis/apiextensions.k8s.io/v1",
            "customresourcedefinitions",
            &body,
        )
    });
    definitions.into()
}

fn namespace(number: usize) -> Object {
    let body = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": namespace_name(number)},
    });
    Object::new("/api/v1", "namespaces", &body)
}

fn namespace_name(number: usize) -> String {
    format!("team-{number:03}")
}

fn objects(size: Size) -> Vec<Object> {
    let mut objects = vec![flux(
        SOURCE,
        "GitRepository",
        "gitrepositories",
        0,
        &json!({
            "interval": "1m0s",
            "url": "https://git.example.com/fleet",
        }),
    )];
    for number in 0..size.nodes {
        objects.push(node(number));
    }
    for number in 0..size.kustomizations {
        let spec = json!({
            "interval": "10m0s",
            "prune": true,
            "sourceRef": {"kind": "GitRepository", "name": "item-0", "namespace": namespace_name(0)},
        });
        objects.push(flux(
            KUSTOMIZE,
            "Kustomization",
            "kustomizations",
            number,
            &spec,
        ));
    }
    for number in 0..size.releases {
        let spec = json!({
            "interval": "1h0m0s",
            "chartRef": {"kind": "HelmChart", "name": format!("item-{number}")},
        });
        objects.push(flux(HELM, "HelmRelease", "helmreleases", number, &spec));
        let spec = json!({
            "interval": "1h0m0s",
            "chart": "web",
            "sourceRef": {"kind": "GitRepository", "name": "item-0", "namespace": namespace_name(0)},
        });
        objects.push(flux(SOURCE, "HelmChart", "helmcharts", number, &spec));
        objects.extend(workload(number, size));
    }
    for number in 0..size.pods {
        objects.push(pod(number, size));
    }
    objects
}

/// The first Node is off.
fn node(number: usize) -> Object {
    let body = nodes::node(number, 0);
    let mut body: Value = serde_json::from_slice(&body).expect("it is written here");
    if number == 0 {
        for condition in body["status"]["conditions"]
            .as_array_mut()
            .into_iter()
            .flatten()
        {
            condition["status"] = "Unknown".into();
            condition["message"] = "Kubelet stopped posting node status.".into();
        }
    }
    Object::with_status("/api/v1", "nodes", &body)
}

/// An object of Flux that is ready.
fn flux(
    (group, version): (&str, &str),
    kind: &str,
    plural: &str,
    number: usize,
    spec: &Value,
) -> Object {
    let body = json!({
        "apiVersion": format!("{group}/{version}"),
        "kind": kind,
        "metadata": {"name": format!("item-{number}"), "namespace": namespace_name(number)},
        "spec": spec,
        "status": {"observedGeneration": 1, "conditions": ready(true)},
    });
    Object::new(&format!("/apis/{group}/{version}"), plural, &body)
}

fn ready(is_ready: bool) -> Value {
    let (status, reason) = match is_ready {
        true => ("True", "Succeeded"),
        false => ("False", "NodeStatusUnknown"),
    };
    json!([{
        "type": "Ready",
        "status": status,
        "reason": reason,
        "message": "what is said of it, in some words",
        "lastTransitionTime": LONG_AGO,
    }])
}

/// A Deployment and a Service with its endpoints.
fn workload(number: usize, size: Size) -> [Object; 3] {
    let namespace = namespace_name(number);
    let labels = json!({"app": "web"});
    let replicas = size.pods_of_a_release();
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": "web:1"}]},
            },
        },
        "status": {"observedGeneration": 1, "replicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas},
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"selector": labels, "ports": [{"port": 80}]},
    });
    let endpoints: Vec<Value> = (0..replicas)
        .map(|pod| json!({"addresses": [format!("192.0.2.{}", pod % 250 + 1)], "conditions": {"ready": true}}))
        .collect();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "web-1",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
    });
    [
        Object::with_status("/apis/apps/v1", "deployments", &deployment),
        Object::new("/api/v1", "services", &service),
        Object::new("/apis/discovery.k8s.io/v1", "endpointslices", &slice),
    ]
}

/// A Pod that runs, or did until its Node was off.
fn pod(number: usize, size: Size) -> Object {
    let namespace = namespace_name(number % size.releases);
    let node = number % size.nodes;
    let variables: Vec<Value> = (0..VARIABLES)
        .map(|number| {
            let field = json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}});
            json!({"name": format!("VARIABLE_{number}"), "valueFrom": field})
        })
        .collect();
    let body = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": format!("web-5d-{number}"),
            "namespace": namespace,
            "labels": {"app": "web", "pod-template-hash": "5d"},
        },
        "spec": {
            "nodeName": nodes::name(node),
            "containers": [{
                "name": "main",
                "image": "web:1",
                "env": variables,
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
            }],
        },
        "status": {
            "phase": "Running",
            "startTime": LONG_AGO,
            "podIP": "192.0.2.7",
            "conditions": ready(node != 0),
            "containerStatuses": [{
                "name": "main",
                "image": "web:1",
                "imageID": "sha256:0",
                "ready": node != 0,
                "restartCount": 0,
                "state": {"running": {"startedAt": LONG_AGO}},
                "lastState": {},
            }],
        },
    });
    Object::with_status("/api/v1", "pods", &body)
}
