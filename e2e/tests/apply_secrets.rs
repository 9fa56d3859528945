//! Keys, passwords, tokens and files of one apply, looked for in every step of it and afterwards.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nico_e2e::needles::{self, Finding, Needle, Watch};
use nico_e2e::{OneHost, eventually, say, skipped};
use nico_git::test_server::GitServer;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::private::KeypairData;
use serde_json::json;
use tempfile::TempDir;

/// How the operator logs in to the host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Login {
    Key,
    Password,
}

/// What must not be seen. All of it is made for one test.
struct Secrets {
    password: String,
    token: String,
    for_flake: String,
    for_host: String,
}

impl Secrets {
    fn new() -> Self {
        let random = |name: &str| format!("{name}-{:032x}", rand::random::<u128>());
        Self {
            password: random("password"),
            token: random("token"),
            for_flake: random("flake-file"),
            for_host: random("host-file"),
        }
    }

    fn needles(&self, key: &str) -> Result<Vec<Needle>> {
        let parsed = PrivateKey::from_openssh(key)?;
        let KeypairData::Ed25519(pair) = parsed.key_data() else {
            anyhow::bail!("the key of the sandbox is another one");
        };
        let header = format!("x-access-token:{}", self.token);
        let mut header = STANDARD.encode(header);
        // Its end depends on what would follow.
        header.truncate(header.len() - 4);
        Ok(vec![
            Needle::of_private_key("private key as text", key)?,
            Needle::new("private key", pair.private.to_bytes()),
            Needle::new("password", self.password.as_str()),
            Needle::new("token", self.token.as_str()),
            Needle::new("token in a header", header),
            Needle::new("file for the flake", self.for_flake.as_str()),
            Needle::new("file for the host", self.for_host.as_str()),
        ])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_with_a_key_shows_no_secret_in_any_step() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    apply(Login::Key).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_with_a_password_shows_no_secret_in_any_step() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    apply(Login::Password).await
}

async fn apply(login: Login) -> Result<()> {
    let mut one = OneHost::start(&[("RUST_LOG", "debug")]).await?;
    let key = one.lab.stack.sandbox().private_key()?;
    let secrets = Secrets::new();
    let needles = secrets.needles(&key)?;
    the_search_finds_what_is_there(&one, &needles)?;
    if login == Login::Password {
        accept_only_the_password(&mut one, &secrets.password).await?;
    }

    let pauses = TempDir::new()?;
    let (hold, building) = (pauses.path().join("hold"), pauses.path().join("building"));
    std::fs::write(&hold, "")?;
    one.write(
        "build.sh",
        &format!(
            "touch {}; while [ -e {} ]; do sleep 0.05; done",
            building.display(),
            hold.display()
        ),
    )?;
    let first = one.push("first", "")?;
    let gateway = one.lab.stack.sandbox().network().gateway();
    let access = Some(("x-access-token", secrets.token.as_str()));
    let server = GitServer::start_at(gateway, one.repository(), access).await?;
    one.lab
        .create_secret("git", "token", &secrets.token)
        .await?;
    // The activation of a system runs the file `behaviour` of the flake.
    let behaviour = format!(
        "# {}\nwhile [ -e /var/block ]; do touch /var/reached; sleep 0.05; done\n",
        secrets.for_flake
    );
    one.lab.create_secret("behaviour", "it", &behaviour).await?;
    one.lab
        .create_secret("host", "it", &secrets.for_host)
        .await?;
    one.on_host("touch /var/block")?;

    let watch = Watch::start(&needles);
    server.hold();
    let file = |path: &str, secret: &str, deliver: &str| {
        json!({
            "path": path, "valueType": "SecretRef", "deliver": deliver,
            "secretRef": {"name": secret, "key": "it"},
        })
    };
    one.configure(json!({
        "gitRepo": server.url(".git"), "credentialsRef": {"name": "git"},
        "additionalFiles": [
            file("behaviour", "behaviour", "Flake"), file("for-host", "host", "Host"),
        ],
    }))
    .await?;
    server.waits().await;
    nothing_is_shown(&one, &needles, "git waits for its server").await?;
    server.release();

    eventually("the build waits", async || {
        Ok(building.exists().then_some(()))
    })
    .await?;
    nothing_is_shown(&one, &needles, "nix builds").await?;
    std::fs::remove_file(&hold)?;

    one.until("[ -e /var/reached ]").await?;
    let found = nothing_is_shown(&one, &needles, "the host activates").await?;
    let delivered = |needle: &str, place: &str| {
        let is_it =
            |(name, path): &Finding| *name == needle && path.to_string_lossy().contains(place);
        found.iter().any(is_it)
    };
    ensure!(delivered(
        "file for the host",
        "hosts/m/disk/var/lib/nio/sets/"
    ));
    ensure!(delivered("file for the flake", "hosts/m/disk/nix/store/"));
    ensure!(delivered("file for the flake", "operator/nix/store/"));
    one.on_host("rm /var/block")?;

    one.applied(&first).await?;
    nothing_is_shown(&one, &needles, "it is applied").await?;
    one.lab
        .kubectl(&["delete", "nixconf", "web", "--timeout=120s"])
        .await?;
    let found = nothing_is_shown(&one, &needles, "it is taken off").await?;
    for (name, path) in found {
        ensure!(
            name == "file for the flake" && path.to_string_lossy().contains("/nix/store/"),
            "{name} is left in {}",
            path.display()
        );
    }
    let (found, rounds) = watch.stop()?;
    say(&format!("all processes were looked at {rounds} times"));
    ensure!(rounds > 10, "{rounds}");
    ensure!(found.is_empty(), "{found:?}");
    Ok(())
}

/// Plants each needle where the search has to find it, and takes it away again.
fn the_search_finds_what_is_there(one: &OneHost, needles: &[Needle]) -> Result<()> {
    ensure!(search(one, needles)?.is_empty(), "they are there already");
    let planted = one
        .lab
        .stack
        .sandbox()
        .directory()
        .join("operator/tmp/planted");
    for needle in needles {
        let content = [b"before", needle.bytes.as_slice(), b"after"].concat();
        std::fs::write(&planted, content)?;
        let found = search(one, needles)?;
        ensure!(found.contains(&(needle.name, planted.clone())), "{found:?}");
    }
    std::fs::remove_file(&planted)?;
    // What lives for a moment only is found as well.
    for needle in needles {
        let Ok(text) = std::str::from_utf8(&needle.bytes) else {
            continue;
        };
        let watch = Watch::start(needles);
        let shown = Command::new("sh")
            .args(["-c", "sleep 1", text])
            .env("LEAK", text)
            .stdin(Stdio::null())
            .status()?;
        ensure!(shown.success());
        let (found, _) = watch.stop()?;
        for file in ["cmdline", "environ"] {
            let is_it = |(name, path): &Finding| *name == needle.name && path.ends_with(file);
            ensure!(
                found.iter().any(is_it),
                "{} in {file}: {found:?}",
                needle.name
            );
        }
    }
    ensure!(
        search(one, needles)?.is_empty(),
        "the search does not forget"
    );
    Ok(())
}

/// Every file of operator and host, logs and stores included, the host's memory-backed places,
/// and what all processes show.
fn search(one: &OneHost, needles: &[Needle]) -> Result<Vec<Finding>> {
    let directory = one.lab.stack.sandbox().directory();
    let mut found = needles::search_directory(directory, needles);
    let root = format!("/proc/{}/root", one.host()?.init()?);
    for place in ["run", "dev/shm"] {
        found.extend(needles::search_directory(
            &Path::new(&root).join(place),
            needles,
        ));
    }
    found.extend(needles::search_processes(needles));
    Ok(found)
}

/// Checks that every secret is where it has to be, and nowhere else; gives where it is.
async fn nothing_is_shown(one: &OneHost, needles: &[Needle], when: &str) -> Result<Vec<Finding>> {
    let found = search(one, needles)?;
    for (name, path) in &found {
        let shown = path.to_string_lossy();
        let is_right = match *name {
            // The sources with the file are in a directory of the attempt, which only the
            // operator may enter, until it has ended.
            "file for the flake" => {
                shown.contains("/nix/store/") || shown.contains("/operator/state/attempts/")
            }
            "file for the host" => shown.contains("/hosts/m/disk/var/lib/nio/sets/"),
            _ => false,
        };
        ensure!(is_right, "when {when}: {name} is in {shown}");
    }
    let objects = "machines,nixosconfigurations,events,leases,configmaps";
    let objects = one
        .lab
        .kubectl(&["get", objects, "--output", "yaml"])
        .await?;
    for needle in needles {
        let is_there = needle.is_in(objects.as_bytes());
        ensure!(!is_there, "when {when}: {} is in an object", needle.name);
    }
    Ok(found)
}

/// Lets the host take no key any more, and root's password.
async fn accept_only_the_password(one: &mut OneHost, password: &str) -> Result<()> {
    let etc = one.host()?.disk().join("etc");
    let config = etc.join("ssh/sshd_config");
    let usual = std::fs::read_to_string(&config)?;
    let options = "PubkeyAuthentication no\nPasswordAuthentication yes\nPermitRootLogin yes\n";
    std::fs::write(&config, format!("{options}{usual}"))?;
    let shadow = std::fs::read_to_string(etc.join("shadow"))?;
    let shadow = shadow.replace("root:*:", &format!("root:{}:", hash(password)?));
    std::fs::write(etc.join("shadow"), shadow)?;
    one.power_cycle()?;
    one.lab
        .create_secret("password", "password", password)
        .await?;
    one.machine(json!({
        "sshKeySecretRef": null, "sshPasswordSecretRef": {"name": "password"},
    }))
    .await
}

/// The SHA-512 crypt of a password, which is handed over where nobody sees it.
fn hash(password: &str) -> Result<String> {
    use std::io::Write;
    let mut perl = Command::new("perl")
        .args([
            "-e",
            r"my $password = <STDIN>; print crypt($password, q($6$nicotest$))",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start perl")?;
    let mut input = perl.stdin.take().context("no standard input")?;
    input.write_all(password.as_bytes())?;
    drop(input);
    let output = perl.wait_with_output()?;
    ensure!(output.status.success(), "perl ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
