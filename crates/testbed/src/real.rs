//! A control plane of real binaries: `etcd`, `kube-apiserver`, and `kube-controller-manager` if it
//! is there.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::files::Files;
use crate::process::{Process, free_port};
use crate::{TestbedError, client};

/// How often a start is tried: somebody may take a port before the process does.
const ATTEMPTS: usize = 3;
/// The controllers that tests may rely on.
const CONTROLLERS: &str = "garbage-collector-controller,namespace-controller,\
                           clusterrole-aggregation-controller,disruption-controller,\
                           serviceaccount-controller";

/// The processes. They are killed in the order of the fields, then the files go.
#[derive(Debug)]
pub struct Real {
    controllers: Option<Process>,
    apiserver: Process,
    etcd: Process,
    port: u16,
    kubeconfig: String,
    _files: Files,
}

impl Real {
    /// Starts the binaries of a folder.
    pub async fn start(folder: &Path, address: [u8; 4]) -> Result<Self, TestbedError> {
        let mut attempt = 1;
        loop {
            match Self::try_start(folder, address).await {
                Err(TestbedError::NotReady { what: "ended", .. }) if attempt < ATTEMPTS => {
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn try_start(folder: &Path, address: [u8; 4]) -> Result<Self, TestbedError> {
        let files = Files::make()?;
        let (client, mut etcd) = start_etcd(folder, &files)?;
        etcd.wait_for(async || says_ok(client).await.then_some(()))
            .await?;
        let (port, mut apiserver) = start_apiserver(folder, &files, address, client)?;
        let certificate = files.certificate();
        apiserver
            .wait_for(async || certificate.is_file().then_some(()))
            .await?;
        let kubeconfig = files.kubeconfig(&url(port))?;
        apiserver
            .wait_for(async || is_ready(&kubeconfig).await.then_some(()))
            .await?;
        let mut controllers = None;
        if folder.join("kube-controller-manager").is_file() {
            controllers = Some(start_controllers(folder, &files, &kubeconfig).await?);
        }
        Ok(Self {
            controllers,
            apiserver,
            etcd,
            port,
            kubeconfig,
            _files: files,
        })
    }

    /// The URL on the loopback.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// An administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    /// Ends all processes.
    pub async fn shutdown(self) {
        for process in self
            .controllers
            .into_iter()
            .chain([self.apiserver, self.etcd])
        {
            process.kill().await;
        }
    }

    /// Whether there is a controller manager.
    pub fn has_controllers(&self) -> bool {
        self.controllers.is_some()
    }
}

fn url(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

fn start_etcd(folder: &Path, files: &Files) -> Result<(SocketAddr, Process), TestbedError> {
    let client = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let peer = format!("http://127.0.0.1:{}", free_port()?);
    let data = files.path("etcd").display().to_string();
    let process = Process::start(
        folder,
        "etcd",
        files.path("etcd.log"),
        [
            "--name=testbed".to_owned(),
            format!("--data-dir={data}"),
            format!("--listen-client-urls=http://{client}"),
            format!("--advertise-client-urls=http://{client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=testbed={peer}"),
        ],
    )?;
    Ok((client, process))
}

fn start_apiserver(
    folder: &Path,
    files: &Files,
    address: [u8; 4],
    etcd: SocketAddr,
) -> Result<(u16, Process), TestbedError> {
    let port = free_port()?;
    let path = |name: &str| files.path(name).display().to_string();
    let key = path("service-accounts.key");
    let process = Process::start(
        folder,
        "kube-apiserver",
        files.path("kube-apiserver.log"),
        [
            format!("--bind-address={}", std::net::Ipv4Addr::from(address)),
            format!("--secure-port={port}"),
            format!("--etcd-servers=http://{etcd}"),
            format!("--cert-dir={}", path("certificates")),
            format!("--token-auth-file={}", path("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
            format!("--service-account-key-file={key}"),
            format!("--service-account-signing-key-file={key}"),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            // Nobody makes the ServiceAccounts that Pods would have to have.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
        ],
    )?;
    Ok((port, process))
}

async fn start_controllers(
    folder: &Path,
    files: &Files,
    kubeconfig: &str,
) -> Result<Process, TestbedError> {
    let port = free_port()?;
    let kubeconfig = files.write("kubeconfig", kubeconfig)?;
    let mut process = Process::start(
        folder,
        "kube-controller-manager",
        files.path("kube-controller-manager.log"),
        [
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--controllers={CONTROLLERS}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={port}"),
            format!("--cert-dir={}", files.path("certificates").display()),
            "--leader-elect=false".to_owned(),
        ],
    )?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    process
        .wait_for(async || TcpStream::connect(address).await.ok().map(drop))
        .await?;
    Ok(process)
}

/// Whether etcd says that it is healthy.
async fn says_ok(address: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(b"GET /health HTTP/1.0\r\nHost: etcd\r\n\r\n")
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(1), ask).await;
    matches!(answer, Ok(Ok(answer)) if answer.contains("\"health\":\"true\""))
}

/// Whether the API server says that it is ready.
async fn is_ready(kubeconfig: &str) -> bool {
    let ask = async {
        let request = Request::get("/readyz").body(Vec::new());
        let request = request.expect("a path makes a request");
        client(kubeconfig)
            .await?
            .request_text(request)
            .await
            .map_err(TestbedError::from)
    };
    let answer = tokio::time::timeout(Duration::from_secs(1), ask).await;
    matches!(answer, Ok(Ok(answer)) if answer == "ok")
}
