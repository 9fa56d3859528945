//! What a cluster's API shows: Nodes, etcd members, and the Pods that a drain has to move.

use std::collections::{BTreeMap, BTreeSet};

use http::Request;
use k8s_openapi::api::core::v1::{Node as KubernetesNode, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::{GroupVersionKind, Selector, SelectorExt};
use kube::{Api, Client, ResourceExt};
use nico_api::labels::{CORDONED, DRAINING_FOR, DRAINING_SINCE};
use serde_json::{Value, json};

use crate::observed::{Drain, DrainedPod, Etcd, Node, View};

use super::Detail;

/// Reads what `detail` asks for.
pub(super) async fn read(client: &Client, detail: Detail) -> Result<View, kube::Error> {
    let nodes: Api<KubernetesNode> = Api::all(client.clone());
    let list = nodes.list(&ListParams::default()).await?.items;
    let mut view = View {
        nodes: list.iter().map(summary).collect(),
        ..View::default()
    };
    if detail == Detail::Rollout {
        view.not_ready = not_ready(client).await?;
        view.etcd = etcd(client, &list).await?;
        view.draining = draining(client, &view.nodes).await?;
    }
    Ok(view)
}

fn summary(node: &KubernetesNode) -> Node {
    let status = node.status.as_ref();
    let spec = node.spec.as_ref();
    let addresses = status
        .and_then(|status| status.addresses.as_ref())
        .into_iter()
        .flatten()
        .map(|address| address.address.clone());
    let ready = condition(node, "Ready");
    let repels = |effect: &str| matches!(effect, "NoSchedule" | "NoExecute");
    // A Node that is cordoned or down repels Pods too, for that reason and no longer.
    let is_lasting = |key: &str| !key.starts_with("node.kubernetes.io/");
    let drain = node.annotations().get(DRAINING_SINCE);
    Node {
        name: node.name_any(),
        uid: node.uid().unwrap_or_default(),
        addresses: addresses.collect(),
        ready: ready.as_ref().is_some_and(|(truth, _)| *truth == "True"),
        message: ready
            .and_then(|(_, message)| message)
            .unwrap_or_else(|| "it has no condition Ready".to_owned()),
        unschedulable: spec.and_then(|spec| spec.unschedulable) == Some(true),
        repels_pods: spec
            .and_then(|spec| spec.taints.as_ref())
            .into_iter()
            .flatten()
            .any(|taint| repels(&taint.effect) && is_lasting(&taint.key)),
        kubelet_version: status
            .and_then(|status| status.node_info.as_ref())
            .map(|info| info.kubelet_version.clone())
            .filter(|version| !version.is_empty()),
        drain: drain
            .and_then(|since| since.parse().ok())
            .map(|since| Drain {
                since,
                attempt: node
                    .annotations()
                    .get(DRAINING_FOR)
                    .cloned()
                    .unwrap_or_default(),
                cordoned: node.annotations().get(CORDONED).map(String::as_str) == Some("true"),
            }),
    }
}

/// Status and message (or else reason) of a condition of a Node.
fn condition<'a>(node: &'a KubernetesNode, kind: &str) -> Option<(&'a str, Option<String>)> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    let found = conditions
        .iter()
        .find(|condition| condition.type_ == kind)?;
    let message = found.message.clone().or_else(|| found.reason.clone());
    Some((&found.status, message))
}

/// Why the API says that it is not ready.
async fn not_ready(client: &Client) -> Result<Option<String>, kube::Error> {
    let request = Request::get("/readyz")
        .body(vec![])
        .map_err(kube::Error::HttpError)?;
    match client.request_text(request).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) => Ok(Some(status.message.clone())),
        Err(error) => Err(error),
    }
}

/// The etcd members, wherever the distribution shows them: k3s and RKE2 on their Nodes, kubeadm
/// as Pods, k0s as objects of its own.
async fn etcd(client: &Client, nodes: &[KubernetesNode]) -> Result<Etcd, kube::Error> {
    let is_down: BTreeSet<String> = nodes
        .iter()
        .filter(|node| condition(node, "Ready").is_none_or(|(truth, _)| truth != "True"))
        .map(ResourceExt::name_any)
        .collect();
    let voters: BTreeMap<String, bool> = nodes
        .iter()
        .filter_map(|node| {
            let (truth, _) = condition(node, "EtcdIsVoter")?;
            let name = node.name_any();
            let is_healthy = truth == "True" && !is_down.contains(&name);
            Some((name, is_healthy))
        })
        .collect();
    if !voters.is_empty() {
        return Ok(Etcd::Members(voters));
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), "kube-system");
    let members: BTreeMap<String, bool> = pods
        .list(&ListParams::default().labels("component=etcd"))
        .await?
        .items
        .iter()
        .filter_map(|pod| {
            let node = pod.spec.as_ref()?.node_name.clone()?;
            let is_healthy = is_ready(pod) && !is_down.contains(&node);
            Some((node, is_healthy))
        })
        .collect();
    if !members.is_empty() {
        return Ok(Etcd::Members(members));
    }
    k0s_etcd(client, &is_down).await
}

