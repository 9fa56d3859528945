//! `nico health` on a management cluster: what a tired person reads while a rollout runs, after a
//! bad commit, and while a machine is off.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use anyhow::{Context, Result, ensure};
use nico_api::kubernetes_cluster::conditions;
use nico_e2e::{Lab, condition, eventually, nico_binary, skipped};
use serde_json::{Value, json};
use tokio::task::block_in_place;

/// A push is seen at the next look, so the looks are frequent.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("NIO_CONFIG_RECONCILE_INTERVAL", "2s"),
    ("NIO_MACHINE_DISCOVERY_INTERVAL", "2s"),
];

fn nico_health(lab: &Lab, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(nico_binary()?);
    command
        .arg("health")
        .args(arguments)
        .env("KUBECONFIG", lab.stack.kubeconfig())
        .env_remove("COLUMNS");
    Ok(command)
}

/// The exit code and the text.
fn text(lab: &Lab) -> Result<(Option<i32>, String)> {
    let output = block_in_place(|| nico_health(lab, &[])?.output().map_err(anyhow::Error::from))?;
    let text = String::from_utf8(output.stdout)?;
    Ok((output.status.code(), text))
}

/// Waits until the text has all these words and the exit code is this one.
async fn says(lab: &Lab, code: i32, words: &[&str]) -> Result<String> {
    let mut last = String::new();
    let what = format!("exit code {code} and {words:?}");
    let said = eventually(&what, async || {
        let (found, text) = text(lab)?;
        last = format!("exit code {found:?}\n{text}");
        let is_it = found == Some(code) && words.iter().all(|word| text.contains(word));
        Ok(is_it.then_some(text))
    });
    let said = said.await;
    said.with_context(|| format!("the last answer was: {last}"))
}

/// `nico health --watch`, which notes everything that is seen.
struct Watch {
    child: Child,
    reports: Receiver<Value>,
}

impl Watch {
    fn start(lab: &Lab) -> Result<Self> {
        let arguments = ["--watch", "--interval", "200ms", "--format", "json"];
        let mut child = nico_health(lab, &arguments)?
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("it has an output")?;
        let (sender, reports) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let report = serde_json::from_str(&line).unwrap_or_default();
                if sender.send(report).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, reports })
    }

    fn end(mut self) -> Result<Vec<Value>> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(self.reports.iter().collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_a_bad_commit_and_a_machine_that_is_off_are_told_in_plain_words() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let mut lab = Lab::start(&[("cp-01", 11)], ENVIRONMENT).await?;
    lab.run(async |lab| {
        let address = lab.stack.sandbox().network().address(11).to_string();
        let repository = lab.stack.sandbox().repository().clone();
        lab.create_key().await?;
        let machine = json!({
            "apiVersion": "nio.homystack.com/v1alpha1", "kind": "Machine",
            "metadata": {"name": "cp-01"},
            "spec": {"ipAddress": address, "sshKeySecretRef": {"name": "machine-key"}},
        });
        lab.apply(&machine.to_string()).await?;
        let cluster = json!({
            "apiVersion": "nico.homystack.com/v1alpha1", "kind": "KubernetesCluster",
            "metadata": {"name": "solo"},
            "spec": {
                "gitRepo": repository.url(), "configurationSubdir": "clusters/home",
                "controlPlane": {"machines": ["cp-01"]},
            },
        });
        lab.apply(&cluster.to_string()).await?;
        condition(&lab.clusters(), "solo", conditions::READY, "True").await?;
        says(lab, 0, &["HEALTHY"]).await?;

        let watch = Watch::start(lab)?;
        repository.write("note", "a commit that changes nothing but the flake\n")?;
        let commit = repository.commit("Add a note")?;
        rolled_out(lab, &commit).await?;
        let reports = watch.end()?;
        let told = reports
            .iter()
            .flat_map(|report| report["ongoing"].as_array());
        let told: Vec<&Value> = told.flatten().collect();
        let is_rollout = |one: &&Value| {
            let message = one["message"].as_str().unwrap_or_default();
            one["object"]["name"] == "solo" && message.starts_with("a rollout runs")
        };
        ensure!(told.iter().any(is_rollout), "{told:#?}");
        let is_quiet = |report: &Value| report["status"] == "healthy";
        ensure!(reports.iter().all(is_quiet), "{reports:#?}");

        repository.write(
            "system.nix",
            "{ platform }: throw \"the disk has no label\"\n",
        )?;
        repository.commit("Break the system")?;
        let words = ["CRITICAL", "Fix first:", "the disk has no label"];
        says(lab, 2, &words).await?;
        repository.restore("system.nix")?;
        let commit = repository.commit("Repair the system")?;
        rolled_out(lab, &commit).await?;
        says(lab, 0, &["HEALTHY"]).await?;

        let host = lab.stack.sandbox_mut().host_mut("cp-01");
        host.context("the host is there")?.power_off();
        let words = [
            "CRITICAL",
            "Machine default/cp-01",
            "see that the machine is on",
        ];
        says(lab, 2, &words).await?;
        let host = lab.stack.sandbox_mut().host_mut("cp-01");
        block_in_place(|| host.map(nico_sandbox::host::Host::power_on)).transpose()?;
        says(lab, 0, &["HEALTHY"]).await?;
        Ok(())
    })
    .await
}

/// Waits until the cluster has a commit everywhere.
async fn rolled_out(lab: &Lab, commit: &str) -> Result<()> {
    eventually("the commit is rolled out", async || {
        let cluster = lab.clusters().get("solo").await?;
        let status = serde_json::to_value(&cluster)?["status"].take();
        let is_there = status["rollout"]["targetCommit"] == commit
            && status["rollout"]["updated"] == status["rollout"]["total"];
        Ok(is_there.then_some(()))
    })
    .await
}
