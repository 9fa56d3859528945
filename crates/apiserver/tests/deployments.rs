//! Simulated Deployments: rollouts, evictions, adoption.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Api;
use kube::api::{DeleteParams, EvictParams, ListParams, Patch, PostParams};
use serde_json::json;

use support::cluster::{Cluster, PATCH, image, object, replicas, spec, state, workload};
use support::eventually;

fn condition(deployment: &Deployment, kind: &str) -> Option<(String, String)> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let found = conditions
        .iter()
        .find(|condition| condition.type_ == kind)?;
    Some((
        found.status.clone(),
        found.reason.clone().unwrap_or_default(),
    ))
}

#[tokio::test]
async fn a_deployment_runs_spread_over_the_nodes_and_says_so() {
    let cluster = Cluster::new(&["a", "b", "c"]).await;
    let deployments: Api<Deployment> = cluster.all();
    let web = workload(&spec(3, "web:1"));
    deployments
        .create(&PostParams::default(), &web)
        .await
        .unwrap();
    let pods = cluster.ready(3).await;
    let mut nodes: Vec<&str> = pods.values().map(|(node, _)| node.as_str()).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["a", "b", "c"]);
    eventually("the deployment is complete", async || {
        let web = deployments.get("web").await.unwrap();
        let status = web.status.clone().unwrap_or_default();
        status.observed_generation == web.metadata.generation
            && status.available_replicas == Some(3)
            && status.updated_replicas == Some(3)
            && condition(&web, "Available").is_some_and(|(status, _)| status == "True")
            && condition(&web, "Progressing")
                == Some(("True".to_owned(), "NewReplicaSetAvailable".to_owned()))
    })
    .await;
    let pods = cluster.pods.list(&ListParams::default()).await.unwrap();
    let addresses: BTreeSet<_> = pods
        .iter()
        .filter_map(|pod| pod.status.as_ref()?.pod_ip.clone())
        .collect();
    assert_eq!(addresses.len(), 3, "each pod has an address of its own");

    deployments
        .patch("web", &PATCH(), &replicas(1))
        .await
        .unwrap();
    cluster.ready(1).await;
    deployments
        .patch("web", &PATCH(), &replicas(4))
        .await
        .unwrap();
    cluster.ready(4).await;
    cluster.server.shutdown().await;
}

#[tokio::test]
async fn a_rolling_update_keeps_enough_pods_and_can_be_undone() {
    let cluster = Cluster::new(&["a", "b"]).await;
    let deployments: Api<Deployment> = cluster.all();
    let sets: Api<ReplicaSet> = cluster.all();
    let mut wanted = spec(4, "web:1");
    wanted["strategy"] = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    deployments
        .create(&PostParams::default(), &workload(&wanted))
        .await
        .unwrap();
    let before = cluster.ready(4).await;
    deployments
        .patch("web", &PATCH(), &image("web:2"))
        .await
        .unwrap();
    let mut fewest = usize::MAX;
    eventually("no old pod is left", async || {
        let living = cluster.living().await;
        fewest = fewest.min(living.values().filter(|(_, ready)| *ready).count());
        assert!(living.len() <= 5, "{living:?}");
        living.len() == 4 && living.keys().all(|name| !before.contains_key(name))
    })
    .await;
    assert!(fewest >= 4, "only {fewest} were ready");
    cluster.ready(4).await;

    let revisions = async || -> BTreeMap<String, i32> {
        let sets = sets.list(&ListParams::default()).await.unwrap();
        let of = |set: &ReplicaSet| {
            let annotations = set.metadata.annotations.as_ref().unwrap();
            annotations["deployment.kubernetes.io/revision"].clone()
        };
        let size = |set: &ReplicaSet| set.spec.as_ref().unwrap().replicas.unwrap();
        sets.iter().map(|set| (of(set), size(set))).collect()
    };
    let sized = |sizes: &[(&str, i32)]| -> BTreeMap<String, i32> {
        sizes
            .iter()
            .map(|(revision, size)| ((*revision).to_owned(), *size))
            .collect()
    };
    assert_eq!(revisions().await, sized(&[("1", 0), ("2", 4)]));
    deployments
        .patch("web", &PATCH(), &image("web:1"))
        .await
        .unwrap();
    eventually("the first template is used again", async || {
        revisions().await == sized(&[("2", 0), ("3", 4)])
    })
    .await;
    cluster.server.shutdown().await;
}

#[tokio::test]
async fn a_rollout_stands_still_while_its_new_pods_do_not_become_ready() {
    let cluster = Cluster::new(&["a"]).await;
    let deployments: Api<Deployment> = cluster.all();
    let mut wanted = spec(3, "web:1");
    wanted["strategy"] = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    wanted["progressDeadlineSeconds"] = 1.into();
    deployments
        .create(&PostParams::default(), &workload(&wanted))
        .await
        .unwrap();
    cluster.ready(3).await;
    let gate = json!({"spec": {"template": {"spec": {
        "readinessGates": [{"conditionType": "example.com/open"}]}}}});
    deployments
        .patch("web", &PATCH(), &Patch::Strategic(gate))
        .await
        .unwrap();
    eventually("the rollout has timed out", async || {
        let web = deployments.get("web").await.unwrap();
        condition(&web, "Progressing")
            == Some(("False".to_owned(), "ProgressDeadlineExceeded".to_owned()))
    })
    .await;
    let living = cluster.living().await;
    let ready = living.values().filter(|(_, ready)| *ready).count();
    assert_eq!((living.len(), ready), (4, 3));

    let open = json!({"status": {"conditions": [{"type": "example.com/open", "status": "True"}]}});
    eventually("every new pod is opened and the rollout ends", async || {
        for (name, (_, ready)) in cluster.living().await {
            if !ready {
                let patch = Patch::Strategic(open.clone());
                // A Pod may end before it is opened.
                drop(cluster.pods.patch_status(&name, &PATCH(), &patch).await);
            }
        }
        let web = deployments.get("web").await.unwrap();
        condition(&web, "Progressing").is_some_and(|(_, reason)| reason == "NewReplicaSetAvailable")
    })
    .await;
    cluster.server.shutdown().await;
}

