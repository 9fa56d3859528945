//! A process of a control plane, with its log.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use crate::TestbedError;

/// Longer than anything takes on a machine that is busy with other tests.
const DEADLINE: Duration = Duration::from_secs(120);
/// Between two looks.
const PERIOD: Duration = Duration::from_millis(50);
/// How much of a log is shown, in bytes.
const SHOWN: usize = 4000;

/// A process. Killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    program: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program of a folder; what it says goes to a file.
    pub fn start<I, S>(
        folder: &Path,
        program: &'static str,
        log: PathBuf,
        arguments: I,
    ) -> Result<Self, TestbedError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let path = folder.join(program);
        if !path.is_file() {
            let folder = folder.to_owned();
            return Err(TestbedError::Missing { program, folder });
        }
        let failed = || io(format!("start {}", path.display()));
        let output = File::create(&log).map_err(failed())?;
        let errors = output.try_clone().map_err(failed())?;
        let child = Command::new(&path)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed())?;
        Ok(Self {
            program,
            child,
            log,
        })
    }

    /// Waits until `look` gives something.
    pub async fn wait_for<T>(
        &mut self,
        mut look: impl AsyncFnMut() -> Option<T>,
    ) -> Result<T, TestbedError> {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = look().await {
                return Ok(found);
            }
            if !matches!(self.child.try_wait(), Ok(None)) {
                return Err(self.not_ready("ended"));
            }
            if Instant::now() > end {
                return Err(self.not_ready("does not become ready"));
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Ends it, and returns when it has ended.
    pub async fn kill(mut self) {
        // It fails if the process has ended already.
        self.child.kill().await.ok();
    }

    fn not_ready(&self, what: &'static str) -> TestbedError {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let shown = &log[log.len().saturating_sub(SHOWN)..];
        TestbedError::NotReady {
            program: self.program,
            what,
            log: String::from_utf8_lossy(shown).into_owned(),
        }
    }
}

/// A port that was free just now.
pub fn free_port() -> Result<u16, TestbedError> {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = socket.and_then(|socket| socket.local_addr());
    Ok(address.map_err(io("find a free port"))?.port())
}

/// An error of the system while something was being done.
pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> TestbedError {
    let what = what.into();
    move |source| TestbedError::Io { what, source }
}
