//! Members of an etcd on ports that are free, gone with the test.

#![allow(dead_code, reason = "each test file uses its part of what they share")]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nico_apiserver::storage::{ConnectError, Etcd, EtcdOptions};
use nico_sandbox::tools;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long etcd may take for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An etcd.
pub struct Cluster {
    members: Vec<Member>,
    credentials: Option<Credentials>,
    _folder: TempDir,
}

/// What a client of a guarded etcd needs.
#[derive(Clone)]
pub struct Credentials {
    /// The authority.
    pub authority: String,
    /// The client's certificate and key.
    pub identity: (String, String),
}

struct Member {
    arguments: Vec<String>,
    url: String,
    process: Option<Child>,
}

impl Cluster {
    /// Starts so many members; none, said aloud, where etcd is not installed.
    pub fn start(count: usize) -> Option<Self> {
        Self::start_with(count, false)
    }

    /// Starts a member that serves https and wants to see a certificate of its authority.
    pub fn start_guarded() -> Option<Self> {
        Self::start_with(1, true)
    }

    fn start_with(count: usize, guarded: bool) -> Option<Self> {
        if Command::new("etcd").arg("--version").output().is_err() {
            tools::skip("etcd is not installed; on Debian: apt-get install etcd-server");
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        // All are held until all are known, so that they differ.
        let sockets: Vec<TcpListener> = (0..2 * count)
            .map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"))
            .collect();
        let url = |scheme: &str, index: usize| {
            let address = sockets[index].local_addr().expect("a bound socket");
            format!("{scheme}://{address}")
        };
        let peer_url = |index: usize| url("http", 2 * index);
        let client_url = |index: usize| url(if guarded { "https" } else { "http" }, 2 * index + 1);
        let peers: Vec<String> = (0..count)
            .map(|index| format!("m{index}={}", peer_url(index)))
            .collect();
        let (credentials, files) = if guarded {
            let (credentials, files) = certificates(folder.path());
            (Some(credentials), files)
        } else {
            (None, Vec::new())
        };
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
                ("listen-peer-urls", peer_url(index)),
                ("initial-advertise-peer-urls", peer_url(index)),
                ("listen-client-urls", client_url(index)),
                ("advertise-client-urls", client_url(index)),
                ("initial-cluster", peers.join(",")),
                (
                    "initial-cluster-token",
                    format!("test-{}", std::process::id()),
                ),
            ]
            .into_iter()
            .chain(files.clone())
            .map(|(name, value)| format!("--{name}={value}"))
            .collect(),
            url: client_url(index),
            process: None,
        };
        let members: Vec<Member> = (0..count).map(member).collect();
        drop(sockets);
        let mut cluster = Self {
            members,
            credentials,
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
            let credentials = self.credentials.clone();
            let (authority, identity) = credentials
                .map(|credentials| (credentials.authority, credentials.identity))
                .unzip();
            match self.storage_as(prefix, authority, identity).await {
                Ok(storage) => return storage,
                Err(error) => assert!(Instant::now() < deadline, "etcd does not start: {error}"),
            }
        }
    }

    /// A new storage, for a client that trusts an authority and shows a certificate.
    pub async fn storage_as(
        &self,
        prefix: &str,
        authority: Option<String>,
        identity: Option<(String, String)>,
    ) -> Result<Etcd, ConnectError> {
        let members = self.members.iter();
        Etcd::connect(EtcdOptions {
            endpoints: members.map(|member| member.url.clone()).collect(),
            prefix: prefix.to_owned(),
            authority,
            identity,
        })
        .await
    }

    /// What a client of a guarded etcd needs.
    pub fn credentials(&self) -> Credentials {
        self.credentials.clone().expect("a guarded etcd")
    }

    /// Lets it forget everything before a revision.
    pub async fn compact(&self, revision: u64) {
        let url = &self.members[0].url;
        let address = url.strip_prefix("http://").expect("it is not guarded");
        let body = format!("{{\"revision\": \"{revision}\"}}");
        let request = format!(
            "POST /v3/kv/compaction HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it reads");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .await
            .expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..self.members.len()).for_each(|index| self.kill(index));
    }
}

/// The certificates of a guarded etcd, and the options that name its files.
fn certificates(folder: &std::path::Path) -> (Credentials, Vec<(&'static str, String)>) {
    let key = || KeyPair::generate().expect("a key");
    let parameters = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        CertificateParams::new(names).expect("names")
    };
    let mut authority = parameters(&[]);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = key();
    let certificate = authority
        .self_signed(&authority_key)
        .expect("a certificate");
    let issuer = Issuer::new(authority, authority_key);
    let signed = |names: &[&str]| {
        let key = key();
        let signed = parameters(names).signed_by(&key, &issuer);
        (signed.expect("a certificate").pem(), key.serialize_pem())
    };
    let (server, server_key) = signed(&["127.0.0.1", "localhost"]);
    let write = |name: &str, text: &str| {
        let file = folder.join(name);
        std::fs::write(&file, text).expect("a file");
        file.display().to_string()
    };
    let files = vec![
        ("cert-file", write("server.crt", &server)),
        ("key-file", write("server.key", &server_key)),
        ("trusted-ca-file", write("ca.crt", &certificate.pem())),
        ("client-cert-auth", "true".to_owned()),
    ];
    let credentials = Credentials {
        authority: certificate.pem(),
        identity: signed(&["client"]),
    };
    (credentials, files)
}
