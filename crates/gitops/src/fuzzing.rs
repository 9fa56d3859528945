//! Where text from outside meets this crate, for fuzzers: whatever comes in, each function returns. None
//! is of use for anything else.

use crate::Repository;
use crate::build;
use crate::finding::Severity;
use crate::graph::Graph;
use crate::load::RawFile;
use crate::report::{self, Report};
use crate::rules;
use crate::settings::Settings;

/// The line that begins a file in the input of [`build`], before its path.
const SEPARATOR: &str = "=== ";

/// One file of any bytes, checked and reported in every format.
pub fn load(bytes: &[u8]) {
    check(&Repository::from_files([RawFile {
        path: "a.yaml".to_owned(),
        content: Ok(bytes.to_vec()),
    }]));
}

/// A repository of several files: each begins with a line `=== PATH`. Every kustomization is built and
/// printed, and the whole is checked.
pub fn build(text: &str) {
    let mut files: Vec<(&str, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        match (line.strip_prefix(SEPARATOR), files.last_mut()) {
            (Some(path), _) => files.push((path.trim_end(), String::new())),
            (None, Some((_, text))) => text.push_str(line),
            (None, None) => {}
        }
    }
    files.sort_by_key(|(path, _)| *path);
    files.dedup_by_key(|(path, _)| *path);
    let files = files.into_iter().map(|(path, text)| RawFile {
        path: path.to_owned(),
        content: Ok(text.into_bytes()),
    });
    let repository = Repository::from_files(files);
    for folder in build::folders(&repository) {
        let built = build::build(&repository, &folder);
        let printed = build::yaml(&built.unwrap_or_default().objects);
        let read = Repository::from_files([RawFile {
            path: "printed.yaml".to_owned(),
            content: Ok(printed.into_bytes()),
        }]);
        assert!(read.findings.is_empty(), "printed: {:?}", read.findings);
    }
    check(&repository);
}

fn check(repository: &Repository) {
    let clusters = Graph::clusters(repository);
    let report = Report::new(repository, rules::check(repository, &clusters))
        .with_clusters(&clusters)
        .with_schemas(&clusters, &Settings::default());
    report::text(&report, true);
    report::json(&report);
    report::sarif(&report, "0");
    report::junit(&report, Severity::Info);
    report::github(&report);
    report::graph_text(&clusters);
    report::graph_dot(&clusters);
    report::graph_json(&clusters);
}
