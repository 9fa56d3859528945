//! One cluster from nothing to Ready, seen with `kubectl`, and back.

use anyhow::{Result, ensure};
use nico_e2e::{Lab, skipped};
use nico_sandbox::FIVE_HOSTS;

fn header_has(table: &str, columns: &[&str]) -> bool {
    let header = table.lines().next().unwrap_or_default();
    columns.iter().all(|column| header.contains(column))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_becomes_ready_shows_itself_in_kubectl_and_leaves_nothing() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let mut lab = Lab::start(FIVE_HOSTS, &[]).await?;
    lab.run(async |lab| {
        lab.create_machines().await?;
        lab.apply(&lab.cluster("home")).await?;
        lab.kubectl(&[
            "wait",
            "--for=condition=Ready",
            "kcluster/home",
            "--timeout=120s",
        ])
        .await?;

        let clusters = lab.kubectl(&["get", "kcluster"]).await?;
        let titles = [
            "NAME",
            "PHASE",
            "CONTROL PLANE",
            "DATA PLANE",
            "KUBECONFIG",
            "REVISION",
            "AGE",
        ];
        ensure!(header_has(&clusters, &titles), "{clusters}");
        ensure!(
            clusters.contains("3/3") && clusters.contains("2/2"),
            "{clusters}"
        );
        ensure!(clusters.contains("home-kubeconfig"), "{clusters}");

        let machines = lab.kubectl(&["get", "mach"]).await?;
        let titles = [
            "HOSTNAME",
            "IP ADDRESS",
            "DISCOVERABLE",
            "HAS CONFIG",
            "APPLIED CONFIG",
            "CLUSTER",
        ];
        ensure!(header_has(&machines, &titles), "{machines}");
        ensure!(machines.matches("home-").count() == 5, "{machines}");

        let configurations = lab.kubectl(&["get", "nixconf"]).await?;
        ensure!(
            header_has(&configurations, &["MACHINE", "FLAKE", "READY", "REASON"]),
            "{configurations}"
        );
        ensure!(
            configurations.matches("Applied").count() == 5,
            "{configurations}"
        );

        let all = lab.kubectl(&["get", "mach,nixconf,kcluster"]).await?;
        ensure!(
            all.contains("kubernetescluster.nico.homystack.com/home"),
            "{all}"
        );

        let template = "{{.data.kubeconfig | base64decode}}";
        let kubeconfig = lab
            .kubectl(&["get", "secret", "home-kubeconfig", "--template", template])
            .await?;
        let file = lab.kubectl.directory().join("home.kubeconfig");
        std::fs::write(&file, kubeconfig)?;
        let home = lab.kubectl.clone().with_kubeconfig(&file);
        let nodes = home.run(&["get", "nodes", "--no-headers"]).await?;
        ensure!(nodes.lines().count() == 5, "{nodes}");
        ensure!(
            nodes.lines().all(|node| node.contains(" Ready ")),
            "{nodes}"
        );
        ensure!(nodes.matches("control-plane").count() == 3, "{nodes}");

        lab.kubectl(&["delete", "kcluster", "home", "--timeout=120s"])
            .await?;
        lab.assert_nothing_is_left().await
    })
    .await
}
