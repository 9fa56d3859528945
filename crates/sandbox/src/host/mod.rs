//! One host: a network namespace with an address on the bridge, and mount, pid and uts
//! namespaces in which an `sshd` with its own host key is process 1, or systemd, which runs it.
//!
//! What a host writes ends in its own `/nix`, `/etc`, `/var`, `/root`, `/home` and `/tmp`, which
//! it keeps over a reboot, or in memory. Of the real file system it sees `/usr`, read-only.
//! Killing one process ends everything that runs on it.

mod files;

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use russh::keys::PrivateKey;

use crate::command::{self, CommandError, MARK, wait_for};
use crate::control_group;
use crate::network::{Network, NetworkError};
use crate::state::{self, StateError, file_error};

const BOOT: &str = include_str!("boot.sh");

/// How long a host may take from power on to the banner of its SSH server.
const BOOT_DEADLINE: Duration = Duration::from_secs(45);

/// Why a host does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Its network cannot be made.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Its files cannot be written.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its key cannot be made.
    #[error("cannot make the host key of {host}")]
    Key {
        /// The host.
        host: String,
        /// What the library said.
        source: russh::keys::ssh_key::Error,
    },
    /// It does not answer after power on.
    #[error(
        "{host} did not come up: its SSH server must answer within {seconds} s; its console said: {console}"
    )]
    NotBooted {
        /// The host.
        host: String,
        /// How long was waited.
        seconds: u64,
        /// The end of its console.
        console: String,
    },
    /// It is powered off, so nothing can be run on it.
    #[error("{0} is powered off")]
    Off(String),
    /// A program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// What a host is made of.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// Host name.
    pub name: String,
    /// Last number of its address, 3 to 254.
    pub number: u8,
    /// The public key that may log in as root, in OpenSSH form.
    pub authorized_key: String,
    /// The `nico` binary, which the host sees as `/opt/nico/bin/nico`.
    pub nico: PathBuf,
}

/// The first process of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Init {
    /// The SSH server itself, which is up in milliseconds.
    #[default]
    Sshd,
    /// systemd, with the SSH server as its unit `sshd`.
    Systemd,
}

/// A host of a sandbox. Powered off when it is dropped; its files go with the sandbox.
#[derive(Debug)]
pub struct Host {
    options: HostOptions,
    sandbox: String,
    network: Network,
    directory: PathBuf,
    public_key: String,
    init: Init,
    /// The control group of a host that is on and has systemd.
    group: Option<PathBuf>,
    power: Option<Child>,
}

impl Host {
    /// Makes a host and powers it on; returns when its SSH server answers.
    pub(crate) fn create(
        sandbox: &str,
        directory: &Path,
        network: &Network,
        options: HostOptions,
    ) -> Result<Self, HostError> {
        let directory = directory.join("hosts").join(&options.name);
        let key = PrivateKey::random(&mut rand::rng(), russh::keys::Algorithm::Ed25519);
        let written = key.and_then(|key| {
            let public = key.public_key().to_openssh()?;
            Ok((
                key.to_openssh(russh::keys::ssh_key::LineEnding::LF)?,
                public,
            ))
        });
        let (private_key, public_key) = written.map_err(|source| HostError::Key {
            host: options.name.clone(),
            source,
        })?;
        files::write(&directory.join("disk"), &options, &private_key)?;
        network.attach(&options.name, options.number)?;
        let mut host = Self {
            options,
            sandbox: sandbox.to_owned(),
            network: network.clone(),
            directory,
            public_key,
            init: Init::default(),
            group: None,
            power: None,
        };
        host.power_on()?;
        Ok(host)
    }

    /// The host name.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// The address on the bridge.
    pub fn address(&self) -> Ipv4Addr {
        self.network.address(self.options.number)
    }

    /// The public host key, in OpenSSH form.
    pub fn public_key(&self) -> &str {
        &self.public_key
    }

    /// What the host keeps over a reboot, as this machine sees it: `nix`, `etc`, `var` and so on.
    pub fn disk(&self) -> PathBuf {
        self.directory.join("disk")
    }

    /// Everything that SSH server and boot wrote to the console.
    pub fn console(&self) -> String {
        fs::read_to_string(self.console_file()).unwrap_or_default()
    }

    /// Chooses the first process from the next time on that the host is powered on.
    pub fn set_init(&mut self, init: Init) {
        self.init = init;
    }

