//! The operator is killed again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, ListParams};
use nico_api::kubernetes_cluster::conditions;
use nico_e2e::{Lab, condition, eventually, say, skipped};
use nico_sandbox::FIVE_HOSTS;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Kills while the cluster is made, and while it is deleted.
const KILLS: [u32; 2] = [6, 4];

/// A run without a kill takes a few seconds; a moment after that would hit nothing.
const LATEST: Duration = Duration::from_millis(2500);

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_right_whenever_the_operator_is_killed() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let seed = match std::env::var("NICO_E2E_SEED") {
        Ok(seed) => seed.parse().context("NICO_E2E_SEED is no number")?,
        Err(_) => rand::random::<u64>(),
    };
    say(&format!("NICO_E2E_SEED={seed}"));
    let mut random = StdRng::seed_from_u64(seed);

    let mut lab = Lab::start(FIVE_HOSTS, &[]).await?;
    lab.run(async |lab| {
        lab.create_machines().await?;
        lab.apply(&lab.cluster("home")).await?;
        kill_again_and_again(lab, KILLS[0], &mut random).await?;
        condition(&lab.clusters(), "home", conditions::READY, "True").await?;
        let machines = lab.machines().list(&ListParams::default()).await?;
        ensure!(machines.iter().all(nico_api::Machine::has_configuration));
        let configurations = lab.configurations().list(&ListParams::default()).await?;
        ensure!(
            configurations.items.len() == 5,
            "{} configurations",
            configurations.items.len()
        );

        lab.kubectl(&["delete", "kcluster", "home", "--wait=false"])
            .await?;
        kill_again_and_again(lab, KILLS[1], &mut random).await?;
        eventually("the cluster is gone", async || {
            Ok(lab
                .clusters()
                .get_opt("home")
                .await?
                .is_none()
                .then_some(()))
        })
        .await?;
        lab.assert_nothing_is_left().await?;
        assert_one_activation_at_a_time(lab)
    })
    .await
}

async fn kill_again_and_again(lab: &mut Lab, kills: u32, random: &mut StdRng) -> Result<()> {
    for _ in 0..kills {
        lab.restart_operator()?;
        wait_for_a_leader(lab).await?;
        // No condition is waited for: that the moment is arbitrary is the point.
        let moment = LATEST.mul_f64(random.random::<f64>());
        tokio::time::sleep(moment).await;
        say(&format!("killed {moment:?} after it led"));
        lab.stack.kill_operator();
    }
    lab.restart_operator()
}

/// An operator does nothing before it leads, so a kill in that time would hit nothing.
async fn wait_for_a_leader(lab: &Lab) -> Result<()> {
    let leases = Api::<Lease>::default_namespaced(lab.client.clone());
    let leader = async || {
        let lease = leases.get_opt("nico-operator").await?;
        anyhow::Ok(lease.and_then(|lease| lease.spec?.holder_identity))
    };
    // The name of the holder has its pid, which is that of the process that was started.
    let pid = lab
        .stack
        .operator_pid()
        .context("the operator does not run")?
        .to_string();
    eventually("the operator leads", async || {
        let holder = leader().await?;
        Ok(holder
            .filter(|holder| holder.split('_').any(|part| part == pid))
            .map(|_| ()))
    })
    .await
}

/// Each host writes down when an activation begins and ends, and when one is refused because
/// another is under way.
fn assert_one_activation_at_a_time(lab: &Lab) -> Result<()> {
    for host in lab.stack.sandbox().hosts() {
        let journal = std::fs::read_to_string(host.disk().join("var/log/activations"))?;
        say(&format!("{}:\n{journal}", host.name()));
        ensure!(!journal.contains("refused"), "{}: {journal}", host.name());
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for line in journal.lines() {
            *counts
                .entry(line.split(' ').next().unwrap_or_default())
                .or_default() += 1;
        }
        ensure!(
            counts.get("begin") == counts.get("end"),
            "{}: {journal}",
            host.name()
        );
    }
    Ok(())
}
