//! The management cluster of a sandbox: `nico apiserver` and `nico operator`, as processes of
//! their own, where the bridge of the sandbox is.
//!
//! The operator has a `/nix`, a home and a working directory of its own, so that it leaves
//! nothing on this machine and uses nothing of what is there.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use crate::command::wait_for;
use crate::daemon::Daemon;
use crate::kubectl::Kubectl;
use crate::sandbox::Sandbox;
use crate::state::{self, StateError, file_error};

const OWN_NIX: &str = include_str!("own-nix.sh");

/// Root without a daemon, and nobody to download from. A build that another process does at the
/// same time is looked for every second rather than every five, for here it takes a moment.
const NIX_CONFIG: &str = "\
build-poll-interval = 1
experimental-features = nix-command flakes
build-users-group =
sandbox = false
substitute = false
";

const METRICS_PORT: u16 = 8080;
const PROBES_PORT: u16 = 8081;

/// How long a process may take until it is ready. The operator may first have to wait for the
/// Lease of one that was killed.
const READY_DEADLINE: Duration = Duration::from_secs(60);

/// Why the management cluster does not run.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// A file or a process.
    #[error(transparent)]
    State(#[from] StateError),
    /// A process does not become ready.
    #[error("{program} {what}; the end of its log:\n{log}")]
    NotReady {
        /// The process.
        program: &'static str,
        /// What it did instead.
        what: &'static str,
        /// The end of its log.
        log: String,
    },
    /// The kubeconfig cannot be read.
    #[error("cannot use the kubeconfig of the sandbox")]
    Kubeconfig(#[from] KubeconfigError),
    /// A client cannot be made.
    #[error("cannot make a client for the management cluster")]
    Client(#[from] kube::Error),
}

/// The management cluster and the sandbox below. Everything ends when it is dropped.
#[derive(Debug)]
pub struct Stack {
    // Dropped in this order: the operator loses its API last.
    operator: Option<Daemon>,
    apiserver: Daemon,
    environment: Vec<(String, String)>,
    operator_kubeconfig: Option<PathBuf>,
    sandbox: Sandbox,
}

impl Stack {
    /// Starts the API server, and not yet the operator; returns when it serves.
    ///
    /// `environment` is for the operator, over the settings that the sandbox makes.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start(sandbox: Sandbox, environment: &[(&str, &str)]) -> Result<Self, StackError> {
        Self::start_with(sandbox, environment, &[])
    }

    /// Like [`start`](Self::start), with further options for `nico apiserver`.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_with(
        sandbox: Sandbox,
        environment: &[(&str, &str)],
        options: &[&str],
    ) -> Result<Self, StackError> {
        let directory = sandbox.directory();
        for name in [
            "log",
            "user",
            "operator/nix",
            "operator/home",
            "operator/tmp",
            "operator/state",
        ] {
            let path = directory.join(name);
            fs::create_dir_all(&path).map_err(file_error("create", &path))?;
        }
        let kubeconfig = directory.join("kubeconfig");
        let address = sandbox.network().management();
        let mut command = in_network(&sandbox);
        command
            .arg(sandbox.nico())
            .args(["apiserver", "--listen", &format!("{address}:6443")])
            .arg("--kubeconfig-out")
            .arg(&kubeconfig)
            .args(options);
        let log = directory.join("log/apiserver.log");
        let mut apiserver = Daemon::start(sandbox.id(), &log, &mut command)?;
        wait_until_ready("nico apiserver", &mut apiserver, || kubeconfig.exists())?;
        Ok(Self {
            operator: None,
            apiserver,
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            operator_kubeconfig: None,
            sandbox,
        })
    }

    /// Lets the operator use another kubeconfig than the administrator's when it starts.
    pub fn set_operator_kubeconfig(&mut self, kubeconfig: PathBuf) {
        self.operator_kubeconfig = Some(kubeconfig);
    }

    /// Starts the operator; returns when it says that it is ready. Does nothing when it runs.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_operator(&mut self) -> Result<(), StackError> {
        if self.operator.is_some() {
            return Ok(());
        }
        let directory = self.sandbox.directory();
        let own = directory.join("operator");
        let root = directory.join("operator-root");
        fs::create_dir_all(&root).map_err(file_error("create", &root))?;
        let script = directory.join("own-nix.sh");
        fs::write(&script, OWN_NIX).map_err(file_error("write", &script))?;
        let mut command = in_network(&self.sandbox);
        command
            .args(["unshare", "--mount", "sh"])
            .arg(&script)
            .arg(&root)
            .arg(own.join("nix"))
            .arg(self.sandbox.nico())
            .arg("operator")
            .env(
                "KUBECONFIG",
                self.operator_kubeconfig
                    .clone()
                    .unwrap_or_else(|| self.kubeconfig()),
            )
            .env("HOME", own.join("home"))
            .env("TMPDIR", own.join("tmp"))
            .env("NIX_CONFIG", NIX_CONFIG)
            .env("NIO_BASE_CONFIG_PATH", own.join("state"))
            .env("NIO_ALLOW_FILE_URLS", "true")
            // A push is to be seen while somebody looks.
            .env("NIO_CONFIG_RECONCILE_INTERVAL", "10s")
            .env("METRICS_PORT", METRICS_PORT.to_string())
            .env("HEALTH_CHECK_PORT", PROBES_PORT.to_string())
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut operator = Daemon::start(self.sandbox.id(), &self.operator_log(), &mut command)?;
        let probes = SocketAddr::from((self.sandbox.network().management(), PROBES_PORT));
        wait_until_ready("nico operator", &mut operator, || says_ready(probes))?;
        self.operator = Some(operator);
        Ok(())
    }

    /// Kills the operator with SIGKILL, wherever it is.
    pub fn kill_operator(&mut self) {
        self.operator = None;
    }

    /// Asks the operator to end, with SIGTERM, and waits until it did.
    pub fn stop_operator(&mut self) {
        if let Some(operator) = self.operator.take() {
            operator.stop();
        }
    }

    /// The pid of the operator, if it runs.
    pub fn operator_pid(&self) -> Option<u32> {
        self.operator.as_ref().map(Daemon::pid)
    }

    /// The sandbox below.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The sandbox below, to change its hosts.
    pub fn sandbox_mut(&mut self) -> &mut Sandbox {
        &mut self.sandbox
    }

    /// The administrator's kubeconfig of the management cluster.
    pub fn kubeconfig(&self) -> PathBuf {
        self.sandbox.directory().join("kubeconfig")
    }

    /// The log of the operator; all of its lives are in it.
    pub fn operator_log(&self) -> PathBuf {
        self.sandbox.directory().join("log/operator.log")
    }

    /// Where the operator serves its metrics.
    pub fn metrics_url(&self) -> String {
        let address = self.sandbox.network().management();
        format!("http://{address}:{METRICS_PORT}/metrics")
    }

    /// A client of the management cluster.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub async fn client(&self) -> Result<Client, StackError> {
        client(&self.kubeconfig()).await
    }

    /// The `kubectl` of this machine, for the management cluster, in a directory for what a
    /// user writes.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(&self.kubeconfig(), &self.sandbox.directory().join("user"))
    }

    /// Ends all processes and removes everything, to learn whether it could be removed.
    ///
    /// # Errors
    /// When something remains.
    pub fn remove(mut self) -> Result<(), crate::SandboxError> {
        self.stop_operator();
        drop(self.apiserver);
        self.sandbox.remove()
    }
}

/// A client for a kubeconfig in a file.
///
/// # Errors
/// When the file cannot be used.
pub async fn client(kubeconfig: &Path) -> Result<Client, StackError> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    Ok(Client::try_from(config)?)
}

fn in_network(sandbox: &Sandbox) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &state::namespace(sandbox.id(), None)]);
    command
}

fn wait_until_ready(
    program: &'static str,
    daemon: &mut Daemon,
    mut ready: impl FnMut() -> bool,
) -> Result<(), StackError> {
    let ended = wait_for(READY_DEADLINE, || {
        if ready() {
            return Some(false);
        }
        (!daemon.is_running()).then_some(true)
    });
    let what = match ended {
        Some(false) => return Ok(()),
        Some(true) => "ended",
        None => "did not become ready in time",
    };
    Err(StackError::NotReady {
        program,
        what,
        log: daemon.last_words(),
    })
}

fn says_ready(probes: SocketAddr) -> bool {
    let second = Duration::from_secs(1);
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&probes, second)?;
        stream.set_read_timeout(Some(second))?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: operator\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    ask().is_ok_and(|answer| answer.split(' ').nth(1) == Some("200"))
}
