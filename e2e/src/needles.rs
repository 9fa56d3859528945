//! Looking for what must not be found: in files, and in what processes show to others.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};

/// Something that must not be found, and how it is called in a failure.
#[derive(Clone, Debug)]
pub struct Needle {
    /// What it is.
    pub name: &'static str,
    /// What is looked for.
    pub bytes: Vec<u8>,
}

/// Where which needle was found.
pub type Finding = (&'static str, PathBuf);

impl Needle {
    /// A needle by its name.
    pub fn new(name: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self { name, bytes }
    }

    /// The line of a private key, in OpenSSH form, that is the secret half of it. The first
    /// lines are the same for all keys.
    ///
    /// # Errors
    /// When it has no such line.
    pub fn of_private_key(name: &'static str, pem: &str) -> Result<Self> {
        let lines = pem.lines().filter(|line| !line.starts_with("---"));
        let line = lines.rev().nth(1);
        let line = line.ok_or_else(|| anyhow!("the key has no second last line"))?;
        Ok(Self::new(name, line))
    }

    /// Whether it is in there.
    pub fn is_in(&self, content: &[u8]) -> bool {
        memchr::memmem::find(content, &self.bytes).is_some()
    }
}

/// Looks into every file below a directory. Symbolic links are not followed; what goes away
/// meanwhile is not there.
pub fn search_directory(directory: &Path, needles: &[Needle]) -> Vec<Finding> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else {
        return found;
    };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(search_directory(&entry.path(), needles)),
            Ok(kind) if kind.is_file() => found.extend(search_file(&entry.path(), needles)),
            _ => {}
        }
    }
    found
}

fn search_file(path: &Path, needles: &[Needle]) -> Vec<Finding> {
    let content = fs::read(path).unwrap_or_default();
    let found = needles.iter().filter(|needle| needle.is_in(&content));
    found.map(|needle| (needle.name, path.to_owned())).collect()
}

/// Looks into arguments and environment of every process of this machine, and of the hosts that
/// are made on it.
pub fn search_processes(needles: &[Needle]) -> Vec<Finding> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter(|entry| {
            let name = entry.file_name();
            name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
        })
        .flat_map(|entry| ["environ", "cmdline"].map(|file| entry.path().join(file)))
        .flat_map(|path| search_file(&path, needles))
        .collect()
}

/// Looks at processes all the time, in a thread, until it is asked what it found: some live for
/// a moment only.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(Vec<Finding>, usize)>,
}

impl Watch {
    /// Begins to look.
    pub fn start(needles: &[Needle]) -> Self {
        let (stop, needles) = (Arc::new(AtomicBool::new(false)), needles.to_owned());
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut found, mut rounds) = (Vec::new(), 0);
            while !asked.load(Ordering::Relaxed) {
                found.extend(search_processes(&needles));
                rounds += 1;
                // The machine is for what is tested, too.
                std::thread::sleep(Duration::from_millis(5));
            }
            (found, rounds)
        });
        Self { stop, thread }
    }

    /// Ends, and gives what was found, and how often it looked.
    ///
    /// # Errors
    /// When the thread panicked.
    pub fn stop(self) -> Result<(Vec<Finding>, usize)> {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.thread.join();
        joined.map_err(|_| anyhow!("the search of processes panicked"))
    }
}
