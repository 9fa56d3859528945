//! Runs the system's programs (`ip`, `mount`, `git`, `kubectl`) and waits for conditions.
//!
//! Every program that a sandbox starts carries the variable [`MARK`] in its environment. That
//! is how leftovers are found: see [`crate::state`].

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Environment variable with the id of the sandbox that started a process.
pub(crate) const MARK: &str = "NICO_SANDBOX";

/// Why a program did not do what it was started for.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The program could not be started.
    #[error("cannot start `{command}`")]
    Start {
        /// What was to be run.
        command: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The program ended with something else than success.
    #[error("`{command}` ended with {status}: {message}")]
    Failed {
        /// What was run.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of what it wrote.
        message: String,
    },
}

/// Runs a program to its end and gives what it wrote to standard output.
///
/// # Errors
/// When it cannot be started or does not end with 0; the message has its standard error.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String, CommandError> {
    output(Command::new(program).args(arguments), &[])
}

/// As [`run`], with bytes for standard input.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_with_input(
    program: &str,
    arguments: &[&str],
    input: &[u8],
) -> Result<String, CommandError> {
    output(Command::new(program).args(arguments), input)
}

/// As [`run_with_input`], for a command that needs more than arguments.
///
/// # Errors
/// As [`run`].
pub(crate) fn output(command: &mut Command, input: &[u8]) -> Result<String, CommandError> {
    let result = raw_output(command, input)?;
    if result.status.success() {
        return Ok(String::from_utf8_lossy(&result.stdout).into_owned());
    }
    Err(CommandError::Failed {
        command: line(command),
        status: result.status,
        message: last_lines(&result, 20),
    })
}

/// Runs a command to its end, whatever its exit code is.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn raw_output(command: &mut Command, input: &[u8]) -> Result<Output, CommandError> {
    let line = line(command);
    let start = |source| CommandError::Start {
        command: line.clone(),
        source,
    };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    let mut stdin = child.stdin.take();
    std::thread::scope(|scope| {
        // On its own thread: a program may write much before it has read everything. One that
        // does not read to the end has its reasons, and its exit code tells.
        scope.spawn(move || stdin.take().map(|mut pipe| pipe.write_all(input)));
        child.wait_with_output()
    })
    .map_err(start)
}

/// Waits until the condition gives something; `None` when the time is over.
///
/// Looks every 20 ms, for conditions that nothing announces: a socket that answers, a file
/// that appears, a process that is gone.
pub(crate) fn wait_for<T>(
    deadline: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

fn last_lines(output: &Output, count: usize) -> String {
    let both = [output.stderr.as_slice(), output.stdout.as_slice()].concat();
    let text = String::from_utf8_lossy(&both);
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
