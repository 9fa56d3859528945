//! `kubectl` looks at things: kinds and their fields, tables and other forms, watches and waits.

use anyhow::{Context, Result, ensure};
use nico_e2e::{Client, with_each_kubectl};

const CRDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds");

/// A server with our kinds, and each `kubectl` after the other.
async fn with_each(test: impl AsyncFn(&Client) -> Result<()>) -> Result<()> {
    with_each_kubectl(&[], async |_, client| {
        client.run(&["apply", "-f", CRDS]).await?;
        let established = ["wait", "--for=condition=Established", "crd", "--all"];
        client.run(&established).await?;
        test(client).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_built_in_and_own_kinds_are_explained() -> Result<()> {
    with_each(async |client| {
        client
            .says(
                &["explain", "pod.spec.containers.livenessProbe"],
                &["failureThreshold", "<integer>"],
            )
            .await?;
        client
            .says(&["explain", "deploy.spec.strategy"], &["rollingUpdate"])
            .await?;
        client
            .says(
                &["explain", "pods", "--recursive"],
                &["ownerReferences", "tolerations"],
            )
            .await?;
        client
            .says(
                &["explain", "machine.spec"],
                &["KIND:", "Machine", "sshPort", "TCP port"],
            )
            .await?;
        client
            .says(
                &["explain", "kcluster", "--recursive"],
                &["maxUnavailableWorkers", "matchLabels"],
            )
            .await?;
        let refused = client.refuses(&["explain", "pod.spec.nothing"], "").await?;
        ensure!(
            refused.contains(r#"field "nothing" does not exist"#),
            "{refused}"
        );
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_and_versions_are_listed_and_the_client_knows_where_it_is() -> Result<()> {
    with_each(async |client| {
        client
            .says(
                &["api-resources"],
                &[
                    "deployments",
                    "deploy",
                    "machines",
                    "mach",
                    "nio.homystack.com/v1alpha1",
                ],
            )
            .await?;
        client
            .says(
                &["api-versions"],
                &["apps/v1\n", "nico.homystack.com/v1alpha1\n"],
            )
            .await?;
        let namespaced = [
            "api-resources",
            "--namespaced=false",
            "--verbs=list",
            "-o",
            "name",
        ];
        let names = client.says(&namespaced, &["nodes\n"]).await?;
        ensure!(!names.contains("pods\n"), "{names}");
        client
            .says(&["version", "-o", "json"], &["v1.36.0"])
            .await?;
        client.says(&["cluster-info"], &["is running at"]).await?;
        client
            .says(&["config", "view"], &["DATA+OMITTED", "https://127.0.0.1:"])
            .await?;
        client
            .says(&["auth", "can-i", "create", "pods"], &["yes"])
            .await?;
        client.says(&["auth", "can-i", "--list"], &["*.*"]).await?;
        if client.has(28, "auth whoami") {
            client
                .says(&["auth", "whoami"], &["system:masters"])
                .await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_shown_in_every_form() -> Result<()> {
    with_each(async |client| {
        client
            .run(&["create", "configmap", "c", "--from-literal=k=v"])
            .await?;
        client.run(&["run", "p", "--image=nginx"]).await?;
        client
            .says(&["get", "cm", "c"], &["NAME", "DATA", "AGE"])
            .await?;
        let wide = ["NOMINATED NODE", "READINESS GATES", "Pending", "0/1"];
        client.says(&["get", "pods", "-o", "wide"], &wide).await?;
        client
            .says(
                &["get", "cm", "c", "-o", "yaml"],
                &["k: v", "kind: ConfigMap"],
            )
            .await?;
        client
            .says(&["get", "cm", "-o", "json"], &[r#""kind": "List""#])
            .await?;
        let columns = "-o=custom-columns=WHAT:.metadata.name,K:.data.k";
        client
            .says(&["get", "cm", "c", columns], &["WHAT", "c", "v"])
            .await?;
        let selected = [
            "get",
            "pods",
            "--field-selector=status.phase=Pending",
            "-o",
            "name",
        ];
        client.says(&selected, &["pod/p"]).await?;
        client
            .says(&["get", "pods", "--sort-by=.metadata.name"], &["p"])
            .await?;
        client
            .says(
                &["get", "pods", "-A", "--chunk-size=1"],
                &["NAMESPACE", "p"],
            )
            .await?;
        client
            .says(
                &["describe", "pod", "p"],
                &["Image:", "nginx", "QoS Class:"],
            )
            .await?;
        client
            .says(&["describe", "cm", "c"], &["Data", "k:"])
            .await?;
        client
            .says(&["describe", "ns", "default"], &["Status:       Active"])
            .await?;
        client.says(&["get", "all"], &["pod/p"]).await?;
        let refused = client.refuses(&["get", "cm", "none"], "").await?;
        ensure!(
            refused.trim() == r#"Error from server (NotFound): configmaps "none" not found"#,
            "{refused}"
        );
        let refused = client.refuses(&["get", "nothing"], "").await?;
        ensure!(
            refused.contains(r#"doesn't have a resource type "nothing""#),
            "{refused}"
        );
        if client.has(26, "events") {
            client.run(&["events"]).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_follow_and_waits_end_when_it_is_so() -> Result<()> {
    with_each(async |client| {
        client.run(&["create", "configmap", "c"]).await?;
        client.run(&["run", "p", "--image=nginx"]).await?;
        // The watch ends by itself: the request has a time limit.
        let watch = [
            "get",
            "cm",
            "c",
            "-w",
            "--request-timeout=3s",
            "--output-watch-events",
        ];
        let (seen, changed) = tokio::join!(
            client.kubectl.output(&watch, ""),
            client.run(&["annotate", "cm", "c", "note=x"])
        );
        changed?;
        let seen = String::from_utf8_lossy(&seen?.stdout).into_owned();
        ensure!(
            seen.starts_with("EVENT") && seen.contains("ADDED"),
            "{seen}"
        );

        let deleted = ["wait", "--for=delete", "cm/c", "--timeout=60s"];
        let (waited, gone) = tokio::join!(
            client.run(&deleted),
            client.run(&["delete", "cm", "c", "--wait=false"])
        );
        gone?;
        waited.or_else(|error| {
            // The deletion was quicker than the wait: 1.20 says it in other words.
            let says = error.to_string();
            let was_quicker = ["NotFound", "no matching resources found"]
                .iter()
                .any(|words| says.contains(words));
            was_quicker.then(String::new).context(error)
        })?;
        let early = ["wait", "--for=condition=Ready", "pod/p", "--timeout=1s"];
        let refused = client.refuses(&early, "").await?;
        ensure!(
            refused.contains("timed out waiting for the condition"),
            "{refused}"
        );
        if client.has(23, "wait --for=jsonpath") {
            let phase = [
                "wait",
                "--for=jsonpath={.status.phase}=Pending",
                "pod/p",
                "--timeout=60s",
            ];
            client.says(&phase, &["condition met"]).await?;
        }
        Ok(())
    })
    .await
}
