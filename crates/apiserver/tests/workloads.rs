//! Simulated workloads, as controllers and `kubectl` see them.

mod support;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, EvictParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use nico_apiserver::Server;
use serde_json::{Value, json};

use support::eventually;

/// A server that simulates workloads, and some Nodes that are Ready.
struct Cluster {
    server: Server,
    nodes: Api<Node>,
    pods: Api<Pod>,
    client: Client,
}

impl Cluster {
    async fn new(nodes: &[&str]) -> Self {
        let server = Server::builder().simulate_workloads(true);
        let server = server.start().await.expect("the server starts");
        let client = support::client(&server).await;
        let cluster = Self {
            server,
            nodes: Api::all(client.clone()),
            pods: Api::default_namespaced(client.clone()),
            client,
        };
        for node in nodes {
            cluster.add_node(node).await;
        }
        cluster
    }

    async fn add_node(&self, name: &str) {
        let node = object(json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
            },
        }));
        self.nodes
            .create(&PostParams::default(), &node)
            .await
            .expect("the Node is new");
    }

    async fn set_ready(&self, node: &str, status: &str) {
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": status}]}});
        let patch = Patch::Strategic(ready);
        let patched = self
            .nodes
            .patch_status(node, &PatchParams::default(), &patch)
            .await;
        patched.expect("the Node is there");
    }

    fn all<T>(&self) -> Api<T>
    where
        T: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        T::DynamicType: Default,
    {
        Api::default_namespaced(self.client.clone())
    }

    /// The Pods, and for each its Node and whether it is Ready; those that end are left out.
    async fn living(&self) -> BTreeMap<String, (String, bool)> {
        let pods = self
            .pods
            .list(&ListParams::default())
            .await
            .expect("a list");
        let living = pods
            .into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none());
        living
            .map(|pod| (pod.metadata.name.clone().unwrap_or_default(), state(&pod)))
            .collect()
    }

    /// Waits until so many Pods are Ready and there are no others.
    async fn ready(&self, count: usize) -> BTreeMap<String, (String, bool)> {
        eventually(&format!("{count} pods are ready and alone"), async || {
            let living = self.living().await;
            let all = self
                .pods
                .list(&ListParams::default())
                .await
                .expect("a list")
                .items
                .len();
            all == count && living.len() == count && living.values().all(|(_, ready)| *ready)
        })
        .await;
        self.living().await
    }
}

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the object is complete")
}

fn state(pod: &Pod) -> (String, bool) {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    let ready = conditions.any(|c| c.type_ == "Ready" && c.status == "True");
    (node.unwrap_or_default(), ready)
}

fn spec(replicas: i64, image: &str) -> Value {
    json!({
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": image}]},
        },
    })
}

fn workload<T: serde::de::DeserializeOwned>(spec: &Value) -> T {
    object(json!({"metadata": {"name": "web"}, "spec": spec}))
}

/// The spec without replicas.
fn daemon(image: &str) -> Value {
    let mut spec = spec(0, image);
    spec.as_object_mut().expect("an object").remove("replicas");
    spec
}

fn image(image: &str) -> Patch<Value> {
    let containers = json!([{"name": "main", "image": image}]);
    Patch::Strategic(json!({"spec": {"template": {"spec": {"containers": containers}}}}))
}

fn replicas(count: i64) -> Patch<Value> {
    Patch::Merge(json!({"spec": {"replicas": count}}))
}

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

const PATCH: fn() -> PatchParams = PatchParams::default;

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
    let addresses: std::collections::BTreeSet<_> = pods
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
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(events.into_client());
    let team = object(json!({"metadata": {"name": "team"}}));
    namespaces
        .create(&PostParams::default(), &team)
        .await
        .unwrap();
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> =
        Api::namespaced(namespaces.into_client(), "team");
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
