//! How much is asked of the API server at most.

mod cluster;

use anyhow::{Result, ensure};
use cluster::{Cluster, all_reads, everything, kustomization, node, ready};
use nico_health::collect::collect;
use nico_health::world::{KINDS, Kind, Outcome, Reach};
use serde_json::{Value, json};

/// As many requests as one look may take.
const LIMIT: usize = 40;
/// Pods of the cluster for which that holds.
const PODS: usize = 10_000;
/// Kinds that the embedded API server does not serve, and others do: APIServices.
const NOT_SERVED: usize = 1;

/// A cluster that has every kind, and in which everything goes wrong that calls for a second look.
fn the_worst(has_challenge: bool) -> Result<Vec<Value>> {
    let mut objects: Vec<Value> = KINDS
        .iter()
        .filter(|kind| !kind.is_built_in && kind.group != "apiregistration.k8s.io")
        .filter(|kind| has_challenge || kind.name != "Challenge")
        .map(of_kind)
        .collect();
    let mut from_bucket = kustomization("from-bucket", None, &ready("True", "Done", ""));
    from_bucket["spec"]["sourceRef"]["kind"] = json!("Bucket");
    let mut cordoned = node("node-1", "True");
    cordoned["spec"]["unschedulable"] = json!(true);
    objects.extend([from_bucket, cordoned]);
    objects.extend(
        ["apps", "flux-system"].map(
            |name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        ),
    );
    objects.extend([
        json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "pending", "namespace": "apps"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
            "status": {"phase": "Pending"},
        }),
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "nothing-behind", "namespace": "apps"},
            "spec": {"selector": {"app": "nobody"}, "ports": [{"port": 80}]},
        }),
    ]);
    objects.extend((0..PODS).map(pod));
    ensure!(objects.len() > PODS + KINDS.len() / 2);
    Ok(objects)
}

/// An object of which nothing is known but that it is there.
fn of_kind(kind: &Kind) -> Value {
    let version = format!("{}/{}", kind.group, kind.versions[0]);
    let mut object = json!({"apiVersion": version, "kind": kind.name, "metadata": {"name": "one"}});
    if kind.reach != Reach::Cluster {
        object["metadata"]["namespace"] = json!("apps");
    }
    object
}

fn pod(number: usize) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": format!("pod-{number:05}"), "namespace": "apps"},
        "spec": {"nodeName": "node-1", "containers": [{"name": "main", "image": "main"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

#[tokio::test]
async fn the_worst_cluster_takes_as_many_requests_as_are_allowed() -> Result<()> {
    for has_challenge in [true, false] {
        let cluster = Cluster::restored(&the_worst(has_challenge)?, all_reads()).await?;
        let collected = collect(&cluster.user, &everything(None)).await;
        assert_eq!(collected.world.pods.items.len(), PODS);
        // An Order that has a Challenge is explained by that.
        let not_asked = if has_challenge { "Order" } else { "" };
        let not_known: Vec<&str> = collected
            .world
            .outcomes()
            .filter(|(_, outcome, _)| !matches!(outcome, Outcome::Known { .. }))
            .map(|(kind, _, _)| kind.name)
            .filter(|name| !["APIService", "Challenge", not_asked].contains(name))
            .collect();
        assert_eq!(not_known, Vec::<&str>::new());
        assert_eq!(cluster.verbs_of_user()?.len(), collected.requests);
        let requests = collected.requests + NOT_SERVED;
        ensure!(requests <= LIMIT, "{requests} requests");
        cluster.has_only_been_read()?;
        cluster.server.shutdown().await;
    }
    Ok(())
}

/// What is not there is known beforehand.
#[tokio::test]
async fn kinds_that_are_not_there_are_not_asked_for() -> Result<()> {
    let cluster = Cluster::restored(&[], all_reads()).await?;
    let collected = collect(&cluster.user, &everything(None)).await;
    let is_read = |kind: &&Kind| {
        let second_look = matches!(kind.turn, nico_health::world::Turn::IfNeeded(_));
        kind.is_built_in && !second_look
    };
    let kinds = KINDS.iter().filter(is_read).count();
    // Two more: the API server's own checks, and what it serves.
    assert_eq!(collected.requests, kinds + 2);
    Ok(())
}
