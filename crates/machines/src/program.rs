//! Programs that NICO starts: a private environment, a deadline, the last lines of what they said.
//!
//! Owns nothing that outlives a call. A program runs in a process group of its own, which is
//! killed when the call is dropped or its deadline passes, so that no helper of `git` or `nix`
//! is left behind. What is kept of its output has its secrets taken out.

mod redact;

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

pub use redact::Redactor;

/// How many lines of a program's standard error are kept.
const TAIL_LINES: usize = 20;

/// How many bytes of one line of standard error are kept.
const TAIL_LINE_BYTES: usize = 500;

/// Variables of the operator's environment that its programs need to work on any network.
const PASSED_ON: &[&str] = &[
    "PATH",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NIX_SSL_CERT_FILE",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

/// A program that did not do what it was asked to do.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The program could not be started.
    #[error("cannot start {program}: {source}; is it installed and in PATH?")]
    NotStarted {
        /// Name of the program.
        program: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The program ended with a status other than 0.
    #[error("{program} ended with {status}:\n{tail}")]
    Failed {
        /// Name of the program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its standard error, without secrets.
        tail: String,
    },
    /// The program did not end in time and was killed.
    #[error("{program} did not end within {} s and was stopped; its last words:\n{tail}", after.as_secs())]
    TimedOut {
        /// Name of the program.
        program: String,
        /// The deadline.
        after: Duration,
        /// The last lines of its standard error, without secrets.
        tail: String,
    },
    /// Its output could not be read.
    #[error("cannot read the output of {program}: {source}")]
    Unreadable {
        /// Name of the program.
        program: String,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl ProgramError {
    /// The last lines of the program's standard error; empty when it did not run.
    pub fn tail(&self) -> &str {
        match self {
            Self::Failed { tail, .. } | Self::TimedOut { tail, .. } => tail,
            Self::NotStarted { .. } | Self::Unreadable { .. } => "",
        }
    }
}

/// A command with an environment that holds nothing but what every program needs and a home
/// directory of NICO's own. Messages are in English, so that they can be told apart.
pub fn command(program: impl AsRef<OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    for name in PASSED_ON {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.env("HOME", home).env("LC_ALL", "C.UTF-8");
    command
}

/// Runs a command to its end and gives what it wrote to standard output.
///
/// Dropping the future kills the program and every process that it started.
///
/// # Errors
/// [`ProgramError`] when it cannot be started, fails, or takes longer than `deadline`.
pub async fn run(
    mut command: Command,
    deadline: Duration,
    redactor: &Redactor,
) -> Result<Vec<u8>, ProgramError> {
    let program = command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| ProgramError::NotStarted {
            program: program.clone(),
            source,
        })?;
    let mut group = Group::of(&child);
    let mut tail = Tail::default();
    let ended = tokio::time::timeout(
        deadline,
        read_to_end(&mut child, &program, &mut tail, redactor),
    )
    .await;
    let Ok(ended) = ended else {
        drop(group);
        return Err(ProgramError::TimedOut {
            program,
            after: deadline,
            tail: tail.text(),
        });
    };
    let (stdout, status) = ended.map_err(|source| ProgramError::Unreadable {
        program: program.clone(),
        source,
    })?;
    group.disarm();
    if status.success() {
        Ok(stdout)
    } else {
        Err(ProgramError::Failed {
            program,
            status,
            tail: tail.text(),
        })
    }
}

async fn read_to_end(
    child: &mut Child,
    program: &str,
    tail: &mut Tail,
    redactor: &Redactor,
) -> std::io::Result<(Vec<u8>, ExitStatus)> {
    let mut stdout = Vec::new();
    let output = child.stdout.take();
    let errors = child.stderr.take();
    let read_output = async {
        match output {
            Some(mut output) => output.read_to_end(&mut stdout).await.map(|_| ()),
            None => Ok(()),
        }
    };
    let read_errors = async {
        match errors {
            Some(errors) => read_lines(errors, program, tail, redactor).await,
            None => Ok(()),
        }
    };
    tokio::try_join!(read_output, read_errors)?;
    let status = child.wait().await?;
    Ok((stdout, status))
}

async fn read_lines(
    errors: impl AsyncRead + Unpin,
    program: &str,
    tail: &mut Tail,
    redactor: &Redactor,
) -> std::io::Result<()> {
    let mut errors = BufReader::new(errors);
    let mut line = Vec::new();
    while errors.read_until(b'\n', &mut line).await? > 0 {
        let text = redactor.redact(String::from_utf8_lossy(&line).trim_end());
        tracing::debug!(program, line = text, "program says");
        tail.push(&text);
        line.clear();
    }
    Ok(())
}

/// The last lines that a program wrote.
#[derive(Default)]
struct Tail(VecDeque<String>);

impl Tail {
    fn push(&mut self, line: &str) {
        if line.is_empty() {
            return;
        }
        if self.0.len() == TAIL_LINES {
            self.0.pop_front();
        }
        let mut end = line.len().min(TAIL_LINE_BYTES);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        self.0.push_back(line[..end].to_owned());
    }

    fn text(&self) -> String {
        self.0
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// The last lines of a text, as they are kept of a program's standard error.
pub fn tail(text: &[u8], redactor: &Redactor) -> String {
    let mut tail = Tail::default();
    for line in String::from_utf8_lossy(text).lines() {
        tail.push(&redactor.redact(line.trim_end()));
    }
    tail.text()
}

/// A process group that is killed on drop, unless its leader ended by itself.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // The group may be gone already, which is as good.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut shell = command("/bin/sh", Path::new("/nonexistent"));
        shell.args(["-c", script]);
        shell
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn standard_output_is_given_whole() {
        let output = run(shell("printf 'a\\nb'"), LONG, &Redactor::default()).await;
        assert_eq!(output.unwrap(), b"a\nb");
    }

    #[tokio::test]
    async fn a_failure_carries_the_last_twenty_lines_without_secrets() {
        let script =
            "i=0; while [ $i -lt 30 ]; do echo line $i hunter22 >&2; i=$((i+1)); done; exit 3";
        let mut redactor = Redactor::default();
        redactor.add("hunter22");
        let error = run(shell(script), LONG, &redactor).await.unwrap_err();
        let lines: Vec<&str> = error.tail().lines().collect();
        assert_eq!(lines.len(), 20);
        assert_eq!(lines[0], "line 10 [redacted]");
        assert!(matches!(error, ProgramError::Failed { status, .. } if status.code() == Some(3)));
    }

    #[tokio::test]
    async fn the_environment_of_the_operator_is_not_passed_on() {
        let output = run(shell("env"), LONG, &Redactor::default()).await.unwrap();
        let names: Vec<String> = String::from_utf8(output)
            .unwrap()
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, _)| name.to_owned())
            .collect();
        for name in names {
            let known = PASSED_ON.contains(&name.as_str())
                || ["HOME", "LC_ALL", "PWD", "_", "SHLVL", "OLDPWD"].contains(&name.as_str());
            assert!(known, "{name} was passed on");
        }
    }

    #[tokio::test]
    async fn a_deadline_ends_the_program_and_what_it_started() {
        // The grandchild holds the pipe: were it not killed, its pid would still be there.
        let script = "sleep 600 & echo $! >&2; wait";
        let error = run(
            shell(script),
            Duration::from_millis(300),
            &Redactor::default(),
        )
        .await
        .unwrap_err();
        assert!(matches!(error, ProgramError::TimedOut { .. }));
        let grandchild = error.tail().trim().to_owned();
        let is_gone = || match std::fs::read_to_string(format!("/proc/{grandchild}/stat")) {
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        };
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !is_gone() {
            assert!(
                std::time::Instant::now() < deadline,
                "{grandchild} lives on"
            );
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let missing = command("/nonexistent/git", Path::new("/"));
        let error = run(missing, LONG, &Redactor::default()).await.unwrap_err();
        assert!(error.to_string().contains("/nonexistent/git"), "{error}");
    }
}
