//! Simulated DaemonSets, StatefulSets and Jobs, and Pods on Nodes that are silent.

mod support;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Namespace, Pod, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PostParams};
use serde_json::json;

use support::cluster::{Cluster, PATCH, daemon, image, object, replicas, spec, state, workload};
use support::eventually;

#[tokio::test]
async fn a_daemon_set_has_a_pod_on_every_node_also_on_cordoned_ones() {
    let cluster = Cluster::new(&["a", "b"]).await;
    let sets: Api<DaemonSet> = cluster.all();
    let cordon = json!({"spec": {"unschedulable": true}});
    cluster
        .nodes
        .patch("a", &PATCH(), &Patch::Merge(&cordon))
        .await
        .unwrap();
    sets.create(&PostParams::default(), &workload(&daemon("web:1")))
        .await
        .unwrap();
    cluster.ready(2).await;
    cluster.add_node("c").await;
    let before = cluster.ready(3).await;
    let taint = json!({"spec": {"taints": [{"key": "mine", "effect": "NoExecute"}]}});
    cluster
        .nodes
        .patch("c", &PATCH(), &Patch::Merge(&taint))
        .await
        .unwrap();
    cluster.ready(2).await;
    sets.patch("web", &PATCH(), &image("web:2")).await.unwrap();
    eventually("all pods are new", async || {
        let web = sets.get("web").await.unwrap();
        let status = web.status.unwrap_or_default();
        let living = cluster.living().await;
        status.updated_number_scheduled == Some(2)
            && status.number_available == Some(2)
            && status.observed_generation == web.metadata.generation
            && living.keys().all(|name| !before.contains_key(name))
    })
    .await;
    cluster.server.shutdown().await;
}

#[tokio::test]
async fn a_stateful_set_keeps_its_names() {
    let cluster = Cluster::new(&["a"]).await;
    let sets: Api<StatefulSet> = cluster.all();
    let mut wanted = spec(3, "web:1");
    wanted["serviceName"] = "web".into();
    sets.create(&PostParams::default(), &workload(&wanted))
        .await
        .unwrap();
    let names: Vec<String> = cluster.ready(3).await.into_keys().collect();
    assert_eq!(names, ["web-0", "web-1", "web-2"]);
    sets.patch("web", &PATCH(), &replicas(1)).await.unwrap();
    let names: Vec<String> = cluster.ready(1).await.into_keys().collect();
    assert_eq!(names, ["web-0"]);
    let old = cluster.pods.get("web-0").await.unwrap().metadata.uid;
    sets.patch("web", &PATCH(), &image("web:2")).await.unwrap();
    eventually("it is another pod of the same name", async || {
        let status = sets.get("web").await.unwrap().status.unwrap_or_default();
        let pod = cluster.pods.get_opt("web-0").await.unwrap();
        let replaced = pod.is_some_and(|pod| pod.metadata.uid != old && state(&pod).1);
        replaced
            && status.updated_replicas == Some(1)
            && status.current_revision == status.update_revision
    })
    .await;
    cluster.server.shutdown().await;
}

#[tokio::test]
async fn a_job_runs_to_its_end() {
    let cluster = Cluster::new(&["a"]).await;
    let jobs: Api<Job> = cluster.all();
    let job = object(json!({
        "metadata": {"name": "once"},
        "spec": {"completions": 3, "parallelism": 2, "template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "main", "image": "job:1"}]}}},
    }));
    jobs.create(&PostParams::default(), &job).await.unwrap();
    eventually("it is complete", async || {
        let status = jobs.get("once").await.unwrap().status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let complete = conditions
            .iter()
            .any(|c| c.type_ == "Complete" && c.status == "True");
        complete && status.succeeded == Some(3) && status.completion_time.is_some()
    })
    .await;
    let pods = cluster.pods.list(&ListParams::default()).await.unwrap();
    let phase = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.clone());
    assert_eq!(pods.items.len(), 3);
    assert!(
        pods.iter()
            .all(|pod| phase(pod).as_deref() == Some("Succeeded"))
    );
    cluster.server.shutdown().await;
}

#[tokio::test]
async fn pods_of_a_silent_node_are_not_ready_and_end_only_when_it_comes_back() {
    let cluster = Cluster::new(&["a"]).await;
    let sets: Api<ReplicaSet> = cluster.all();
    sets.create(&PostParams::default(), &workload(&spec(1, "web:1")))
        .await
        .unwrap();
    let (name, _) = cluster.ready(1).await.pop_first().unwrap();
    cluster.set_ready("a", "Unknown").await;
    eventually("the pod is not ready", async || {
        !state(&cluster.pods.get(&name).await.unwrap()).1
    })
    .await;
    cluster
        .pods
        .delete(&name, &DeleteParams::default())
        .await
        .unwrap();
    eventually("there is a replacement", async || {
        cluster.living().await.len() == 1
    })
    .await;
    assert!(
        cluster.pods.get_opt(&name).await.unwrap().is_some(),
        "nobody ends it"
    );
    cluster.set_ready("a", "True").await;
    let now = cluster.ready(1).await;
    assert!(!now.contains_key(&name));
    cluster.server.shutdown().await;
}

#[tokio::test]
async fn events_tell_what_was_done() {
    let cluster = Cluster::new(&["a"]).await;
    let deployments: Api<Deployment> = cluster.all();
    let events: Api<Event> = cluster.all();
    deployments
        .create(&PostParams::default(), &workload(&spec(1, "web:1")))
        .await
        .unwrap();
    cluster.ready(1).await;
    eventually("there are events", async || {
        let events = events.list(&ListParams::default()).await.unwrap();
        let reasons: Vec<String> = events
            .into_iter()
            .filter_map(|event| event.reason)
            .collect();
        let told = |reason: &str| reasons.iter().any(|told| told == reason);
        ["ScalingReplicaSet", "SuccessfulCreate", "Scheduled"]
            .into_iter()
            .all(told)
    })
    .await;
    cluster.server.shutdown().await;
}

#[tokio::test]
async fn nothing_is_simulated_unless_it_is_asked_for() {
    let (server, client) = support::server().await;
    let sets: Api<ReplicaSet> = Api::default_namespaced(client.clone());
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let events: Api<Event> = Api::default_namespaced(client);
    sets.create(&PostParams::default(), &workload(&spec(1, "web:1")))
        .await
        .unwrap();
    // A namespace is furnished in the same way, by tasks that see the same changes later.
    let namespaces: Api<Namespace> = Api::all(events.into_client());
    let team = object(json!({"metadata": {"name": "team"}}));
    namespaces
        .create(&PostParams::default(), &team)
        .await
        .unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(namespaces.into_client(), "team");
    eventually("the namespace is furnished", async || {
        accounts.get_opt("default").await.unwrap().is_some()
    })
    .await;
    assert!(
        pods.list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    server.shutdown().await;
}
