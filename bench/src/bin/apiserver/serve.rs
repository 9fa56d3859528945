//! The server that is measured: a process of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use nico_apiserver::Server;
use nico_bench::client::{Connection, Endpoint};
use nico_bench::process;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a server may take to start before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Args)]
pub struct Arguments {
    /// Folder for the kubeconfigs: 0, 1, 2 and so on.
    folder: PathBuf,
    /// How many servers.
    #[arg(default_value_t = 1)]
    instances: usize,
}

/// Serves until it is killed.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(serve(arguments))
}

#[expect(clippy::print_stdout, reason = "tells the process that measures")]
async fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    let mut servers = Vec::new();
    for number in 0..arguments.instances {
        let server = Server::builder().start().await?;
        let path = kubeconfig_path(&arguments.folder, number);
        fs::write(&path, server.kubeconfig())
            .with_context(|| format!("cannot write {}", path.display()))?;
        servers.push(server);
    }
    println!("serving");
    std::future::pending::<()>().await;
    Ok(())
}

fn kubeconfig_path(folder: &Path, number: usize) -> PathBuf {
    folder.join(number.to_string())
}

/// What is measured.
#[derive(Clone, Debug)]
pub enum Program {
    /// This program itself.
    BuiltIn,
    /// A built `nico`.
    Nico(PathBuf),
}

/// A running server process. It is killed when dropped.
pub struct Running {
    child: Child,
    folder: TempDir,
    /// From the start of the process to its word that it serves.
    pub began: Instant,
}

impl Running {
    /// Starts a process with one server.
    pub async fn start(program: &Program) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder for the kubeconfig")?;
        let command = match program {
            Program::BuiltIn => serve_command(&folder, 1)?,
            Program::Nico(file) => {
                let mut command = Command::new(file);
                command
                    .args(["apiserver", "--listen", "127.0.0.1:0", "--kubeconfig-out"])
                    .arg(kubeconfig_path(folder.path(), 0));
                command
            }
        };
        Self::spawn(command, folder).await
    }

    /// Starts a process with several servers.
    pub async fn start_many(instances: usize) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder for the kubeconfigs")?;
        Self::spawn(serve_command(&folder, instances)?, folder).await
    }

    async fn spawn(mut command: Command, folder: TempDir) -> anyhow::Result<Self> {
        let began = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.as_std().get_program()))?;
        // Logs may come first on the same stream; the last kubeconfig is written before this word.
        let output = child
            .stdout
            .take()
            .context("the server has no standard output")?;
        let mut lines = BufReader::new(output).lines();
        let serves = async {
            while let Some(line) = lines.next_line().await? {
                if line.starts_with("serving") {
                    return Ok(true);
                }
            }
            Ok::<_, anyhow::Error>(false)
        };
        let serves = tokio::time::timeout(PATIENCE, serves).await;
        ensure!(
            serves.context("the server does not start")??,
            "the server has ended instead of serving"
        );
        Ok(Self {
            child,
            folder,
            began,
        })
    }

    /// The server of this number.
    pub fn endpoint(&self, number: usize) -> anyhow::Result<Endpoint> {
        let path = kubeconfig_path(self.folder.path(), number);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read the kubeconfig {}", path.display()))?;
        Endpoint::from_kubeconfig(&text)
    }

    /// A connection to the first server.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        self.endpoint(0)?.connect().await
    }

    /// Resident memory, in MB.
    pub fn memory(&self) -> anyhow::Result<f64> {
        Ok(process::resident_memory(self.pid()?)? as f64 / 1e6)
    }

    /// Processor time used so far.
    pub fn processor_time(&self) -> anyhow::Result<Duration> {
        process::processor_time(self.pid()?)
    }

    fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("the server has ended")
    }
}

fn serve_command(folder: &TempDir, instances: usize) -> anyhow::Result<Command> {
    let program = std::env::current_exe().context("cannot find this program's file")?;
    let mut command = Command::new(program);
    command
        .arg("serve")
        .arg(folder.path())
        .arg(instances.to_string());
    Ok(command)
}
