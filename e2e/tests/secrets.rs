//! Where private keys and tokens are, and where they must not be.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nico_e2e::{Lab, skipped};
use nico_sandbox::{FIVE_HOSTS, state};

/// Something that must not be found, and how it is called in a failure.
struct Needle {
    name: &'static str,
    bytes: Vec<u8>,
}

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
        let found = search(lab, &needles)?;
        ensure!(
            found.iter().any(|(_, path)| is_delivered(path)),
            "the search finds nothing at all"
        );
        assert_only_delivered(&found)?;
        let objects = "machines,nixosconfigurations,kubernetesclusters,events,leases,configmaps";
        let shown = lab.kubectl(&["get", objects, "--output", "yaml"]).await?;
        for needle in &needles {
            ensure!(
                !contains(shown.as_bytes(), &needle.bytes),
                "{} is in an object",
                needle.name
            );
        }

        lab.kubectl(&["delete", "kcluster", "home", "--timeout=120s"])
            .await?;
        assert_only_delivered(&search(lab, &needles)?)
    })
    .await
}

async fn needles(lab: &Lab) -> Result<Vec<Needle>> {
    let key = lab.stack.sandbox().private_key()?;
    // The secret half of the key is in the last lines; the first is the same for all keys.
    let lines: Vec<&str> = key
        .lines()
        .filter(|line| !line.starts_with("---"))
        .collect();
    let line = lines
        .get(lines.len().saturating_sub(2))
        .context("the key has no second last line")?;
    let secret = lab.secrets().get("home-join-token").await?;
    let data = secret.data.context("the token's Secret is empty")?;
    let token = data.get("token").context("no key `token`")?;
    Ok(vec![
        Needle {
            name: "private key",
            bytes: line.as_bytes().to_vec(),
        },
        Needle {
            name: "join token",
            bytes: token.0.clone(),
        },
    ])
}

/// Files of `deliver: Flake`: beside the sources, in the store, and in the closures.
fn is_delivered(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // A store path is a hash and a name.
    name == "join-token" || name == "machine-ssh-key" || name.ends_with("-join-token")
}

fn assert_only_delivered(found: &[(&'static str, PathBuf)]) -> Result<()> {
    for (needle, path) in found {
        ensure!(is_delivered(path), "{needle} is in {}", path.display());
    }
    Ok(())
}

/// Looks into every file of the sandbox, logs included, and into arguments and environment of
/// every process that belongs to it.
fn search(lab: &Lab, needles: &[Needle]) -> Result<Vec<(&'static str, PathBuf)>> {
    let mut found = Vec::new();
    search_directory(lab.stack.sandbox().directory(), needles, &mut found)?;
    for pid in processes(lab)? {
        for file in ["environ", "cmdline"] {
            let path = PathBuf::from(format!("/proc/{pid}/{file}"));
            // A process may have ended since it was listed.
            if let Ok(content) = fs::read(&path) {
                search_bytes(&path, &content, needles, &mut found);
            }
        }
    }
    Ok(found)
}

fn search_directory(
    directory: &Path,
    needles: &[Needle],
    found: &mut Vec<(&'static str, PathBuf)>,
) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            search_directory(&entry.path(), needles, found)?;
        } else if kind.is_file()
            && let Ok(content) = fs::read(entry.path())
        {
            search_bytes(&entry.path(), &content, needles, found);
        }
    }
    Ok(())
}

fn search_bytes(
    path: &Path,
    content: &[u8],
    needles: &[Needle],
    found: &mut Vec<(&'static str, PathBuf)>,
) {
    for needle in needles {
        if content
            .windows(needle.bytes.len())
            .any(|window| window == needle.bytes)
        {
            found.push((needle.name, path.to_owned()));
        }
    }
}

fn contains(content: &[u8], bytes: &[u8]) -> bool {
    content.windows(bytes.len()).any(|window| window == bytes)
}

/// All processes of the sandbox, also those on the hosts.
fn processes(lab: &Lab) -> Result<Vec<u32>> {
    let sandbox = lab.stack.sandbox();
    let mut all = state::processes(sandbox.id());
    for host in sandbox.hosts() {
        all.extend(host.processes()?);
    }
    Ok(all)
}
