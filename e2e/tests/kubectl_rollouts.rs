//! `kubectl` rolls out Deployments that a server with simulated workloads brings to life.

use anyhow::{Result, ensure};
use nico_e2e::{Client, eventually, with_each_kubectl};
use serde_json::json;

/// A Node that is Ready.
async fn add_node(client: &Client) -> Result<()> {
    let name = format!("node-{}", client.minor);
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    });
    client.send(&["create"], &node.to_string()).await?;
    Ok(())
}

/// The images of the Pods that do not end.
async fn images(client: &Client) -> Result<Vec<String>> {
    let path = "-o=jsonpath={range .items[?(@.status.phase==\"Running\")]}\
                {.spec.containers[0].image}{\"\\n\"}{end}";
    let images = client.run(&["get", "pods", path]).await?;
    Ok(images.lines().map(str::to_owned).collect())
}

/// Waits until all Pods have an image.
async fn runs(client: &Client, image: &str, count: usize) -> Result<()> {
    eventually(&format!("{count} pods of {image}"), async || {
        let images = images(client).await?;
        let all = images.len() == count && images.iter().all(|found| found == image);
        Ok(all.then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_made_scaled_changed_restarted_and_undone() -> Result<()> {
    with_each_kubectl(&["--simulate-workloads"], async |_, client| {
        add_node(client).await?;
        let create = [
            "create",
            "deployment",
            "web",
            "--image=nginx:1",
            "--replicas=2",
        ];
        client.run(&create).await?;
        let status = ["rollout", "status", "deployment/web", "--timeout=60s"];
        client.says(&status, &["successfully rolled out"]).await?;
        runs(client, "nginx:1", 2).await?;

        client
            .says(&["scale", "deployment/web", "--replicas=4"], &["scaled"])
            .await?;
        client.says(&status, &["successfully rolled out"]).await?;
        runs(client, "nginx:1", 4).await?;

        client
            .run(&["set", "image", "deployment/web", "nginx=nginx:2"])
            .await?;
        client.says(&status, &["successfully rolled out"]).await?;
        runs(client, "nginx:2", 4).await?;

        let before = client.run(&["get", "pods", "-o", "name"]).await?;
        client
            .says(&["rollout", "restart", "deployment/web"], &["restarted"])
            .await?;
        client.says(&status, &["successfully rolled out"]).await?;
        eventually("none of the pods before the restart", async || {
            let after = client.run(&["get", "pods", "-o", "name"]).await?;
            let new = after.lines().all(|pod| !before.contains(pod));
            Ok((new && after.lines().count() == 4).then_some(()))
        })
        .await?;

        let history = ["rollout", "history", "deployment/web"];
        client.says(&history, &["1 ", "2 ", "3 "]).await?;
        let undo = ["rollout", "undo", "deployment/web", "--to-revision=1"];
        client.says(&undo, &["rolled back"]).await?;
        client.says(&status, &["successfully rolled out"]).await?;
        runs(client, "nginx:1", 4).await?;
        let history = client.run(&history).await?;
        let revisions: Vec<&str> = history
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .filter(|word| word.parse::<u32>().is_ok())
            .collect();
        ensure!(revisions == ["2", "3", "4"], "{history}");

        client.run(&["delete", "deployment", "web"]).await?;
        eventually("no pods", async || {
            let left = client.run(&["get", "pods", "-o", "name"]).await?;
            Ok(left.is_empty().then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_cannot_end_says_so() -> Result<()> {
    with_each_kubectl(&["--simulate-workloads"], async |_, client| {
        // There is no Node, so nothing runs.
        client
            .run(&["create", "deployment", "web", "--image=nginx:1"])
            .await?;
        let status = ["rollout", "status", "deployment/web", "--timeout=2s"];
        let waited = client.refuses(&status, "").await?;
        ensure!(waited.contains("timed out"), "{waited}");
        let pause = ["rollout", "pause", "deployment/web"];
        client.says(&pause, &["paused"]).await?;
        add_node(client).await?;
        client
            .says(&["rollout", "resume", "deployment/web"], &["resumed"])
            .await?;
        let status = ["rollout", "status", "deployment/web", "--timeout=60s"];
        client.says(&status, &["successfully rolled out"]).await?;
        client.run(&["delete", "deployment", "web"]).await?;
        let node = format!("node-{}", client.minor);
        client.run(&["delete", "node", &node]).await?;
        Ok(())
    })
    .await
}
