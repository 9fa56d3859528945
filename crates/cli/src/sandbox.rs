//! `nico sandbox`: NICO with hosts made of Linux namespaces.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use nico_runtime::shutdown::{self, SecondSignal};
use nico_runtime::telemetry;
use nico_sandbox::netmaker::NetmakerServer;
use nico_sandbox::{DemoOptions, EtcdOptions, KubeletOptions, UpOptions};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Take five hosts from nothing to a Ready cluster and back.
    Demo(Demo),
    /// Make five hosts and a management cluster, and keep them until Ctrl-C.
    Up,
    /// Remove what a sandbox left that was killed.
    Clean,
    /// Serve a stand-in for a Netmaker server, empty and in memory.
    Netmaker(Netmaker),
    /// Keep a host of the sandbox registered as a Node.
    #[command(hide = true)]
    Kubelet(Kubelet),
    /// Run a member of the etcd that the control planes of a cluster share.
    #[command(hide = true)]
    Etcd(Etcd),
}

#[derive(Args)]
struct Demo {
    /// Stay up with the cluster instead of deleting it, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Ask nothing.
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
struct Netmaker {
    /// Address and port to listen on; port 0 picks a free one.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
}

#[derive(Args)]
struct Kubelet {
    /// Name of the Node.
    #[arg(long)]
    name: String,
    /// Address of the Node.
    #[arg(long)]
    address: IpAddr,
    /// Role of the Node.
    #[arg(long)]
    role: Role,
    /// What the Node reports as its version.
    #[arg(long)]
    kubelet_version: String,
    /// URL of a control plane. May be repeated.
    #[arg(long = "server", value_name = "URL", required = true)]
    servers: Vec<String>,
    /// File with the token that the control planes accept.
    #[arg(long)]
    token_file: PathBuf,
    /// File that is there while the host has a member of etcd, where it should have one.
    #[arg(long, value_name = "FILE")]
    etcd: Option<PathBuf>,
}

#[derive(Args)]
struct Etcd {
    /// Name of the member.
    #[arg(long)]
    name: String,
    /// A control plane, the first one first, this one included. May be repeated.
    #[arg(long = "peer", value_name = "NAME=ADDR", required = true)]
    peers: Vec<String>,
    /// Directory with its data.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// File that is there while the member takes part in a quorum.
    #[arg(long, value_name = "FILE")]
    ready: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    ControlPlane,
    Worker,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        match arguments.command {
            Command::Demo(Demo { keep, yes }) => Ok(nico_sandbox::demo(DemoOptions {
                nico: this_program()?,
                keep,
                yes,
            })
            .await?),
            Command::Up => Ok(nico_sandbox::up(UpOptions {
                nico: this_program()?,
            })
            .await?),
            Command::Clean => clean(),
            Command::Netmaker(Netmaker { listen }) => netmaker(listen).await,
            Command::Kubelet(arguments) => kubelet(arguments).await,
            Command::Etcd(arguments) => etcd(arguments).await,
        }
    })
}

#[expect(clippy::print_stdout, reason = "the answer of a command-line program")]
fn clean() -> anyhow::Result<()> {
    let removed = nico_sandbox::clean()?;
    if removed.is_empty() {
        println!("nothing was left behind");
    }
    for sandbox in removed {
        println!("removed sandbox {sandbox}");
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the answer of a command-line program")]
async fn netmaker(listen: SocketAddr) -> anyhow::Result<()> {
    telemetry::start(telemetry::LogFormat::Text, "info")?;
    let stop = shutdown::on_signal(SecondSignal::EndsAtOnce)?;
    let server = NetmakerServer::start(listen).await?;
    println!("serving a stand-in for Netmaker on {}", server.url());
    stop.cancelled().await;
    Ok(())
}

async fn kubelet(arguments: Kubelet) -> anyhow::Result<()> {
    telemetry::start(telemetry::LogFormat::Text, "info")?;
    let servers = arguments
        .servers
        .iter()
        .map(|url| {
            url.parse()
                .with_context(|| format!("--server {url} is not a URL"))
        })
        .collect::<anyhow::Result<_>>()?;
    nico_sandbox::kubelet(KubeletOptions {
        name: arguments.name,
        address: arguments.address,
        role: match arguments.role {
            Role::ControlPlane => nico_sandbox::Role::ControlPlane,
            Role::Worker => nico_sandbox::Role::Worker,
        },
        kubelet_version: arguments.kubelet_version,
        servers,
        token_file: arguments.token_file,
        etcd: arguments.etcd,
    })
    .await?;
    Ok(())
}

async fn etcd(arguments: Etcd) -> anyhow::Result<()> {
    telemetry::start(telemetry::LogFormat::Text, "info")?;
    let peer = |text: &String| {
        let (name, address) = text
            .split_once('=')
            .with_context(|| format!("--peer {text} has no ="))?;
        let address = address
            .parse()
            .with_context(|| format!("--peer {text} does not end in an address"))?;
        anyhow::Ok((name.to_owned(), address))
    };
    nico_sandbox::etcd(EtcdOptions {
        name: arguments.name,
        peers: arguments.peers.iter().map(peer).collect::<Result<_, _>>()?,
        data: arguments.data,
        ready: arguments.ready,
    })
    .await?;
    Ok(())
}

fn this_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot tell where the nico binary is")
}