    /// Powers the host on and waits until its SSH server answers. Starts what the system
    /// profile holds, as a real host does. Does nothing when it is on.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub fn power_on(&mut self) -> Result<(), HostError> {
        if self.is_on() {
            return Ok(());
        }
        // One that went down by itself left something.
        self.power_off();
        let script = self.directory.join("boot.sh");
        let root = self.directory.join("root");
        fs::create_dir_all(&root).map_err(file_error("create", &root))?;
        fs::write(&script, BOOT).map_err(file_error("write", &script))?;
        let console = fs::File::options()
            .create(true)
            .append(true)
            .open(self.console_file())
            .map_err(file_error("open", &self.console_file()))?;
        let mut command = self.ip()?;
        command
            .args(["netns", "exec", &self.namespace()])
            .args(["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork"])
            .args(["--kill-child", "sh"])
            .arg(script)
            .arg(root)
            .arg(self.disk())
            .arg(&self.options.name)
            .arg(&self.options.nico)
            .arg(match self.init {
                Init::Sshd => "sshd",
                Init::Systemd => "systemd",
            })
            .env(MARK, &self.sandbox)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(console)
            // Ctrl-C is for the sandbox, which then ends the host.
            .process_group(0);
        let child = command.spawn().map_err(|source| CommandError::Start {
            command: format!("unshare for {}", self.options.name),
            source,
        })?;
        self.power = Some(child);
        let address = SocketAddr::from((self.address(), 22));
        let up = wait_for(BOOT_DEADLINE, || {
            if !self.is_on() {
                return Some(false);
            }
            answers_as_ssh(address).then_some(true)
        });
        if up != Some(true) {
            return Err(HostError::NotBooted {
                host: self.options.name.clone(),
                seconds: BOOT_DEADLINE.as_secs(),
                console: self.console(),
            });
        }
        Ok(())
    }

    /// Cuts the power: every process of the host ends at once, what it wrote stays.
    pub fn power_off(&mut self) {
        if let Some(mut child) = self.power.take()
            && let Err(error) = child.kill().and_then(|()| child.wait())
        {
            tracing::warn!(host = self.options.name, %error, "cannot power off");
        }
        if let Some(group) = self.group.take()
            && let Err(error) = control_group::remove(&group)
        {
            tracing::warn!(host = self.options.name, %error, "something of the host remains");
        }
    }

    /// Whether the host is on: it is not after it was powered off, or shut itself down.
    pub fn is_on(&mut self) -> bool {
        let power = self.power.as_mut();
        power.is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Stops the SSH server from answering: connections are opened, and then nothing comes.
    ///
    /// # Errors
    /// When the host is powered off.
    pub fn pause_ssh(&self) -> Result<(), HostError> {
        state::kill("STOP", &[self.init()?]);
        Ok(())
    }

    /// Lets the SSH server answer again.
    ///
    /// # Errors
    /// When the host is powered off.
    pub fn resume_ssh(&self) -> Result<(), HostError> {
        state::kill("CONT", &[self.init()?]);
        Ok(())
    }

    /// Makes every command over SSH take this much longer; zero for the usual speed.
    ///
    /// # Errors
    /// When the files of the host cannot be written.
    pub fn set_delay(&self, delay: Duration) -> Result<(), HostError> {
        Ok(files::write_login_shell(&self.disk(), delay)?)
    }

    /// Plugs the network cable in or out. Without it the address is not reachable.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn set_link(&self, up: bool) -> Result<(), HostError> {
        Ok(self.network.set_link(self.options.number, up)?)
    }

    /// Runs a command of the shell on the host, not over SSH but from this machine.
    ///
    /// # Errors
    /// When the host is powered off. The exit code is for the caller to judge.
    pub fn run(&self, shell: &str) -> Result<Output, HostError> {
        let init = self.init()?.to_string();
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &init])
            .args([
                "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd",
            ])
            .args(["sh", "-c", shell])
            .env_clear()
            .env("PATH", files::PATH)
            .env("HOME", "/root")
            .env(MARK, &self.sandbox);
        Ok(command::raw_output(&mut command, &[])?)
    }

    /// The process 1 of the host, by its pid on this machine.
    ///
    /// # Errors
    /// When the host is powered off.
    pub fn init(&self) -> Result<u32, HostError> {
        let off = || HostError::Off(self.options.name.clone());
        let unshare = self.power.as_ref().ok_or_else(off)?.id();
        state::children(unshare).first().copied().ok_or_else(off)
    }

    /// The processes that run on the host, process 1 first, by their pids on this machine.
    ///
    /// # Errors
    /// When the host is powered off.
    pub fn processes(&self) -> Result<Vec<u32>, HostError> {
        let init = self.init()?;
        let others = state::descendants(init);
        Ok([vec![init], others].concat())
    }

    fn namespace(&self) -> String {
        state::namespace(&self.sandbox, Some(&self.options.name))
    }

    fn console_file(&self) -> PathBuf {
        self.directory.join("console.log")
    }

    /// The program `ip`, to be given arguments; in a control group of the host's own if the host
    /// needs one.
    fn ip(&mut self) -> Result<Command, StateError> {
        if self.init == Init::Sshd {
            return Ok(Command::new("ip"));
        }
        let group = control_group::create(&self.sandbox, &self.options.name)?;
        let mut command = Command::new("sh");
        command
            .args(["-c", r#"echo $$ >"$0/cgroup.procs" && exec ip "$@""#])
            .arg(&group);
        self.group = Some(group);
        Ok(command)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.power_off();
    }
}

fn answers_as_ssh(address: SocketAddr) -> bool {
    let second = Duration::from_secs(1);
    let banner = || {
        let mut stream = TcpStream::connect_timeout(&address, second)?;
        stream.set_read_timeout(Some(second))?;
        let mut start = [0; 4];
        stream.read_exact(&mut start)?;
        Ok::<_, std::io::Error>(start)
    };
    banner().is_ok_and(|start| start == *b"SSH-")
}

fn set_mode(path: &Path, mode: u32) -> Result<(), StateError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(file_error("set the mode of", path))
}
