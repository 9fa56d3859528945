//! `nico apiserver`: the embedded Kubernetes API server as a process.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use nico_apiserver::Authorization;
use nico_apiserver::storage::{Durable, Etcd, EtcdOptions, Storage};
use nico_runtime::shutdown::{self, SecondSignal};
use nico_runtime::telemetry;

use crate::duration::duration;
use crate::faults;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Address and port to listen on; port 0 picks a free one.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6443")]
    listen: SocketAddr,
    /// File that the administrator's kubeconfig is written to, whole, once the server serves.
    #[arg(long, value_name = "FILE")]
    kubeconfig_out: Option<PathBuf>,
    /// How it is decided who may do what: everybody who is known may do everything, or Roles and
    /// their bindings decide.
    #[arg(long, value_enum, value_name = "MODE", default_value_t = Mode::AlwaysAllow)]
    authorization_mode: Mode,
    /// File with bearer tokens of users: lines of token,user,uid,"group1,group2".
    #[arg(long, value_name = "FILE")]
    token_auth_file: Option<PathBuf>,
    /// File with the key that signs the tokens of ServiceAccounts: a private key of the curve
    /// P-256 in PEM. Made at start if it is not given; servers of one cluster need the same.
    #[arg(long, value_name = "FILE")]
    service_account_signing_key_file: Option<PathBuf>,
    /// File to which a line of JSON is added for each request: who asked for what, whether they
    /// might, and by which rule.
    #[arg(long, value_name = "FILE")]
    audit_log_path: Option<PathBuf>,
    /// File with a bearer token of an administrator, besides the administrator's certificate.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Further name or address that the server's certificate is valid for. May be repeated.
    #[arg(long, value_name = "NAME")]
    advertise_name: Vec<String>,
    /// File with rules for faults on purpose, in YAML or JSON: error answers, latency, lost
    /// connections, stale reads, broken watches. It is read at start and at each SIGHUP.
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// How long an Event is kept after its last write.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    event_ttl: Duration,
    /// How long a Node with a Lease may send no heartbeat before it becomes Unknown.
    #[arg(long, value_name = "TIME", default_value = "50s", value_parser = duration)]
    node_monitor_grace_period: Duration,
    /// Let workloads make Pods, and Pods on Ready Nodes run and end, as if there were a scheduler
    /// and kubelets.
    #[arg(long)]
    simulate_workloads: bool,
    /// Directory that keeps objects and certificates over restarts; made if it is missing.
    #[arg(long, value_name = "DIR", conflicts_with = "etcd")]
    data: Option<PathBuf>,
    /// URLs of the members of an etcd that keeps the objects. May be repeated.
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    etcd: Vec<String>,
    /// What all keys in etcd begin with.
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "/nico/registry",
        requires = "etcd"
    )]
    etcd_prefix: String,
    /// File with the certificates of the authorities of an etcd with https.
    #[arg(long, value_name = "FILE", requires = "etcd")]
    etcd_cacert: Option<PathBuf>,
    /// File with the certificate that etcd knows this client by.
    #[arg(long, value_name = "FILE", requires = "etcd_key")]
    etcd_cert: Option<PathBuf>,
    /// File with the key of that certificate.
    #[arg(long, value_name = "FILE", requires = "etcd_cert")]
    etcd_key: Option<PathBuf>,
    /// Directory that keeps the certificates over restarts, shared by the servers of one etcd;
    /// the data directory's folder `certificates` if there is one.
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
}

/// The names that kube-apiserver has for them.
#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    #[value(name = "AlwaysAllow")]
    AlwaysAllow,
    #[value(name = "RBAC")]
    Rbac,
}

impl From<Mode> for Authorization {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::AlwaysAllow => Self::AlwaysAllow,
            Mode::Rbac => Self::Rbac,
        }
    }
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    telemetry::start(telemetry::LogFormat::Text, "info")?;
    tokio::runtime::Runtime::new()?.block_on(serve(arguments))
}

#[expect(clippy::print_stdout, reason = "the answer of a command-line program")]
async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let stop = shutdown::on_signal(SecondSignal::EndsAtOnce)?;
    let mut builder = nico_apiserver::Server::builder()
        .listen(arguments.listen)
        .event_ttl(arguments.event_ttl)
        .node_monitor_grace_period(arguments.node_monitor_grace_period)
        .simulate_workloads(arguments.simulate_workloads)
        .authorization(arguments.authorization_mode.into());
    if let Some(file) = &arguments.token_auth_file {
        let tokens = fs::read_to_string(file)
            .with_context(|| format!("cannot read the file of tokens {}", file.display()))?;
        builder = builder
            .user_tokens(&tokens)
            .with_context(|| format!("cannot use the file of tokens {}", file.display()))?;
    }
    if let Some(file) = &arguments.service_account_signing_key_file {
        let key = fs::read_to_string(file)
            .with_context(|| format!("cannot read the signing key {}", file.display()))?;
        builder = builder.service_account_key(key);
    }
    if let Some(file) = &arguments.audit_log_path {
        builder = builder.audit_log(file);
    }
    if let Some(file) = &arguments.token_file {
        let token = fs::read_to_string(file)
            .with_context(|| format!("cannot read the token file {}", file.display()))?;
        builder = builder.token(token.trim());
    }
    for name in &arguments.advertise_name {
        builder = builder.advertise_name(name);
    }
    if let Some(storage) = storage(&arguments).await? {
        builder = builder.storage(storage);
    }
    let beside_data = arguments
        .data
        .as_ref()
        .map(|data| data.join("certificates"));
    if let Some(directory) = arguments.cert_dir.as_ref().or(beside_data.as_ref()) {
        builder = builder.certificates(directory);
    }
    if let Some(file) = arguments.faults {
        builder = builder.faults(faults::follow(file)?);
    }
    let server = builder
        .start()
        .await
        .context("cannot start the API server")?;
    if let Some(file) = &arguments.kubeconfig_out {
        write_whole(file, server.kubeconfig())
            .with_context(|| format!("cannot write the kubeconfig {}", file.display()))?;
    }
    println!(
        "serving a Kubernetes API for development and tests on {}",
        server.url()
    );
    stop.cancelled().await;
    server.shutdown().await;
    Ok(())
}

/// Where the objects are kept; none for memory.
async fn storage(arguments: &Arguments) -> anyhow::Result<Option<Arc<dyn Storage>>> {
    if let Some(directory) = &arguments.data {
        let durable = Durable::open(directory).context("cannot use the directory of --data")?;
        return Ok(Some(Arc::new(durable)));
    }
    if arguments.etcd.is_empty() {
        return Ok(None);
    }
    let read = |option: &str, file: &Option<PathBuf>| {
        let read = |file: &PathBuf| {
            fs::read_to_string(file)
                .with_context(|| format!("cannot read the file {} of {option}", file.display()))
        };
        file.as_ref().map(read).transpose()
    };
    let certificate = read("--etcd-cert", &arguments.etcd_cert)?;
    let key = read("--etcd-key", &arguments.etcd_key)?;
    let options = EtcdOptions {
        endpoints: arguments.etcd.clone(),
        prefix: arguments.etcd_prefix.clone(),
        authority: read("--etcd-cacert", &arguments.etcd_cacert)?,
        identity: certificate.zip(key),
    };
    let etcd = Etcd::connect(options)
        .await
        .context("cannot use the URLs of --etcd")?;
    Ok(Some(Arc::new(etcd)))
}

/// Writes a file that only its owner can read, and that nobody ever sees half written.
fn write_whole(path: &Path, content: &str) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(content.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        fs::remove_file(&temporary).ok();
    }
    written
}
