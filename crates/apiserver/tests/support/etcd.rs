//! Members of an etcd on ports that are free, gone with the test.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nico_apiserver::storage::{Etcd, EtcdOptions};
use nico_sandbox::tools;
use tempfile::TempDir;

/// How long etcd may take for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An etcd.
pub struct Cluster {
    members: Vec<Member>,
    _folder: TempDir,
}

struct Member {
    arguments: Vec<String>,
    url: String,
    process: Option<Child>,
}

impl Cluster {
    /// Starts so many members; none, said aloud, where etcd is not installed.
    pub fn start(count: usize) -> Option<Self> {
        if Command::new("etcd").arg("--version").output().is_err() {
            tools::skip("etcd is not installed; on Debian: apt-get install etcd-server");
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        // All are held until all are known, so that they differ.
        let sockets: Vec<TcpListener> = (0..2 * count)
            .map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"))
            .collect();
        let url = |index: usize| {
            let address = sockets[index].local_addr().expect("a bound socket");
            format!("http://{address}")
        };
        let peers: Vec<String> = (0..count)
            .map(|index| format!("m{index}={}", url(2 * index)))
            .collect();
        let member = |index: usize| Member {
            arguments: [
                ("name", format!("m{index}")),
                (
                    "data-dir",
                    folder
                        .path()
                        .join(format!("m{index}"))
                        .display()
                        .to_string(),
                ),
                ("listen-peer-urls", url(2 * index)),
                ("initial-advertise-peer-urls", url(2 * index)),
                ("listen-client-urls", url(2 * index + 1)),
                ("advertise-client-urls", url(2 * index + 1)),
                ("initial-cluster", peers.join(",")),
                (
                    "initial-cluster-token",
                    format!("test-{}", std::process::id()),
                ),
            ]
            .map(|(name, value)| format!("--{name}={value}"))
            .to_vec(),
            url: url(2 * index + 1),
            process: None,
        };
        let members: Vec<Member> = (0..count).map(member).collect();
        drop(sockets);
        let mut cluster = Self {
            members,
            _folder: folder,
        };
        (0..count).for_each(|index| cluster.revive(index));
        Some(cluster)
    }

    /// Kills a member as a power cut does.
    pub fn kill(&mut self, index: usize) {
        if let Some(mut process) = self.members[index].process.take() {
            process.kill().expect("the member runs");
            process.wait().expect("the member ends");
        }
    }

    /// Starts a member, again.
    pub fn revive(&mut self, index: usize) {
        let member = &mut self.members[index];
        let process = Command::new("etcd")
            .args(&member.arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        member.process = Some(process.expect("etcd starts"));
    }

    /// A new storage in it, once it works.
    pub async fn storage(&self, prefix: &str) -> Etcd {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let options = EtcdOptions {
                endpoints: self
                    .members
                    .iter()
                    .map(|member| member.url.clone())
                    .collect(),
                prefix: prefix.to_owned(),
                ..EtcdOptions::default()
            };
            match Etcd::connect(options).await {
                Ok(storage) => return storage,
                Err(error) => assert!(Instant::now() < deadline, "etcd does not start: {error}"),
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..self.members.len()).for_each(|index| self.kill(index));
    }
}
