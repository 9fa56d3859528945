//! Each rule has a repository that breaks it and one that does not, in `rules/RULE`.
//!
//! `expected` has the findings of the rule in `wrong`: `file:line:column`, and the object if there is
//! one. In `right`, no rule finds anything. Either may have a configuration.

use std::fs;
use std::path::{Path, PathBuf};

use nico_gitops::graph::Graph;
use nico_gitops::{Config, config, load, rules};

/// The folders of a rule: `RULE`, and `RULE-…` for more of it.
fn folders(rule: &str) -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules");
    let mut folders = vec![all.join(rule)];
    for entry in fs::read_dir(&all).expect("the folder is there") {
        let path = entry.expect("a folder").path();
        let name = path.file_name().and_then(|name| name.to_str());
        let more = name.and_then(|name| name.strip_prefix(rule));
        if more.is_some_and(|more| more.starts_with('-')) {
            folders.push(path);
        }
    }
    folders
}

/// `RULE file:line:column object`, for each finding.
fn findings(root: &Path) -> Vec<String> {
    let repository = load::disk::load(root).expect("the folder is there");
    let config = fs::read_to_string(root.join(config::FILE)).unwrap_or_default();
    let config = Config::parse(&config).expect("a configuration");
    let clusters = Graph::clusters(&repository);
    let findings = rules::check_for(&rules::all(), &repository, &clusters, &config.settings);
    let mut lines: Vec<_> = findings
        .into_iter()
        .map(|finding| {
            let path = &repository.sources.get(finding.location.file).path;
            let position = repository.sources.position(finding.location);
            let object = finding.object.map(|object| format!(" {object}"));
            let (line, column) = (position.line, position.column);
            let object = object.unwrap_or_default();
            format!("{} {path}:{line}:{column}{object}", finding.rule.id)
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn each_rule_finds_what_breaks_it() {
    for rule in rules::all() {
        for folder in folders(rule.id) {
            let name = folder.display();
            let expected = fs::read_to_string(folder.join("expected"));
            let expected = expected.unwrap_or_else(|error| panic!("{name}: {error}"));
            let expected: Vec<_> = expected
                .lines()
                .map(|line| format!("{} {line}", rule.id))
                .collect();
            assert!(!expected.is_empty(), "{name} expects nothing");
            let mut found = findings(&folder.join("wrong"));
            found.retain(|line| line.starts_with(rule.id));
            assert_eq!(found, expected, "{name}");
        }
    }
}

#[test]
fn what_breaks_no_rule_has_no_findings() {
    for rule in rules::all() {
        for folder in folders(rule.id) {
            let right = folder.join("right");
            let name = right.display();
            assert!(fs::read_dir(&right).is_ok(), "there is no {name}");
            assert_eq!(findings(&right), [""; 0], "{name}");
        }
    }
}