#[tokio::test]
async fn nothing_new_starts_before_everything_old_has_ended_if_pods_are_recreated() {
    let cluster = Cluster::new(&["a"]).await;
    let deployments: Api<Deployment> = cluster.all();
    let mut wanted = spec(2, "web:1");
    wanted["strategy"] = json!({"type": "Recreate"});
    deployments
        .create(&PostParams::default(), &workload(&wanted))
        .await
        .unwrap();
    cluster.ready(2).await;
    // A Node that does not answer does not end its Pods.
    cluster.set_ready("a", "Unknown").await;
    cluster.add_node("b").await;
    deployments
        .patch("web", &PATCH(), &image("web:2"))
        .await
        .unwrap();
    eventually("the old pods are to end", async || {
        cluster.living().await.is_empty()
    })
    .await;
    let sets: Api<ReplicaSet> = cluster.all();
    assert_eq!(
        sets.list(&ListParams::default()).await.unwrap().items.len(),
        1
    );
    cluster.set_ready("a", "True").await;
    cluster.ready(2).await;
    cluster.server.shutdown().await;
}

#[tokio::test]
async fn an_evicted_pod_is_replaced_elsewhere_as_far_as_its_budget_allows() {
    let cluster = Cluster::new(&["a", "b"]).await;
    let deployments: Api<Deployment> = cluster.all();
    let budgets: Api<PodDisruptionBudget> = cluster.all();
    deployments
        .create(&PostParams::default(), &workload(&spec(2, "web:1")))
        .await
        .unwrap();
    let before = cluster.ready(2).await;
    let budget = object(json!({"metadata": {"name": "web"},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}}}));
    budgets
        .create(&PostParams::default(), &budget)
        .await
        .unwrap();
    let allowed = async || {
        let budget = budgets.get("web").await.unwrap();
        budget
            .status
            .map(|status| (status.disruptions_allowed, status.expected_pods))
    };
    eventually("one disruption is allowed", async || {
        allowed().await == Some((Some(1), Some(2)))
    })
    .await;
    // A cordon keeps the replacement away; a Node that is not Ready would, too.
    let cordon = json!({"spec": {"unschedulable": true}});
    for node in ["a", "b"] {
        cluster
            .nodes
            .patch(node, &PATCH(), &Patch::Merge(&cordon))
            .await
            .unwrap();
    }
    let names: Vec<&String> = before.keys().collect();
    cluster
        .pods
        .evict(names[0], &EvictParams::default())
        .await
        .unwrap();
    eventually("the replacement waits", async || {
        let living = cluster.living().await;
        living.len() == 2 && living.values().any(|(node, _)| node.is_empty())
    })
    .await;
    let pods = cluster.pods.list(&ListParams::default()).await.unwrap();
    let waiting = pods.iter().find(|pod| state(pod).0.is_empty()).unwrap();
    let name = waiting.metadata.name.clone().unwrap();
    eventually("it says why", async || {
        let pod = cluster.pods.get(&name).await.unwrap();
        let conditions = pod.status.unwrap().conditions.unwrap_or_default();
        conditions.iter().any(|c| {
            c.type_ == "PodScheduled"
                && c.status == "False"
                && c.reason.as_deref() == Some("Unschedulable")
        })
    })
    .await;
    let refused = cluster
        .pods
        .evict(names[1], &EvictParams::default())
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, kube::Error::Api(status) if status.code == 429),
        "{refused}"
    );

    cluster.add_node("c").await;
    let now = cluster.ready(2).await;
    assert_eq!(now[&name].0, "c");
    assert!(now.contains_key(names[1]), "a cordon drives nobody away");
    eventually("the next may go", async || {
        allowed().await == Some((Some(1), Some(2)))
    })
    .await;
    cluster
        .pods
        .evict(names[1], &EvictParams::default())
        .await
        .unwrap();
    eventually("all are elsewhere", async || {
        let ready = cluster.living().await;
        ready.len() == 2 && ready.values().all(|(node, ready)| node == "c" && *ready)
    })
    .await;
    cluster.server.shutdown().await;
}

#[tokio::test]
async fn pods_that_were_orphaned_are_taken_over() {
    let cluster = Cluster::new(&["a"]).await;
    let deployments: Api<Deployment> = cluster.all();
    let create = async || {
        let web = workload(&spec(2, "web:1"));
        deployments
            .create(&PostParams::default(), &web)
            .await
            .unwrap();
    };
    create().await;
    let before = cluster.ready(2).await;
    let orphan = DeleteParams {
        propagation_policy: Some(kube::api::PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    deployments.delete("web", &orphan).await.unwrap();
    eventually("the deployment is gone", async || {
        deployments.get_opt("web").await.unwrap().is_none()
    })
    .await;
    create().await;
    eventually("the new deployment has all", async || {
        let status = deployments
            .get("web")
            .await
            .unwrap()
            .status
            .unwrap_or_default();
        status.available_replicas == Some(2)
    })
    .await;
    assert_eq!(cluster.ready(2).await, before);

    deployments
        .delete("web", &DeleteParams::foreground())
        .await
        .unwrap();
    eventually("everything is gone", async || {
        let pods = cluster.pods.list(&ListParams::default()).await.unwrap();
        pods.items.is_empty() && deployments.get_opt("web").await.unwrap().is_none()
    })
    .await;
    cluster.server.shutdown().await;
}
