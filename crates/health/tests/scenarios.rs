//! Whole clusters in an API server: what is named first, what the exit code is, and that nothing is
//! ever written.

mod cluster;

use std::time::Duration;

use anyhow::{Context, Result};
use cluster::{Cluster, all_reads, everything, kustomization, node, ready, repository};
use nico_apiserver::faults::{Fault, Faults, Rule, Verb};
use nico_health::collect::{Scope, Wanted, collect};
use nico_health::diagnose::diagnose;
use nico_health::flux::{status, why};
use nico_health::issue::{Layer, ObjectRef, Severity};
use nico_health::report::{Status, text};
use nico_health::thresholds::Thresholds;
use nico_terminal::tree::Line;
use serde_json::json;

#[tokio::test]
async fn a_cluster_without_flux_is_healthy_and_flux_is_absent() -> Result<()> {
    let cluster = Cluster::start(all_reads(), Faults::default()).await?;
    cluster.create(&node("node-1", "True")).await?;
    let (_, report) = cluster.look(&cluster.user, None).await;
    assert_eq!(report.issues, []);
    assert_eq!(report.status, Status::Healthy);
    assert_eq!(report.exit_code(Severity::Warning), 0);
    let flux = report
        .layers
        .iter()
        .find(|layer| layer.layer == Layer::Flux);
    assert_eq!(flux.map(|layer| layer.status), Some(Status::Absent));
    Ok(())
}

#[tokio::test]
async fn forty_that_wait_for_one_are_one_issue_and_nothing_is_written() -> Result<()> {
    let cluster = Cluster::start(all_reads(), Faults::default())
        .await?
        .with_flux()
        .await?;
    cluster.create(&repository()).await?;
    let failed = ready(
        "False",
        "BuildFailed",
        "failed to decrypt: no identity matched",
    );
    cluster
        .create(&kustomization("infra", None, &failed))
        .await?;
    for number in 0..40 {
        let waits = ready(
            "False",
            "DependencyNotReady",
            "dependency 'flux-system/infra' is not ready",
        );
        let name = format!("app-{number:02}");
        cluster
            .create(&kustomization(&name, Some("infra"), &waits))
            .await?;
    }
    let (world, report) = cluster.look(&cluster.user, None).await;
    let roots: Vec<String> = report
        .roots()
        .map(|issue| issue.object.to_string())
        .collect();
    assert_eq!(roots, ["Kustomization flux-system/infra"]);
    assert_eq!(report.issues[0].id, "decryption-failed");
    assert_eq!(report.issues[0].explains, 40);
    assert_eq!(report.exit_code(Severity::Critical), 2);

    let shown = status::status(&world, report.timestamp);
    assert_eq!(shown.status, Status::Critical);
    assert_eq!(shown.objects.len(), 42);
    let asked = ObjectRef::new("Kustomization", "flux-system", "app-07");
    let chain = why::why(&world, &report, &Thresholds::default(), &asked).context("it is there")?;
    let infra = ObjectRef::new("Kustomization", "flux-system", "infra");
    assert_eq!(chain.failing, Some(infra));
    let links: Vec<String> = chain
        .links
        .iter()
        .map(|link| link.object.to_string())
        .collect();
    assert_eq!(
        links,
        [
            "GitRepository flux-system/flux-system",
            "Kustomization flux-system/app-07",
            "Kustomization flux-system/infra"
        ]
    );

    cluster.has_only_been_read()?;
    Ok(())
}

#[tokio::test]
async fn three_failures_with_one_cause_name_the_node() -> Result<()> {
    let cluster = Cluster::start(all_reads(), Faults::default()).await?;
    cluster.create(&node("node-1", "Unknown")).await?;
    cluster.create(&node("node-2", "True")).await?;
    cluster
        .create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "apps"}}))
        .await?;
    for name in ["a", "b", "c"] {
        cluster
            .create(&json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "apps"},
                "spec": {"nodeName": "node-1", "containers": [{"name": "main", "image": "main"}]},
                "status": {"phase": "Running", "conditions": ready("False", "NodeLost", "")},
            }))
            .await?;
    }
    let (_, report) = cluster.look(&cluster.user, None).await;
    let roots: Vec<String> = report
        .roots()
        .map(|issue| issue.object.to_string())
        .collect();
    assert_eq!(roots, ["Node node-1"]);
    assert_eq!(report.issues[0].explains, 3);
    Ok(())
}

