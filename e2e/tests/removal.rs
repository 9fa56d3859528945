//! A configuration is taken off a host as carefully as it was put on it.

use anyhow::{Context, Result, ensure};
use nico_api::{Machine, condition};
use nico_e2e::{OneHost, eventually, skipped};
use serde_json::json;

/// A host that runs `first`, applied and confirmed.
async fn start() -> Result<OneHost> {
    let one = OneHost::start(&[]).await?;
    let first = one.push("first", "")?;
    one.configure(json!({"activation": {"confirmTimeout": "5s"}}))
        .await?;
    one.applied(&first).await?;
    Ok(one)
}

async fn delete(one: &OneHost, name: &str) -> Result<()> {
    one.lab
        .kubectl(&["delete", "nixconf", name, "--wait=false"])
        .await?;
    Ok(())
}

async fn gone(one: &OneHost, name: &str) -> Result<Machine> {
    let configurations = one.lab.configurations();
    eventually("the configuration is gone", async || {
        Ok(configurations.get_opt(name).await?.is_none().then_some(()))
    })
    .await?;
    Ok(one.lab.machines().get("m").await?)
}

fn holder(machine: &Machine) -> Option<&str> {
    machine.status.as_ref()?.applied_configuration.as_deref()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_cuts_the_host_off_goes_back_and_ends_once_it_is_repaired() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let one = start().await?;
    // What the flake for the removal does.
    one.write("nothing", "ip link set eth0 down\n")?;
    let bad = one.push("first", "")?;
    one.applied(&bad).await?;
    delete(&one, "web").await?;
    let message = one.reason("RolledBack").await?;
    ensure!(message.contains("nobody confirmed it"), "{message}");
    ensure!(message.contains("force-remove=true"), "{message}");
    one.until("ip link show eth0 | grep -q LOWER_UP").await?;
    ensure!(one.running()? == "first");
    let machine = one.lab.machines().get("m").await?;
    ensure!(holder(&machine) == Some("web"), "{:?}", machine.status);

    one.write("nothing", "")?;
    one.push("first", "")?;
    let machine = gone(&one, "web").await?;
    ensure!(one.running()? == "minimal");
    ensure!(!machine.has_configuration() && holder(&machine).is_none());
    let status = machine.status.context("a status")?;
    ensure!(condition::find(&status.conditions, "NeedsCleanup").is_none());
    one.no_guard_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_cannot_succeed_is_given_up_by_force_and_the_machine_says_so() -> Result<()>
{
    if skipped() {
        return Ok(());
    }
    let one = start().await?;
    one.write("nothing", "echo 'the bootloader is gone'; exit 3\n")?;
    let bad = one.push("first", "")?;
    one.applied(&bad).await?;
    delete(&one, "web").await?;
    let message = one.reason("RolledBack").await?;
    ensure!(message.contains("the bootloader is gone"), "{message}");
    one.lab
        .kubectl(&[
            "annotate",
            "nixconf",
            "web",
            "nio.homystack.com/force-remove=true",
        ])
        .await?;
    let machine = gone(&one, "web").await?;
    ensure!(!machine.has_configuration());
    let conditions = machine.status.context("a status")?.conditions;
    let cleanup = condition::find(&conditions, "NeedsCleanup").context("NeedsCleanup")?;
    ensure!(cleanup.message.contains("web"), "{cleanup:?}");
    ensure!(one.running()? == "first");

    // The next configuration that succeeds has cleaned up.
    let good = one.push("second", "")?;
    one.configure(json!({})).await?;
    one.applied(&good).await?;
    let machine = one.lab.machines().get("m").await?;
    let conditions = machine.status.context("a status")?.conditions;
    ensure!(condition::find(&conditions, "NeedsCleanup").is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_in_maintenance_is_neither_changed_nor_cleaned_before_that_ends() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let one = start().await?;
    one.machine(json!({"maintenance": true})).await?;
    let second = one.push("second", "")?;
    one.reason("MachineInMaintenance").await?;
    ensure!(one.running()? == "first");
    one.machine(json!({})).await?;
    one.applied(&second).await?;

    one.machine(json!({"maintenance": true})).await?;
    delete(&one, "web").await?;
    one.reason("MachineInMaintenance").await?;
    ensure!(one.running()? == "second");
    ensure!(!one.switches()?.contains(&"test minimal".to_owned()));
    one.machine(json!({})).await?;
    gone(&one, "web").await?;
    ensure!(one.running()? == "minimal");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_configuration_waits_until_the_first_is_off_the_host() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let one = start().await?;
    let second = json!({
        "apiVersion": "nio.homystack.com/v1alpha1", "kind": "NixosConfiguration",
        "metadata": {"name": "second"},
        "spec": {
            "gitRepo": format!("file://{}", one.repository().display()),
            "flake": "#web", "machineRef": {"name": "m"},
        },
    });
    one.lab.apply(&second.to_string()).await?;
    let configurations = one.lab.configurations();
    let ready = nico_e2e::reason(&configurations, "second", "Ready", "MachineInUse").await?;
    ensure!(
        ready.message.contains("NixosConfiguration web"),
        "{ready:?}"
    );
    let before = one.switches()?.len();
    delete(&one, "web").await?;
    gone(&one, "web").await?;
    nico_e2e::condition(&configurations, "second", "Ready", "True").await?;
    let switches = one.switches()?;
    let since: Vec<_> = switches[before..].iter().map(String::as_str).collect();
    // The first was taken off as a whole before anything of the second was made.
    let expected = ["test minimal", "boot minimal", "test first", "boot first"];
    ensure!(since == expected, "{since:?}");
    let machine = one.lab.machines().get("m").await?;
    ensure!(holder(&machine) == Some("second"), "{:?}", machine.status);
    Ok(())
}
