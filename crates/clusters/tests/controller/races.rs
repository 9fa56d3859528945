//! Clusters that want the same machines.

use nico_api::kubernetes_cluster::conditions as kind;
use serde_json::json;

use crate::creation::{FIVE, home};
use crate::lab::{Lab, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn of_two_clusters_that_want_the_same_machines_one_gets_them_and_the_other_says_what_is_missing()
 {
    let lab = Lab::start(&FIVE).await;
    let _operator = lab.operator().await;
    tokio::join!(lab.create("home", home()), lab.create("away", home()));
    let (winner, loser) = eventually("one of the clusters is Ready", async || {
        let ready = async |name: &str| {
            let status = lab.status(name).await;
            nico_api::condition::is_true(&status.conditions, kind::READY)
        };
        if ready("home").await {
            Some(("home", "away"))
        } else if ready("away").await {
            Some(("away", "home"))
        } else {
            None
        }
    })
    .await;
    let message = lab
        .reason(loser, kind::MACHINES_SELECTED, "MachineInUse")
        .await;
    assert!(
        message.contains(&format!("cp-01 is claimed by cluster {winner}")),
        "{message}"
    );
    assert!(
        lab.claims()
            .await
            .values()
            .all(|(cluster, _)| cluster == winner)
    );

    lab.delete(winner).await;
    lab.condition(loser, kind::READY, "True").await;
    lab.delete(loser).await;
    lab.gone(loser).await;
    lab.gone(winner).await;
    lab.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_clusters_that_start_together_share_no_machine_and_as_many_as_can_start() {
    let machines: Vec<String> = (0..12).map(|number| format!("m-{number:02}")).collect();
    let lab = Lab::start(&machines.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let spec =
        json!({"controlPlane": {"machineSelector": {"matchLabels": {"role": "m"}}, "count": 3}});
    for number in 0..20 {
        lab.create(&format!("c-{number:02}"), spec.clone()).await;
    }
    let _operator = lab.operator().await;
    eventually("four clusters are Ready", async || {
        let mut ready = 0;
        for number in 0..20 {
            let status = lab.status(&format!("c-{number:02}")).await;
            ready += usize::from(nico_api::condition::is_true(
                &status.conditions,
                kind::READY,
            ));
        }
        (ready == 4).then_some(())
    })
    .await;
    let mut holders: Vec<String> = lab
        .claims()
        .await
        .into_values()
        .map(|(cluster, _)| cluster)
        .collect();
    assert_eq!(holders.len(), 12);
    holders.sort();
    assert!(
        holders
            .chunks(3)
            .all(|chunk| chunk.iter().all(|holder| *holder == chunk[0])),
        "{holders:?}"
    );
    lab.layer.assert_no_rule_was_broken();
}
