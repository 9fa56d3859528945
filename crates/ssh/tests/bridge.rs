//! The `ssh` program on its way to a machine that has a password only.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use nico_ssh::test_server::{Behaviour, TestServer, key};
use nico_ssh::{Bridge, Credentials, Deadlines, HostKeys, Target};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const HOST: u8 = 1;
const PATIENCE: Duration = Duration::from_secs(60);

async fn machine() -> TestServer {
    let mut behaviour = Behaviour::new(key(HOST));
    behaviour.password = Some("correct horse".to_owned());
    TestServer::start(behaviour).await.unwrap()
}

fn target(address: SocketAddr) -> Target {
    Target {
        address: address.ip().to_string(),
        port: address.port(),
        user: "root".to_owned(),
        credentials: Credentials::default().with_password("correct horse".to_owned().into()),
        host_keys: HostKeys::FirstUse,
    }
}

/// A bridge to a machine, and files for `ssh`.
struct Way {
    bridge: Bridge,
    machine: TestServer,
    directory: TempDir,
}

impl Way {
    async fn open() -> Self {
        let machine = machine().await;
        let host_key = key(HOST).public_key().clone();
        let target = target(machine.address());
        let deadlines = Deadlines::default();
        let bridge = Bridge::open(&target, &host_key, &deadlines);
        Self {
            bridge: bridge.await.unwrap(),
            machine,
            directory: TempDir::new().unwrap(),
        }
    }

    fn ssh(&self, agent: &Path, command: &str) -> Command {
        let known_hosts = self.directory.path().join("known_hosts");
        let address = self.bridge.address();
        let line = self.bridge.host_key().to_openssh().unwrap();
        std::fs::write(
            &known_hosts,
            format!("[127.0.0.1]:{} {line}\n", address.port()),
        )
        .unwrap();
        let mut ssh = Command::new("ssh");
        ssh.args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentityFile=none",
        ])
        .args(["-o", "StrictHostKeyChecking=yes", "-o"])
        .arg(format!("UserKnownHostsFile={}", known_hosts.display()))
        .args(["-p", &address.port().to_string(), "root@127.0.0.1", command])
        .env("SSH_AUTH_SOCK", agent)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
        ssh
    }

    async fn run(&self, command: &str, input: &[u8]) -> Output {
        let mut child = self
            .ssh(self.bridge.agent().socket(), command)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let feeding = tokio::spawn(async move {
            let _ = stdin.write_all(&input).await;
        });
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output());
        let output = output.await.expect("the command ends").unwrap();
        feeding.await.unwrap();
        output
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_on_the_machine_with_input_output_and_status() {
    let way = Way::open().await;
    let output = way.run("cat; echo oops >&2; exit 7", b"hello").await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "oops\n");
    assert_eq!(output.status.code(), Some(7));
    way.run("true", b"").await;
    assert_eq!(way.machine.logins(), 1, "one session serves all commands");
}

#[tokio::test(flavor = "multi_thread")]
async fn much_data_passes_whole_in_both_directions_at_once() {
    let way = Way::open().await;
    let input: Vec<u8> = (0..20_000_000_u32)
        .map(|index| (index % 251) as u8)
        .collect();
    let output = way.run("cat", &input).await;
    assert!(
        output.stdout == input,
        "{} bytes came back",
        output.stdout.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_on_this_machine_is_not_let_in() {
    let way = Way::open().await;
    let credentials = Credentials::default()
        .with_private_key(&nico_ssh::test_server::pem(&key(9)))
        .unwrap();
    let agent = nico_ssh::Agent::start(&credentials).await.unwrap();
    let output = way.ssh(agent.socket(), "id").output().await.unwrap();
    assert_eq!(output.status.code(), Some(255));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Permission denied"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_is_shut_with_the_bridge() {
    let way = Way::open().await;
    let address = way.bridge.address();
    drop(way.bridge);
    let refused = async || tokio::net::TcpStream::connect(address).await.is_err();
    tokio::time::timeout(PATIENCE, async {
        while !refused().await {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("nothing listens any more");
}
