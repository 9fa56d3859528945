//! Where private keys and tokens are, and where they must not be.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use nico_e2e::needles::{self, Finding, Needle};
use nico_e2e::{Lab, skipped};
use nico_sandbox::FIVE_HOSTS;

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_tokens_are_only_where_the_flake_delivers_them() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let mut lab = Lab::start(FIVE_HOSTS, &[("RUST_LOG", "debug")]).await?;
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
        let needles = needles(lab).await?;
        let found = search(lab, &needles);
        ensure!(
            found.iter().any(|(_, path)| is_delivered(path)),
            "the search finds nothing at all"
        );
        assert_only_delivered(&found)?;
        let objects = "machines,nixosconfigurations,kubernetesclusters,events,leases,configmaps";
        let shown = lab.kubectl(&["get", objects, "--output", "yaml"]).await?;
        for needle in &needles {
            ensure!(
                !needle.is_in(shown.as_bytes()),
                "{} is in an object",
                needle.name
            );
        }

        lab.kubectl(&["delete", "kcluster", "home", "--timeout=120s"])
            .await?;
        assert_only_delivered(&search(lab, &needles))
    })
    .await
}

async fn needles(lab: &Lab) -> Result<Vec<Needle>> {
    let key = lab.stack.sandbox().private_key()?;
    let secret = lab.secrets().get("home-join-token").await?;
    let data = secret.data.context("the token's Secret is empty")?;
    let token = data.get("token").context("no key `token`")?;
    Ok(vec![
        Needle::of_private_key("private key", &key)?,
        Needle::new("join token", token.0.clone()),
    ])
}

/// Files of `deliver: Flake`: beside the sources, in the store, and in the closures.
fn is_delivered(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // A store path is a hash and a name.
    name == "join-token" || name == "machine-ssh-key" || name.ends_with("-join-token")
}

fn assert_only_delivered(found: &[Finding]) -> Result<()> {
    for (needle, path) in found {
        ensure!(is_delivered(path), "{needle} is in {}", path.display());
    }
    Ok(())
}

/// Looks into every file of the sandbox, logs included, and into arguments and environment of
/// every process.
fn search(lab: &Lab, needles: &[Needle]) -> Vec<Finding> {
    let mut found = needles::search_directory(lab.stack.sandbox().directory(), needles);
    found.extend(needles::search_processes(needles));
    found
}
