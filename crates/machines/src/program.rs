//! Programs that NICO starts: a private environment, a deadline, the last lines of what they said.
//!
//! Owns nothing that outlives a call. A program runs in a process group of its own, which is
//! killed when the call is dropped or its deadline passes, so that no helper of `git` or `nix`
//! is left behind. What is kept of its output has its secrets taken out.

mod redact;

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nico_runtime::process::ProcessGroup;
use rustix::process::{Resource, Rlimit, Signal, prlimit};
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
    /// Whether the program says that it did not get the memory that it wanted.
    pub fn says_out_of_memory(&self) -> bool {
        const WORDS: &[&str] = &["out of memory", "bad_alloc", "cannot allocate memory"];
        let Self::Failed { tail, .. } = self else {
            return false;
        };
        let tail = tail.to_lowercase();
        WORDS.iter().any(|words| tail.contains(words))
    }

    /// Whether the program was killed from outside, as the kernel does when memory runs out.
    pub fn was_killed(&self) -> bool {
        let Self::Failed { status, .. } = self else {
            return false;
        };
        status.signal() == Some(Signal::KILL.as_raw())
    }

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

/// The file that a program is, looked for in `PATH` unless its name is a path.
pub fn find(program: &Path) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    };
    if program.components().count() > 1 {
        return Some(program.to_owned()).filter(is_program);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(is_program)
}

/// Runs a command to its end and gives what it wrote to standard output.
///
/// Dropping the future kills the program and every process that it started.
///
/// # Errors
/// [`ProgramError`] when it cannot be started, fails, or takes longer than `deadline`.
pub async fn run(
    command: Command,
    deadline: Duration,
    redactor: &Redactor,
) -> Result<Vec<u8>, ProgramError> {
    run_within(command, deadline, None, redactor).await
}

/// Like [`run`], with a ceiling for the memory, in bytes of address space, that the program and
/// each process that it starts may have.
///
/// # Errors
/// As [`run`]. Of a program that hits the ceiling,
/// [`says_out_of_memory`](ProgramError::says_out_of_memory) is true as a rule.
pub async fn run_within(
    mut command: Command,
    deadline: Duration,
    memory: Option<u64>,
    redactor: &Redactor,
) -> Result<Vec<u8>, ProgramError> {
    let program = name(&command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let say = |line: &str| tracing::debug!(program, line, "program says");
    let mut stdout = Vec::new();
    let read = async |child: &mut Child, tail: &mut Tail| {
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let read_output = async {
            match output {
                Some(mut output) => output.read_to_end(&mut stdout).await.map(|_| ()),
                None => Ok(()),
            }
        };
        let read_errors = async {
            match errors {
                Some(errors) => read_lines(errors, tail, redactor, say).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(read_output, read_errors).map(|_| ())
    };
    supervise(command, &program, deadline, memory, read).await?;
    Ok(stdout)
}

/// Runs a command to its end; `say` gets every line of both its outputs, without secrets, as
/// soon as it is there.
///
/// Dropping the future kills the program and every process that it started.
///
/// # Errors
/// [`ProgramError`], as of [`run`]; its last words are those of both outputs.
pub async fn follow(
    mut command: Command,
    deadline: Duration,
    redactor: &Redactor,
    say: impl Fn(&str),
) -> Result<(), ProgramError> {
    let program = name(&command);
    let not_started = |source| ProgramError::NotStarted {
        program: program.clone(),
        source,
    };
    let (writer, reader) = tokio::net::unix::pipe::pipe().map_err(not_started)?;
    let writer = writer.into_blocking_fd().map_err(not_started)?;
    command
        .stdout(writer.try_clone().map_err(not_started)?)
        .stderr(writer);
    let read =
        async |_: &mut Child, tail: &mut Tail| read_lines(reader, tail, redactor, &say).await;
    supervise(command, &program, deadline, None, read).await
}

/// Starts a program, reads what it says, and waits for its end.
async fn supervise(
    mut command: Command,
    program: &str,
    deadline: Duration,
    memory: Option<u64>,
    read: impl AsyncFnOnce(&mut Child, &mut Tail) -> std::io::Result<()>,
) -> Result<(), ProgramError> {
    let mut child = command
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| ProgramError::NotStarted {
            program: program.to_owned(),
            source,
        })?;
    // The ends of its pipes that this process holds would keep them open.
    drop(command);
    let mut group = ProcessGroup::of(&child);
    if let (Some(memory), Some(leader)) = (memory, group.leader()) {
        let ceiling = Rlimit {
            current: Some(memory),
            maximum: Some(memory),
        };
        // It fails for a program that has ended already, which needs no ceiling.
        let _ = prlimit(Some(leader), Resource::As, ceiling);
    }
    let mut tail = Tail::default();
    let ended = tokio::time::timeout(deadline, async {
        read(&mut child, &mut tail).await?;
        child.wait().await
    })
    .await;
    let Ok(ended) = ended else {
        drop(group);
        return Err(ProgramError::TimedOut {
            program: program.to_owned(),
            after: deadline,
            tail: tail.text(),
        });
    };
    let status = ended.map_err(|source| ProgramError::Unreadable {
        program: program.to_owned(),
        source,
    })?;
    group.disarm();
    if status.success() {
        Ok(())
    } else {
        Err(ProgramError::Failed {
            program: program.to_owned(),
            status,
            tail: tail.text(),
        })
    }
}

fn name(command: &Command) -> String {
    let program = command.as_std().get_program();
    program.to_string_lossy().into_owned()
}

async fn read_lines(
    output: impl AsyncRead + Unpin,
    tail: &mut Tail,
    redactor: &Redactor,
    say: impl Fn(&str),
) -> std::io::Result<()> {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).await? > 0 {
        let text = redactor.redact(String::from_utf8_lossy(&line).trim_end());
        say(&text);
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
    async fn what_a_program_says_is_told_while_it_runs_and_without_secrets() {
        let said = std::sync::Mutex::new(Vec::new());
        let mut redactor = Redactor::default();
        redactor.add("hunter22");
        let script = "echo one hunter22; echo two >&2; exit 4";
        let followed = follow(shell(script), LONG, &redactor, |line| {
            said.lock().unwrap().push(line.to_owned());
        })
        .await;
        let error = followed.unwrap_err();
        assert_eq!(error.tail(), "one [redacted]\ntwo");
        assert_eq!(*said.lock().unwrap(), ["one [redacted]", "two"]);
    }

    #[test]
    fn a_program_is_found_in_path_and_by_its_path() {
        assert!(find(Path::new("sh")).is_some());
        assert!(find(Path::new("/bin/sh")).is_some());
        assert_eq!(find(Path::new("/etc/passwd")), None);
        assert_eq!(find(Path::new("no-such-program")), None);
    }

    #[tokio::test]
    async fn what_a_program_starts_is_under_its_ceiling_too() {
        let ceiling = Some(1 << 30);
        // The program itself may run for a moment before it has its ceiling.
        let asked = shell("while [ \"$(ulimit -v)\" = unlimited ]; do :; done; sh -c 'ulimit -v'");
        let answer = run_within(asked, LONG, ceiling, &Redactor::default()).await;
        assert_eq!(answer.unwrap(), b"1048576\n");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let missing = command("/nonexistent/git", Path::new("/"));
        let error = run(missing, LONG, &Redactor::default()).await.unwrap_err();
        assert!(error.to_string().contains("/nonexistent/git"), "{error}");
    }
}
