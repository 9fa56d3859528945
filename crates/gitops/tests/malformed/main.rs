//! What is malformed or malicious is a finding, in bounded time and memory.

mod builds;
mod disk;
mod texts;

use std::collections::BTreeSet;
use std::fs;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nico_gitops::graph::Graph;
use nico_gitops::load::RawFile;
use nico_gitops::report::{self, Report};
use nico_gitops::{Repository, rules};

/// Far more than any case needs, on a busy machine and without optimization.
const DEADLINE: Duration = Duration::from_secs(120);

/// What the process may have had, whatever it has read.
const MAX_MEMORY: u64 = 2 << 30;

/// A repository with something wrong in it.
pub struct Case {
    /// What is wrong.
    pub name: &'static str,
    /// Its files.
    pub files: Vec<(String, Vec<u8>)>,
    /// What is found: `RULE file:line`, and how the message begins.
    pub expected: (&'static str, &'static str),
    /// Whether the line is not to be known: that of an end which is missing is anybody's guess.
    pub is_anywhere: bool,
}

impl Case {
    /// A repository with one file, `a.yaml`.
    pub fn file(
        name: &'static str,
        text: impl Into<Vec<u8>>,
        expected: (&'static str, &'static str),
    ) -> Self {
        Self {
            name,
            files: vec![("a.yaml".to_owned(), text.into())],
            expected,
            is_anywhere: false,
        }
    }

    /// The same, found at any line.
    #[must_use]
    pub fn anywhere(self) -> Self {
        Self {
            is_anywhere: true,
            ..self
        }
    }

    /// A repository with several files.
    pub fn files<P: Into<String>, T: Into<String>>(
        name: &'static str,
        files: impl IntoIterator<Item = (P, T)>,
        expected: (&'static str, &'static str),
    ) -> Self {
        let files = files.into_iter();
        Self {
            name,
            files: files
                .map(|(path, text)| (path.into(), text.into().into_bytes()))
                .collect(),
            expected,
            is_anywhere: false,
        }
    }

    /// The same, with another file.
    #[must_use]
    pub fn with_file(mut self, path: &str, text: String) -> Self {
        self.files.push((path.to_owned(), text.into_bytes()));
        self
    }

    /// The same, with a kustomization at the root.
    #[must_use]
    pub fn used_by(self, kustomization: &str) -> Self {
        self.with_file("kustomization.yaml", kustomization.to_owned())
    }

    fn is_found(&self, finding: &str) -> bool {
        let (place, message) = self.expected;
        let Some((rule_and_place, said)) = finding.match_indices(' ').nth(1).map(|(at, _)| {
            let (before, after) = finding.split_at(at);
            (before, &after[1..])
        }) else {
            return false;
        };
        let is_there = if self.is_anywhere {
            rule_and_place.starts_with(place)
        } else {
            rule_and_place == place
        };
        is_there && said.starts_with(message)
    }
}

/// `RULE file:line message`, for each finding of the whole check.
pub fn findings(repository: &Repository) -> BTreeSet<String> {
    let clusters = Graph::clusters(repository);
    let report = Report::new(repository, rules::check(repository, &clusters));
    // Reports show excerpts, and must be able to.
    assert!(!report::text(&report, false).is_empty());
    assert!(!report::sarif(&report, "0").is_empty());
    let line = |finding: &nico_gitops::Finding| {
        let path = &repository.sources.get(finding.location.file).path;
        let line = repository.sources.position(finding.location).line;
        format!("{} {path}:{line} {}", finding.rule.id, finding.message)
    };
    report.findings.iter().map(line).collect()
}

/// The findings, or none where they take too long. The thread has the stack of a main thread.
fn in_time(files: Vec<(String, Vec<u8>)>) -> Option<BTreeSet<String>> {
    let (sender, receiver) = mpsc::channel();
    let work = move || {
        let files = files.into_iter();
        let repository = Repository::from_files(files.map(|(path, bytes)| RawFile {
            path,
            content: Ok(bytes),
        }));
        let _ = sender.send(findings(&repository));
    };
    let thread = thread::Builder::new().stack_size(8 << 20).spawn(work);
    thread.expect("a thread");
    receiver.recv_timeout(DEADLINE).ok()
}

/// A message may have a name of megabytes in it.
fn start_of(finding: &str) -> &str {
    &finding[..finding.floor_char_boundary(200)]
}

fn try_all(cases: Vec<Case>) {
    let mut wrong = String::new();
    for case in cases {
        let Some(found) = in_time(case.files.clone()) else {
            wrong += &format!("\n{}: not within {DEADLINE:?}", case.name);
            continue;
        };
        if !found.iter().any(|finding| case.is_found(finding)) {
            let first = found.iter().take(5).map(|finding| start_of(finding));
            let first: Vec<_> = first.collect();
            let (name, expected) = (case.name, case.expected);
            wrong += &format!("\n{name}: expected {expected:?}, found {first:?}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(highest_memory() < MAX_MEMORY, "{}", highest_memory());
}

/// The most memory that this process ever had, in bytes. 0 where the system does not say it.
fn highest_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.map_or(0, |number| number.parse::<u64>().expect("a number") * 1024)
}

#[test]
fn malformed_text_is_a_finding() {
    try_all(texts::malformed());
}

#[test]
fn text_that_takes_too_much_is_a_finding() {
    try_all(texts::bombs());
}

#[test]
fn malformed_kustomizations_are_a_finding() {
    try_all(builds::malformed());
}

#[test]
fn kustomizations_that_take_too_much_are_a_finding() {
    try_all(builds::bombs());
}
