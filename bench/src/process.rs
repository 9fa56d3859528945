//! Processes seen from outside, through `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::Context;

/// Ticks a second in `/proc/PID/stat`, the same on every Linux (`USER_HZ`).
const TICKS: u64 = 100;

/// The resident memory of a process, in bytes.
///
/// # Errors
/// If the process does not exist.
pub fn resident_memory(pid: u32) -> anyhow::Result<u64> {
    memory(pid, "VmRSS")
}

/// The most resident memory that a process had so far, in bytes.
///
/// # Errors
/// If the process does not exist.
pub fn highest_memory(pid: u32) -> anyhow::Result<u64> {
    memory(pid, "VmHWM")
}

fn memory(pid: u32, field: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes: u64 = line
        .and_then(|line| line.strip_prefix(':')?.trim().strip_suffix(" kB"))
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("{path} has no {field}"))?;
    Ok(kibibytes * 1024)
}

/// The processor time that a process has used so far, to a hundredth of a second.
///
/// # Errors
/// If the process does not exist.
pub fn processor_time(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The second field is the name, which may contain anything; the times are the 14th and 15th.
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    let times = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = times.filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 1000 / TICKS))
}

/// The processor time that this process has used so far.
///
/// # Errors
/// If `/proc` is not there.
pub fn own_processor_time() -> anyhow::Result<Duration> {
    processor_time(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory() {
        assert!(resident_memory(std::process::id()).unwrap() > 100_000);
        assert!(highest_memory(std::process::id()).unwrap() > 100_000);
        processor_time(std::process::id()).unwrap();
    }

    #[test]
    fn a_process_that_does_not_exist_is_an_error() {
        assert!(resident_memory(u32::MAX).is_err());
        assert!(processor_time(u32::MAX).is_err());
    }
}
