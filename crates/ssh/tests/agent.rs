//! The agent for child programs, asked by OpenSSH's own `ssh-add` where it is installed.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nico_ssh::test_server::{key, pem};
use nico_ssh::{Agent, AgentError, Credentials, fingerprint};
use russh::keys::agent::client::AgentClient;
use tokio::process::Command;

const USER: u8 = 2;
const OTHER: u8 = 3;

async fn agent() -> Agent {
    let credentials = Credentials::default()
        .with_private_key(&pem(&key(USER)))
        .expect("the agent starts");
    Agent::start(&credentials).await.expect("the agent starts")
}

async fn client(agent: &Agent) -> AgentClient<tokio::net::UnixStream> {
    AgentClient::connect_uds(agent.socket())
        .await
        .expect("the agent listens")
}

#[tokio::test]
async fn the_agent_lists_the_key_and_signs_with_it() {
    let agent = agent().await;
    let mut client = client(&agent).await;
    let identities = client.request_identities().await.unwrap();
    assert_eq!(identities.len(), 1);
    assert_eq!(
        identities[0].public_key().key_data(),
        key(USER).public_key().key_data()
    );
    client
        .sign_request(&identities[0], None, b"text".to_vec())
        .await
        .unwrap();
}

#[tokio::test]
async fn nobody_can_add_or_remove_keys_later() {
    let agent = agent().await;
    // How the client reports a refusal is not the point: what the agent holds then is.
    let _ = client(&agent).await.add_identity(&key(OTHER), &[]).await;
    let _ = client(&agent).await.remove_all_identities().await;
    let identities = client(&agent).await.request_identities().await.unwrap();
    assert_eq!(identities.len(), 1);
    assert_eq!(
        identities[0].public_key().key_data(),
        key(USER).public_key().key_data()
    );
}

#[tokio::test]
async fn the_socket_is_private_and_gone_with_the_agent() {
    let agent = agent().await;
    let socket = agent.socket().to_owned();
    let directory = socket.parent().unwrap();
    let mode = std::fs::metadata(directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let names: Vec<_> = std::fs::read_dir(directory).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing but the socket: {names:?}");
    drop(agent);
    assert!(!directory.exists());
}

#[tokio::test]
async fn a_password_alone_makes_no_agent() {
    let credentials = Credentials::default().with_password("sesame".to_owned().into());
    assert!(matches!(
        Agent::start(&credentials).await,
        Err(AgentError::NoKey)
    ));
}

#[tokio::test]
async fn openssh_understands_the_agent() {
    if !Path::new("/usr/bin/ssh-add").exists() {
        return nico_sandbox::tools::skip(
            "ssh-add is not installed; on Debian: apt-get install openssh-client",
        );
    }
    let agent = agent().await;
    let output = Command::new("/usr/bin/ssh-add")
        .arg("-l")
        .env("SSH_AUTH_SOCK", agent.socket())
        .output()
        .await
        .unwrap();
    let listed = String::from_utf8_lossy(&output.stdout);
    assert!(
        listed.contains(&fingerprint(key(USER).public_key())),
        "{listed}"
    );
}