/// A controller of k0s need not be a Node: one that is none is judged by its member alone.
async fn k0s_etcd(client: &Client, is_down: &BTreeSet<String>) -> Result<Etcd, kube::Error> {
    let kind = GroupVersionKind::gvk("etcd.k0sproject.io", "v1beta1", "EtcdMember");
    let resource = ApiResource::from_gvk_with_plural(&kind, "etcdmembers");
    let members: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let list = match members.list(&ListParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Etcd::Unseen),
        other => other?,
    };
    if list.items.is_empty() {
        return Ok(Etcd::Unseen);
    }
    let members = list.items.iter().map(|member| {
        let name = member.name_any();
        let is_healthy = has_joined(&member.data) && !is_down.contains(&name);
        (name, is_healthy)
    });
    Ok(Etcd::Members(members.collect()))
}

fn has_joined(member: &Value) -> bool {
    let conditions = member
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        condition.get("type") == Some(&json!("Joined"))
            && condition.get("status") == Some(&json!("True"))
    })
}

fn is_ready(pod: &Pod) -> bool {
    pod.status
        .as_ref()
        .and_then(|status| status.conditions.as_ref())
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The Pods to move, for each Node that is being drained.
async fn draining(
    client: &Client,
    nodes: &[Node],
) -> Result<BTreeMap<String, Vec<DrainedPod>>, kube::Error> {
    let names: Vec<&String> = nodes
        .iter()
        .filter(|node| node.drain.is_some())
        .map(|node| &node.name)
        .collect();
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let budgets: Api<PodDisruptionBudget> = Api::all(client.clone());
    let budgets = budgets.list(&ListParams::default()).await?.items;
    let pods: Api<Pod> = Api::all(client.clone());
    let mut draining = BTreeMap::new();
    for name in names {
        let of_node = ListParams::default().fields(&format!("spec.nodeName={name}"));
        let pods = pods.list(&of_node).await?.items;
        let moved = pods
            .iter()
            .filter(|pod| has_to_move(pod))
            .map(|pod| drained(pod, &budgets))
            .collect();
        draining.insert(name.clone(), moved);
    }
    Ok(draining)
}

/// Whether a drain has to move the Pod. Mirror Pods and those of DaemonSets would come back, and
/// finished ones do no harm.
fn has_to_move(pod: &Pod) -> bool {
    let is_mirror = pod
        .annotations()
        .contains_key("kubernetes.io/config.mirror");
    let is_of_daemon_set = pod
        .owner_references()
        .iter()
        .any(|owner| owner.controller == Some(true) && owner.kind == "DaemonSet");
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    let is_finished = matches!(phase, Some("Succeeded" | "Failed"));
    !is_mirror && !is_of_daemon_set && !is_finished
}

fn drained(pod: &Pod, budgets: &[PodDisruptionBudget]) -> DrainedPod {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    DrainedPod {
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        is_leaving: pod.metadata.deletion_timestamp.is_some(),
        has_empty_dir: volumes
            .into_iter()
            .flatten()
            .any(|volume| volume.empty_dir.is_some()),
        held_by: held_by(pod, budgets),
    }
}

/// The budget that does not allow the Pod to go. A Pod that more than one budget covers is never
/// evicted by the API.
fn held_by(pod: &Pod, budgets: &[PodDisruptionBudget]) -> Option<String> {
    let covering: Vec<&PodDisruptionBudget> = budgets
        .iter()
        .filter(|budget| budget.namespace() == pod.namespace() && covers(budget, pod))
        .collect();
    match covering[..] {
        [] => None,
        [budget] => (!allows(budget, pod)).then(|| budget.name_any()),
        [..] => {
            let names: Vec<String> = covering.iter().map(|budget| budget.name_any()).collect();
            Some(format!("{} (a Pod may have one only)", names.join(" and ")))
        }
    }
}

fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.clone());
    selector
        .and_then(|selector| Selector::try_from(selector).ok())
        .is_some_and(|selector| selector.matches(pod.labels()))
}

