//! `nico health --closer`: what kubelets and logs say. The embedded API server has no kubelets;
//! their answers are put into its own.

mod cluster;
mod fixture;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::{Context as _, Result};
use cluster::{Cluster, all_reads, everything};
use fixture::{Case, cases};
use http::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use nico_health::collect::{Scope, collect};
use nico_health::issue::Severity;
use nico_health::report::Report;
use serde_json::json;
use tower_service::Service;

/// An API server that asks kubelets.
#[derive(Clone)]
struct WithKubelets {
    server: Client,
    kubelet: fn(path: &str, query: &str) -> Option<(StatusCode, String)>,
}

impl Service<Request<Body>> for WithKubelets {
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, kube::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), kube::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let uri = request.uri();
        let answer = (self.kubelet)(uri.path(), uri.query().unwrap_or_default());
        let server = self.server.clone();
        Box::pin(async move {
            let Some((code, text)) = answer else {
                return server.send(request).await;
            };
            let mut response = Response::new(Body::from(text.into_bytes()));
            *response.status_mut() = code;
            Ok(response)
        })
    }
}

async fn look(
    case: &Case,
    kubelet: fn(&str, &str) -> Option<(StatusCode, String)>,
) -> Result<(Report, usize)> {
    let cluster = Cluster::restored(&case.objects, all_reads()).await?;
    let server = cluster.user.clone();
    let client = Client::new(WithKubelets { server, kubelet }, "default");
    let lists = collect(&client, &everything(None)).await.requests;
    let scope = Scope {
        is_closer: true,
        ..everything(None)
    };
    let collected = collect(&client, &scope).await;
    let report = case.judge(&collected.world, &[]);
    cluster.server.shutdown().await;
    Ok((report, collected.requests - lists))
}

fn case(name: &str) -> Result<Case> {
    let mut cases = cases().into_iter();
    cases
        .find(|case| case.name == name)
        .context("the world is there")
}

/// The Pod with the claim that a kubelet is asked about.
fn with_a_mounted_claim(mut case: Case) -> Case {
    case.objects.push(json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "node-1"},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }));
    case.objects.push(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "prometheus-0", "namespace": "monitoring"},
        "spec": {
            "nodeName": "node-1",
            "containers": [{"name": "main", "image": "main"}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "prometheus"}}],
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }));
    case
}

#[tokio::test]
async fn the_kubelet_of_each_node_with_volumes_is_asked_once() -> Result<()> {
    let case = with_a_mounted_claim(case("volume-filling")?);
    let (report, requests) = look(&case, |path, _| {
        let is_asked = path == "/api/v1/nodes/node-1/proxy/stats/summary";
        let summary = json!({"pods": [{"volume": [{
            "pvcRef": {"namespace": "monitoring", "name": "prometheus"},
            "usedBytes": 95, "capacityBytes": 100,
        }]}]});
        is_asked.then(|| (StatusCode::OK, summary.to_string()))
    })
    .await?;
    assert_eq!(requests, 1);
    let found: Vec<&str> = report.issues.iter().map(|issue| issue.id).collect();
    assert_eq!(found, ["volume-filling"]);
    assert_eq!(report.exit_code(Severity::Critical), 2);
    Ok(())
}

#[tokio::test]
async fn kubelets_that_may_not_be_asked_leave_the_storage_unknown() -> Result<()> {
    let case = with_a_mounted_claim(case("volume-filling")?);
    let (report, _) = look(&case, |path, _| {
        let refusal = json!({"kind": "Status", "message": "rita may not get nodes/proxy"});
        path.contains("/proxy/")
            .then(|| (StatusCode::FORBIDDEN, refusal.to_string()))
    })
    .await?;
    assert_eq!(report.exit_code(Severity::Critical), 3);
    let mut gaps = report.layers.iter().flat_map(|layer| &layer.gaps);
    let gap = gaps.find(|gap| gap.what.contains("node-1"));
    let gap = gap.context("it is told what is not known")?;
    assert_eq!(gap.why, "rita may not get nodes/proxy");
    Ok(())
}

#[tokio::test]
async fn the_logs_of_a_tunnel_say_that_nothing_comes_in() -> Result<()> {
    let case = case("tunnel-without-connection")?;
    let (report, requests) = look(&case, |path, query| {
        let is_log = path.starts_with("/api/v1/namespaces/network/pods/cloudflared-5d-")
            && path.ends_with("/log")
            && query.contains("container=main")
            && query.contains("tailLines=");
        let log = "ERR Failed to dial a quic connection error=\"timeout\" connIndex=0\n";
        is_log.then(|| (StatusCode::OK, log.to_owned()))
    })
    .await?;
    assert_eq!(requests, 2);
    let found: Vec<&str> = report.issues.iter().map(|issue| issue.id).collect();
    assert_eq!(found, ["tunnel-without-connection"]);
    Ok(())
}
