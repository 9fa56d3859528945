//! `kubectl drain` against PodDisruptionBudgets, and what goes with an owner.

use anyhow::{Result, ensure};
use nico_e2e::{Client, eventually, with_each_kubectl};
use serde_json::{Value, json};

/// A Pod of that owner on a Node, which is gone at once when it is deleted: nothing here plays
/// the kubelet that would end it.
fn pod(name: &str, node: &str, owner: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "web"}, "ownerReferences": [owner]},
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "web", "image": "nginx"}],
        },
    })
}

/// Makes a ReplicaSet and gives the reference of its Pods.
async fn owner(client: &Client) -> Result<Value> {
    let labels = json!({"app": "web"});
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "web", "image": "nginx"}]},
        }},
    });
    client.send(&["create"], &set.to_string()).await?;
    let uid = client.field("rs/web", "{.metadata.uid}").await?;
    Ok(json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": uid,
        "controller": true, "blockOwnerDeletion": true,
    }))
}

/// Writes what a kubelet would say of a Pod that runs; `kubectl` before 1.24 cannot write a
/// status.
async fn make_ready(client: &Client, server: &kube::Client, name: &str) -> Result<()> {
    let namespace = client
        .run(&["config", "view", "--minify", "-o=jsonpath={..namespace}"])
        .await?;
    let pods: kube::Api<k8s_openapi::api::core::v1::Pod> =
        kube::Api::namespaced(server.clone(), &namespace);
    let status = json!({"status": {
        "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
    }});
    let patch = kube::api::Patch::Merge(status);
    pods.patch_status(name, &kube::api::PatchParams::default(), &patch)
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_evicts_as_far_as_the_budget_allows() -> Result<()> {
    with_each_kubectl(&[], async |server, client| {
        let direct = server.administrator().await?;
        let node_name = format!("node-{}", client.minor);
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node_name}});
        client.send(&["create"], &node.to_string()).await?;
        let owner = owner(client).await?;
        for name in ["a", "b"] {
            let pod = pod(name, &node_name, &owner);
            client.send(&["create"], &pod.to_string()).await?;
            make_ready(client, &direct, name).await?;
        }
        let budget = json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
        });
        client.send(&["create"], &budget.to_string()).await?;
        eventually("one allowed disruption", async || {
            let allowed = client
                .field("pdb/web", "{.status.disruptionsAllowed}")
                .await?;
            Ok((allowed == "1").then_some(()))
        })
        .await?;

        client.says(&["cordon", &node_name], &["cordoned"]).await?;
        client
            .says(&["get", "node", &node_name], &["SchedulingDisabled"])
            .await?;
        client
            .says(&["uncordon", &node_name], &["uncordoned"])
            .await?;
        let refused = client
            .refuses(&["drain", &node_name, "--timeout=4s"], "")
            .await?;
        ensure!(
            refused.contains("violate the pod's disruption budget"),
            "{refused}"
        );
        let left = client.run(&["get", "pods", "-o", "name"]).await?;
        ensure!(left.lines().count() == 1, "{left}");

        client.run(&["delete", "pdb", "web"]).await?;
        let drain = ["drain", &node_name, "--timeout=60s"];
        client
            .says(&drain, &["already cordoned", " evicted"])
            .await?;
        ensure!(client.run(&["get", "pods", "-o", "name"]).await?.is_empty());

        client
            .says(
                &["taint", "node", &node_name, "k=v:NoSchedule"],
                &["tainted"],
            )
            .await?;
        let again = ["taint", "node", &node_name, "k=v:NoSchedule"];
        let refused = client.refuses(&again, "").await?;
        ensure!(refused.contains("already has k taint"), "{refused}");
        client
            .says(&["taint", "node", &node_name, "k-"], &["untainted"])
            .await?;
        client.run(&["delete", "node", &node_name]).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_refuses_pods_that_nobody_would_make_again() -> Result<()> {
    with_each_kubectl(&[], async |_, client| {
        let name = format!("node-{}", client.minor);
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
        client.send(&["create"], &node.to_string()).await?;
        let mut pod = pod("alone", &name, &Value::Null);
        pod["metadata"]["ownerReferences"] = json!([]);
        client.send(&["create"], &pod.to_string()).await?;
        let refused = client
            .refuses(&["drain", &name, "--timeout=60s"], "")
            .await?;
        ensure!(refused.contains("use --force"), "{refused}");
        let drain = ["drain", &name, "--force", "--timeout=60s"];
        client.says(&drain, &["pod/alone evicted"]).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_owner_has_goes_with_it_or_is_left_as_told() -> Result<()> {
    with_each_kubectl(&[], async |_, client| {
        let owned = owner(client).await?;
        client
            .send(&["create"], &pod("a", "", &owned).to_string())
            .await?;
        let orphan = ["delete", "rs", "web", "--cascade=orphan"];
        client.says(&orphan, &["deleted"]).await?;
        eventually("a Pod without an owner", async || {
            let owners = client.field("pod/a", "{.metadata.ownerReferences}").await?;
            Ok(owners.is_empty().then_some(()))
        })
        .await?;

        let owned = owner(client).await?;
        client
            .send(&["create"], &pod("b", "", &owned).to_string())
            .await?;
        let foreground = [
            "delete",
            "rs",
            "web",
            "--cascade=foreground",
            "--timeout=60s",
        ];
        client.says(&foreground, &["deleted"]).await?;
        // The owner goes last: when `kubectl` has waited for it, the Pod is gone.
        let left = client.run(&["get", "pods", "-o", "name"]).await?;
        ensure!(left.trim() == "pod/a", "{left}");
        Ok(())
    })
    .await
}
