//! `nico apiserver --faults FILE`: the rules of the file hold, and others after a SIGHUP.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, PostParams};
use nico_e2e::{ApiServer, eventually};
use serde_json::json;
use tempfile::TempDir;

/// Writes a rule that refuses lists of ConfigMaps and of nothing else.
fn refuse(file: &Path, with: &str) -> Result<()> {
    let rule = format!(
        "- on: {{verbs: [list], resources: [configmaps]}}\n  fault: {{refuse: {{with: {with}}}}}\n"
    );
    Ok(std::fs::write(file, rule)?)
}

fn read_again(server: &ApiServer) -> Result<()> {
    let process = server.process_id().to_string();
    let sent = Command::new("kill").args(["-HUP", &process]).status()?;
    ensure!(sent.success(), "kill ended with {sent}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_of_a_file_hold_and_are_read_again_at_a_hangup() -> Result<()> {
    let directory = TempDir::new()?;
    let file = directory.path().join("rules.yaml");
    refuse(&file, "internalError")?;
    let faults = file.display().to_string();
    let server = ApiServer::start_with(&["--faults", &faults]).await?;
    let maps: Api<ConfigMap> = Api::default_namespaced(server.administrator().await?);
    let listed = async || match maps.list(&ListParams::default()).await {
        Ok(_) => Ok(200),
        Err(kube::Error::Api(status)) => Ok(status.code),
        Err(error) => Err(error),
    };
    ensure!(listed().await? == 500);
    let map = serde_json::from_value(json!({"metadata": {"name": "a"}}))?;
    maps.create(&PostParams::default(), &map).await?;

    refuse(&file, "serviceUnavailable")?;
    ensure!(listed().await? == 500, "nobody has said that it changed");
    read_again(&server)?;
    eventually("the new rule", async || {
        Ok((listed().await? == 503).then_some(()))
    })
    .await?;

    std::fs::write(&file, "[]\n")?;
    read_again(&server)?;
    eventually("no rule", async || {
        Ok((listed().await? == 200).then_some(()))
    })
    .await
}
