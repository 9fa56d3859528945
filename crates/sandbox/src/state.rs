//! What sandboxes there are, who owns them, and how one is removed.
//!
//! Everything that a sandbox makes can be found by its id, without a list that could be out of
//! date: a directory and an owner's file under [`directory`], network namespaces, control groups
//! and an interface named after it, and processes that carry the id in their environment. A sandbox
//! whose owner is gone is a leftover.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command::{self, CommandError, MARK, run, wait_for};
use crate::control_group;

/// Why the files of a sandbox cannot be handled.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file or directory cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was to be done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program that makes or removes a part of the sandbox failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A process of the sandbox does not end.
    #[error("processes {0:?} of the sandbox do not end, though they were killed")]
    Unkillable(Vec<u32>),
    /// There is nothing to make control groups in.
    #[error("cgroup2 is not mounted on this machine, and a host with systemd needs it")]
    NoControlGroups,
}

/// A process, so that its pid cannot be mistaken for that of another that came later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Process {
    pid: u32,
    /// Clock ticks between the start of the machine and that of the process.
    started: u64,
}

impl Process {
    fn current() -> Option<Self> {
        Self::with_pid(std::process::id())
    }

    fn with_pid(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        start_time(&stat).map(|started| Self { pid, started })
    }

    fn is_alive(self) -> bool {
        Self::with_pid(self.pid) == Some(self)
    }
}

/// Field 22 of `/proc/<pid>/stat`. The name of the program, in parentheses, may itself contain
/// spaces and parentheses. `None` for a process that has ended.
fn start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    (fields.next()? != "Z").then_some(())?;
    fields.nth(18)?.parse().ok()
}

/// Where sandboxes keep their files: in memory on most systems, and never of another user.
pub fn directory() -> PathBuf {
    PathBuf::from("/run/nico-sandbox")
}

/// The directory of one sandbox: a file system in memory, so that it is gone as a whole.
pub fn directory_of(id: &str) -> PathBuf {
    directory().join(id)
}

/// Held while something is chosen that two sandboxes could choose at once.
pub(crate) struct Lock {
    _file: fs::File,
}

/// Waits for the lock that all sandboxes of the machine share.
pub(crate) fn lock() -> Result<Lock, StateError> {
    let path = directory().join("lock");
    let open = || {
        fs::create_dir_all(directory())?;
        let file = fs::File::create(&path)?;
        file.lock()?;
        Ok(file)
    };
    open()
        .map(|file| Lock { _file: file })
        .map_err(file_error("lock", &path))
}

/// Registers a sandbox as owned by this process and makes its directory.
pub(crate) fn create(id: &str) -> Result<PathBuf, StateError> {
    // Without the lock, another sandbox could see the file before the owner is in it.
    let _lock = lock()?;
    let directory = directory_of(id);
    fs::create_dir_all(&directory).map_err(file_error("create", &directory))?;
    let owner = serde_json::to_vec(&Process::current()).map_err(io::Error::from);
    let path = owner_file(id);
    owner
        .and_then(|bytes| fs::write(&path, bytes))
        .map_err(file_error("write", &path))?;
    let mount_point = directory.to_string_lossy();
    run(
        "mount",
        &[
            "-t",
            "tmpfs",
            "-o",
            "mode=0700,nosuid",
            "nico-sandbox",
            &mount_point,
        ],
    )?;
    Ok(directory)
}

/// The ids of the sandboxes whose owner is gone.
pub(crate) fn leftovers() -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory()) else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some(name.strip_suffix(".json")?.to_owned())
        })
        .filter(|id| owner(id).is_none_or(|owner| !owner.is_alive()))
        .collect()
}

