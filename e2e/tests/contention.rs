//! Several clusters that want the same machines.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use kube::api::ListParams;
use nico_api::kubernetes_cluster::{Phase, conditions};
use nico_api::labels;
use nico_e2e::{Lab, condition, eventually, skipped};
use nico_sandbox::FIVE_HOSTS;

#[tokio::test(flavor = "multi_thread")]
async fn two_clusters_of_the_same_second_share_no_machine_and_the_loser_says_what_is_missing()
-> Result<()> {
    if skipped() {
        return Ok(());
    }
    let mut lab = Lab::start(FIVE_HOSTS, &[]).await?;
    lab.run(async |lab| {
        lab.create_machines().await?;
        lab.apply(&format!(
            "{}\n---\n{}",
            lab.cluster("home"),
            lab.cluster("away")
        ))
        .await?;

        let winner = eventually("one of the clusters is Ready", async || {
            // At every moment, not only at the end.
            assert_no_machine_is_in_two_clusters(lab).await?;
            let clusters = lab.clusters().list(&ListParams::default()).await?;
            let ready = clusters.iter().find(|cluster| {
                cluster.status.as_ref().and_then(|status| status.phase) == Some(Phase::Ready)
            });
            Ok(ready.map(ResourceExt::name_any))
        })
        .await?;
        let loser = if winner == "home" { "away" } else { "home" };

        let selected = condition(
            &lab.clusters(),
            loser,
            conditions::MACHINES_SELECTED,
            "False",
        )
        .await?;
        ensure!(selected.message.contains("cp-01"), "{}", selected.message);
        let described = lab.kubectl(&["describe", "kcluster", loser]).await?;
        ensure!(described.contains(&selected.message), "{described}");
        let machines = lab.machines().list(&ListParams::default()).await?;
        for machine in machines {
            let cluster = machine.label(labels::CLUSTER);
            ensure!(
                cluster == Some(&winner),
                "{}: {cluster:?}",
                machine.name_any()
            );
        }

        // What was taken becomes free, and the other goes on by itself.
        lab.kubectl(&["delete", "kcluster", &winner, "--timeout=120s"])
            .await?;
        condition(&lab.clusters(), loser, conditions::READY, "True").await?;
        lab.kubectl(&["delete", "kcluster", loser, "--timeout=120s"])
            .await?;
        lab.assert_nothing_is_left().await
    })
    .await
}

async fn assert_no_machine_is_in_two_clusters(lab: &Lab) -> Result<()> {
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for configuration in lab.configurations().list(&ListParams::default()).await? {
        let machine = configuration.spec.machine_ref.name.clone();
        let cluster = configuration
            .labels()
            .get(labels::CLUSTER)
            .context("no label")?
            .clone();
        if let Some(other) = owners.insert(machine.clone(), cluster.clone()) {
            // A panic, because an error would only be waited over.
            assert_eq!(other, cluster, "{machine} is in two clusters");
        }
    }
    Ok(())
}
