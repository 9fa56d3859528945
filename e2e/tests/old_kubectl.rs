//! Debian's kubectl 1.20: still what `apt-get install kubernetes-client` gives on Debian 12.

use anyhow::{Result, ensure};
use nico_e2e::{Lab, old_kubectl, say, skipped};
use nico_sandbox::{manifests, tools};

#[tokio::test(flavor = "multi_thread")]
async fn the_kubectl_of_debian_12_can_do_what_the_guides_ask_for() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let Some(program) = old_kubectl()? else {
        tools::skip("apt-get cannot download kubernetes-client");
        return Ok(());
    };
    let mut lab = Lab::start(&[("cp-01", 11)], &[]).await?;
    lab.run(async |lab| {
        let old = lab.kubectl.clone().with_program(&program);
        say(&old.run(&["version", "--client", "--short"]).await?);
        lab.create_key().await?;
        let machines = manifests::machines(lab.stack.sandbox());
        let created = old.run_with_input(&["apply", "-f", "-"], &machines).await?;
        ensure!(created.matches("created").count() == 5, "{created}");
        let unchanged = old.run_with_input(&["apply", "-f", "-"], &machines).await?;
        ensure!(unchanged.matches("unchanged").count() == 5, "{unchanged}");
        old.run(&[
            "wait",
            "--for=condition=Reachable",
            "mach/cp-01",
            "--timeout=60s",
        ])
        .await?;
        let table = old.run(&["get", "mach,nixconf,kcluster"]).await?;
        ensure!(
            table.contains("DISCOVERABLE") && table.contains("cp-01"),
            "{table}"
        );
        let described = old.run(&["describe", "machine", "cp-01"]).await?;
        ensure!(described.contains("Connected"), "{described}");
        let patch = r#"{"spec":{"maintenance":true}}"#;
        old.run(&["patch", "mach", "cp-01", "--type=merge", "-p", patch])
            .await?;
        let path = "-o=jsonpath={.spec.maintenance}";
        let maintenance = old.run(&["get", "mach", "cp-01", path]).await?;
        ensure!(maintenance == "true", "{maintenance}");
        old.run(&["label", "mach", "cp-01", "rack=a"]).await?;
        let labelled = old
            .run(&["get", "mach", "-l", "rack=a", "-o", "name"])
            .await?;
        ensure!(
            labelled.trim() == "machine.nio.homystack.com/cp-01",
            "{labelled}"
        );
        old.run(&["delete", "mach", "cp-01", "--timeout=60s"])
            .await?;
        let gone = old.output(&["get", "mach", "cp-01"], "").await?;
        ensure!(!gone.status.success());
        Ok(())
    })
    .await
}