#[tokio::test]
async fn a_user_with_few_rights_is_told_what_was_not_checked() -> Result<()> {
    let rights = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]);
    let cluster = Cluster::start(rights, Faults::default()).await?;
    let (_, report) = cluster.look(&cluster.user, None).await;
    assert_eq!(report.issues, []);
    assert_eq!(report.status, Status::Unknown);
    assert_eq!(report.exit_code(Severity::Critical), 3);
    let nodes = report
        .layers
        .iter()
        .find(|layer| layer.layer == Layer::Nodes)
        .context("nodes")?;
    assert_eq!(nodes.status, Status::Unknown);
    assert!(nodes.gaps[0].why.contains("rita"), "{:?}", nodes.gaps);
    Ok(())
}

#[tokio::test]
async fn what_is_not_answered_in_time_is_unknown_and_not_healthy() -> Result<()> {
    let slow = Rule::new(Fault::Latency {
        before: Duration::from_secs(600),
        after: Duration::ZERO,
    });
    let faults = Faults::default();
    faults.add(slow.verbs([Verb::List]).resource("nodes").user("rita"));
    let cluster = Cluster::start(all_reads(), faults).await?;
    let scope = Scope {
        wanted: Wanted::Layers(vec![Layer::Nodes]),
        timeout: Duration::from_secs(5),
        ..everything(None)
    };
    let world = collect(&cluster.user, &scope).await.world;
    let now = jiff::Timestamp::now();
    let report = diagnose(&world, &[Layer::Nodes], &Thresholds::default(), now);
    assert_eq!(report.status, Status::Unknown);
    assert_eq!(report.exit_code(Severity::Warning), 3);
    let nodes = report
        .layers
        .iter()
        .find(|layer| layer.layer == Layer::Nodes)
        .context("nodes")?;
    assert!(
        nodes.gaps[0].why.contains("no answer within 5 s"),
        "{:?}",
        nodes.gaps
    );
    Ok(())
}

#[tokio::test]
async fn an_api_server_that_is_away_is_unknown_and_not_healthy() -> Result<()> {
    let cluster = Cluster::start(all_reads(), Faults::default()).await?;
    let client = cluster.user.clone();
    cluster.server.shutdown().await;
    let collected = collect(&client, &everything(None)).await;
    let report = diagnose(
        &collected.world,
        &[],
        &Thresholds::default(),
        jiff::Timestamp::now(),
    );
    assert_eq!(report.exit_code(Severity::Critical), 3);
    assert!(collected.requests <= 2);
    let told: Vec<String> = text::of(&report, 80).iter().map(Line::plain).collect();
    assert!(told.len() < 6, "the reason is told once: {told:#?}");
    let is_reason = |line: &String| line.starts_with("Nothing could be read: ");
    assert!(told.iter().any(is_reason), "{told:#?}");
    Ok(())
}

#[tokio::test]
async fn a_namespace_alone_shows_what_is_in_it_and_what_explains_it() -> Result<()> {
    let cluster = Cluster::start(all_reads(), Faults::default()).await?;
    for name in ["apps", "other"] {
        cluster
            .create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
            .await?;
        cluster
            .create(&json!({
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": "data", "namespace": name},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
                "status": {"phase": "Lost"},
            }))
            .await?;
    }
    let (_, report) = cluster.look(&cluster.user, Some("apps")).await;
    let found: Vec<String> = report
        .issues
        .iter()
        .map(|issue| issue.object.to_string())
        .collect();
    assert_eq!(found, ["PersistentVolumeClaim apps/data"]);
    Ok(())
}

#[tokio::test]
async fn a_namespace_that_is_not_there_is_not_healthy() -> Result<()> {
    let cluster = Cluster::start(all_reads(), Faults::default()).await?;
    cluster.create(&node("node-1", "True")).await?;
    let (_, report) = cluster.look(&cluster.user, Some("default")).await;
    assert_eq!(report.exit_code(Severity::Warning), 0);
    let (_, report) = cluster.look(&cluster.user, Some("defualt")).await;
    assert_eq!(report.exit_code(Severity::Warning), 3);
    let mut gaps = report.layers.iter().flat_map(|layer| &layer.gaps);
    let gap = gaps.find(|gap| gap.what == "namespace defualt");
    assert_eq!(gap.context("it is told")?.why, "is not there");
    Ok(())
}