/// Removes all that there is of a sandbox. Whatever is already gone is no error, so it can be
/// called for a sandbox that was made in part, and again after a failure.
pub(crate) fn remove(id: &str) -> Result<(), StateError> {
    kill_processes(id)?;
    for group in control_group::of_sandbox(id) {
        control_group::remove(&group)?;
    }
    for namespace in namespaces(id) {
        run("ip", &["netns", "delete", &namespace])?;
    }
    let interface = interface(id);
    if Path::new("/sys/class/net").join(&interface).exists() {
        // The kernel removes it with its peer in the namespace, a little later: it may be gone
        // between the question and the command.
        let removed = run("ip", &["link", "delete", &interface]);
        if Path::new("/sys/class/net").join(&interface).exists() {
            removed?;
        }
    }
    let directory = directory_of(id);
    while is_mount_point(&directory) {
        run("umount", &["--lazy", &directory.to_string_lossy()])?;
    }
    if directory.exists() {
        fs::remove_dir_all(&directory).map_err(file_error("remove", &directory))?;
    }
    let owner = owner_file(id);
    if owner.exists() {
        fs::remove_file(&owner).map_err(file_error("remove", &owner))?;
    }
    Ok(())
}

/// Name of the network namespace of a sandbox, or of one of its hosts.
pub(crate) fn namespace(id: &str, host: Option<&str>) -> String {
    match host {
        None => format!("nico-{id}"),
        Some(host) => format!("nico-{id}-{host}"),
    }
}

/// Name of the interface of this machine that leads to the hosts.
pub(crate) fn interface(id: &str) -> String {
    format!("nico-{id}")
}

/// The pids of all processes that the sandbox started, outside of its hosts' pid namespaces.
pub fn processes(id: &str) -> Vec<u32> {
    let mark = format!("{MARK}={id}");
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                environment
                    .split(|byte| *byte == 0)
                    .any(|variable| variable == mark.as_bytes())
            })
        })
        .collect()
}

/// The children of a process, and theirs, and so on.
pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let mut found = children(pid);
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children(*pid));
        next += 1;
    }
    found
}

/// The children of a process; none when it is gone.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    listed
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .collect()
}

fn kill_processes(id: &str) -> Result<(), StateError> {
    let mut left = Vec::new();
    let gone = wait_for(Duration::from_secs(10), || {
        left = processes(id);
        left.is_empty().then_some(()).or_else(|| {
            kill("KILL", &left);
            None
        })
    });
    gone.ok_or(StateError::Unkillable(left))
}

/// Sends a signal to processes; those that are already gone are no matter.
pub(crate) fn kill(signal: &str, pids: &[u32]) {
    for pid in pids {
        // That of the shell, for the program is not in every Debian.
        let sent = command::run("sh", &["-c", &format!("kill -s {signal} {pid}")]);
        if let Err(error) = sent {
            tracing::debug!(pid, signal, %error, "the process was gone already");
        }
    }
}

fn namespaces(id: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir("/run/netns") else {
        return Vec::new();
    };
    let own = namespace(id, None);
    let of_hosts = format!("{own}-");
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| *name == own || name.starts_with(&of_hosts))
        .collect()
}

fn is_mount_point(path: &Path) -> bool {
    let path = path.to_string_lossy();
    fs::read_to_string("/proc/self/mountinfo").is_ok_and(|mounts| {
        mounts
            .lines()
            .any(|line| line.split(' ').nth(4) == Some(&path))
    })
}

fn owner_file(id: &str) -> PathBuf {
    directory().join(format!("{id}.json"))
}

fn owner(id: &str) -> Option<Process> {
    let bytes = fs::read(owner_file(id)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

pub(crate) fn file_error(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::File {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_a_program_name_with_parentheses() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 0 0";
        assert_eq!(start_time(stat), Some(98765));
    }

    #[test]
    fn a_process_that_ended_but_was_not_reaped_has_no_start_time() {
        let stat = "42 (sh) Z 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 0 0";
        assert_eq!(start_time(stat), None);
    }

    #[test]
    fn this_process_is_alive_and_one_with_another_start_time_is_not() {
        let current = Process::current().unwrap();
        assert!(current.is_alive());
        let other = Process {
            started: current.started + 1,
            ..current
        };
        assert!(!other.is_alive());
    }
}
