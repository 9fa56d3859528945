//! Control groups: systemd wants a hierarchy of its own to keep its units apart.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command::wait_for;
use crate::state::{StateError, file_error, namespace};

/// How long the processes of a group that were killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes the group of a host.
///
/// # Errors
/// When this machine has no cgroup2, or it cannot be written.
pub(crate) fn create(id: &str, host: &str) -> Result<PathBuf, StateError> {
    let hierarchy = hierarchy().ok_or(StateError::NoControlGroups)?;
    let group = hierarchy.join(namespace(id, Some(host)));
    fs::create_dir_all(&group).map_err(file_error("create", &group))?;
    Ok(group)
}

/// Removes a group, with those below it, as soon as its processes are gone.
///
/// # Errors
/// When it cannot be removed.
pub(crate) fn remove(group: &Path) -> Result<(), StateError> {
    let mut last = Ok(());
    let removed = wait_for(PATIENCE, || {
        last = remove_now(group);
        last.is_ok().then_some(())
    });
    match (removed, last) {
        (None, Err(error)) => Err(file_error("remove", group)(error)),
        _ => Ok(()),
    }
}

/// The groups of all hosts of a sandbox.
pub(crate) fn of_sandbox(id: &str) -> Vec<PathBuf> {
    let of_hosts = namespace(id, Some(""));
    let entries = hierarchy().and_then(|hierarchy| fs::read_dir(hierarchy).ok());
    entries
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&of_hosts))
        .map(|entry| entry.path())
        .collect()
}

/// Where cgroup2 is mounted.
fn hierarchy() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|mount| {
        let mut fields = mount.split(' ').skip(1);
        let path = fields.next()?;
        (fields.next()? == "cgroup2").then(|| PathBuf::from(path))
    })
}

/// Removes a group and those below it. The files in them go with them, and cannot be removed.
fn remove_now(group: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_now(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}