/// Whether the budget allows the Pod to be evicted now, by `unhealthyPodEvictionPolicy` too.
fn allows(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let Some(status) = &budget.status else {
        return false;
    };
    let policy = budget
        .spec
        .as_ref()
        .and_then(|spec| spec.unhealthy_pod_eviction_policy.as_deref());
    let desired = status.desired_healthy.unwrap_or(0);
    let is_healthy_enough = desired > 0 && status.current_healthy.unwrap_or(0) >= desired;
    status.disruptions_allowed.unwrap_or(0) > 0
        || (!is_ready(pod) && (policy == Some("AlwaysAllow") || is_healthy_enough))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(node: Value) -> Node {
        summary(&serde_json::from_value(node).unwrap())
    }

    #[test]
    fn a_node_without_a_condition_is_not_ready() {
        let with = |conditions: Value| {
            node(
                json!({"metadata": {"name": "cp-01"}, "status": {"conditions": conditions,
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}}),
            )
        };
        assert!(!with(json!([])).ready);
        let ready = with(json!([{"type": "Ready", "status": "True"}]));
        assert!(ready.ready);
        assert_eq!(ready.addresses, ["10.0.0.1"]);
        let unknown =
            with(json!([{"type": "Ready", "status": "Unknown", "message": "no heartbeat"}]));
        assert_eq!(
            (unknown.ready, unknown.message.as_str()),
            (false, "no heartbeat")
        );
    }

    #[test]
    fn only_a_lasting_taint_keeps_pods_away() {
        let with = |key: &str, effect: &str| {
            node(json!({"metadata": {"name": "cp-01"},
                "spec": {"taints": [{"key": key, "effect": effect}]}}))
            .repels_pods
        };
        assert!(with("node-role.kubernetes.io/control-plane", "NoSchedule"));
        assert!(with("CriticalAddonsOnly", "NoExecute"));
        assert!(!with("node.kubernetes.io/unschedulable", "NoSchedule"));
        assert!(!with("soft", "PreferNoSchedule"));
    }

    #[test]
    fn a_drain_of_ours_is_told_from_a_cordon_of_somebody_else() {
        let with = |annotations: Value| {
            node(
                json!({"metadata": {"name": "w-01", "annotations": annotations},
                "spec": {"unschedulable": true}}),
            )
            .drain
        };
        assert_eq!(with(json!({})), None);
        let since = "2026-01-01T00:00:00Z";
        let drain = |cordoned| {
            Some(Drain {
                since: since.parse().unwrap(),
                attempt: "this".to_owned(),
                cordoned,
            })
        };
        assert_eq!(
            with(json!({DRAINING_SINCE: since, DRAINING_FOR: "this"})),
            drain(false)
        );
        let ours = json!({DRAINING_SINCE: since, DRAINING_FOR: "this", CORDONED: "true"});
        assert_eq!(with(ours), drain(true));
    }

    fn pod(pod: Value) -> Pod {
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn pods_that_would_come_back_or_are_over_stay() {
        let moves = |metadata: Value, phase: &str| {
            has_to_move(&pod(
                json!({"metadata": metadata, "status": {"phase": phase}}),
            ))
        };
        let owned = |kind: &str| {
            json!({"ownerReferences": [{"apiVersion": "apps/v1", "kind": kind, "name": "x",
                "uid": "u", "controller": true}]})
        };
        assert!(moves(json!({}), "Running"));
        assert!(moves(owned("ReplicaSet"), "Pending"));
        assert!(!moves(owned("DaemonSet"), "Running"));
        assert!(!moves(json!({}), "Succeeded"));
        assert!(!moves(json!({}), "Failed"));
        let mirror = json!({"annotations": {"kubernetes.io/config.mirror": "x"}});
        assert!(!moves(mirror, "Running"));
    }

    #[test]
    fn the_budget_that_says_no_is_named() {
        let budget = |name: &str, allowed: i32, more: Value| -> PodDisruptionBudget {
            let mut spec = json!({"selector": {"matchLabels": {"app": "db"}}});
            spec.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            serde_json::from_value(json!({
                "metadata": {"name": name, "namespace": "default"}, "spec": spec,
                "status": {"disruptionsAllowed": allowed, "currentHealthy": 1,
                    "desiredHealthy": 2, "expectedPods": 2},
            }))
            .unwrap()
        };
        let db = |ready: &str| {
            pod(
                json!({"metadata": {"name": "db-0", "namespace": "default", "labels": {"app": "db"}},
                "status": {"conditions": [{"type": "Ready", "status": ready}]}}),
            )
        };
        let no = budget("db", 0, json!({}));
        assert_eq!(
            held_by(&db("True"), std::slice::from_ref(&no)).as_deref(),
            Some("db")
        );
        assert_eq!(held_by(&db("True"), &[budget("db", 1, json!({}))]), None);
        let always = budget(
            "db",
            0,
            json!({"unhealthyPodEvictionPolicy": "AlwaysAllow"}),
        );
        assert_eq!(held_by(&db("False"), &[always]), None);
        assert_eq!(
            held_by(&db("False"), std::slice::from_ref(&no)).as_deref(),
            Some("db")
        );
        let other = pod(json!({"metadata": {"name": "x", "namespace": "default"}}));
        assert_eq!(held_by(&other, std::slice::from_ref(&no)), None);
        let two = held_by(&db("True"), &[no, budget("other", 1, json!({}))]);
        assert!(two.unwrap().starts_with("db and other"));
    }

    #[test]
    fn a_member_of_k0s_counts_when_it_has_joined() {
        let member =
            |truth: &str| json!({"status": {"conditions": [{"type": "Joined", "status": truth}]}});
        assert!(has_joined(&member("True")));
        assert!(!has_joined(&member("False")));
        assert!(!has_joined(&json!({})));
    }
}
