//! Repositories on real servers: `git http-backend` behind TLS and a login, and `sshd`.

use anyhow::{Context, Result, ensure};
use nico_e2e::{OneHost, skipped};
use nico_git::test_server::GitServer;
use russh::keys::{Algorithm, PrivateKey};
use serde_json::json;
use tempfile::TempDir;

const TOKEN: &str = "t0ken-of-the-server";

async fn secret(one: &OneHost, data: serde_json::Value) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "git"}, "stringData": data,
    });
    one.lab.apply(&secret.to_string()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_authority_is_our_own_is_trusted_when_that_is_named() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let directory = TempDir::new()?;
    let authority = directory.path().join("authority.pem");
    let named = authority.display().to_string();
    let one = OneHost::start(&[("GIT_SSL_CAINFO", &named)]).await?;
    let gateway = one.lab.stack.sandbox().network().gateway();
    let login = Some(("x-access-token", TOKEN));
    let (server, own) = GitServer::start_tls_at(gateway, one.repository(), login).await?;
    let (_, stranger) = GitServer::start_tls_at(gateway, one.repository(), login).await?;

    std::fs::write(&authority, stranger)?;
    secret(&one, json!({"token": TOKEN})).await?;
    let first = one.push("first", "")?;
    let private = json!({"gitRepo": server.url(".git"), "credentialsRef": {"name": "git"}});
    one.configure(private).await?;
    let message = one.reason("GitAuthenticationFailed").await?;
    ensure!(message.contains("GIT_SSL_CAINFO"), "{message}");
    ensure!(
        server.lookups() == 0,
        "it talked to a server that it does not trust"
    );

    std::fs::write(&authority, own)?;
    let wish = [
        "annotate",
        "nixconf",
        "web",
        "nio.homystack.com/reconcile-at=now",
    ];
    one.lab.kubectl(&wish).await?;
    one.applied(&first).await?;
    // A push is followed there, too.
    let second = one.push("second", "")?;
    one.applied(&second).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_over_ssh_needs_the_key_and_the_right_host_key() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let one = OneHost::start(&[]).await?;
    let first = one.push("first", "")?;
    // The host is the Git server as well: it has an `sshd` and a `git`.
    let host = one.host()?;
    let cloned = std::process::Command::new("git")
        .args(["clone", "--quiet", "--bare"])
        .arg(one.repository())
        .arg(host.disk().join("root/configurations.git"))
        .status()?;
    ensure!(cloned.success());
    let address = host.address();
    let url = format!("ssh://root@{address}/root/configurations.git");
    let key = one.lab.stack.sandbox().private_key()?;
    let right = format!("{address} {}", host.public_key());
    let other = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519)?;
    let wrong = format!("{address} {}", other.public_key().to_openssh()?);
    let stranger = other.to_openssh(russh::keys::ssh_key::LineEnding::LF)?;

    secret(&one, json!({"ssh-privatekey": key, "known_hosts": wrong})).await?;
    one.configure(json!({"gitRepo": url, "credentialsRef": {"name": "git"}}))
        .await?;
    let message = one.reason("GitAuthenticationFailed").await?;
    ensure!(message.contains("host key"), "{message}");
    ensure!(message.contains("known_hosts"), "{message}");

    // A key that the server does not know is something else.
    let strange = json!({"ssh-privatekey": stranger.as_str(), "known_hosts": right});
    secret(&one, strange).await?;
    one.web("the key is refused", |web| {
        let status = web.status.clone().unwrap_or_default();
        let ready = nico_api::condition::find(&status.conditions, "Ready");
        ready.is_some_and(|it| it.message.contains("does not let us in"))
    })
    .await?;
    ensure!(one.switches()?.is_empty());

    secret(&one, json!({"ssh-privatekey": key, "known_hosts": right})).await?;
    let web = one.applied(&first).await?;
    let commit = web.status.context("a status")?.applied_commit;
    ensure!(commit == Some(first));
    Ok(())
}
