//! A program that runs as long as the sandbox needs it, with its output in a file.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::command::{CommandError, MARK, wait_for};
use crate::state::{self, StateError, file_error};

/// How long a program may take to end after SIGTERM.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// A running program. Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts a program, whose output is appended to the file `log`.
    pub(crate) fn start(
        sandbox: &str,
        log: &Path,
        command: &mut Command,
    ) -> Result<Self, StateError> {
        let open = || fs::File::options().create(true).append(true).open(log);
        let output = open().map_err(file_error("open", log))?;
        let errors = output.try_clone().map_err(file_error("open", log))?;
        let child = command
            .env(MARK, sandbox)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            // Ctrl-C is for the sandbox, which then ends the program.
            .process_group(0)
            .spawn()
            .map_err(|source| CommandError::Start {
                command: command.get_program().to_string_lossy().into_owned(),
                source,
            })?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The end of what the program wrote.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Asks the program to end, and kills it when it does not.
    pub(crate) fn stop(mut self) {
        state::kill("TERM", &[self.pid()]);
        if wait_for(STOP_DEADLINE, || (!self.is_running()).then_some(())).is_none() {
            tracing::warn!(log = %self.log.display(), "the program did not end when asked to");
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.is_running()
            && let Err(error) = self.child.kill().and_then(|()| self.child.wait())
        {
            tracing::warn!(%error, pid = self.pid(), "cannot kill");
        }
    }
}
