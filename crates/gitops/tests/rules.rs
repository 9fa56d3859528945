//! Each rule has a repository that breaks it and one that does not, in `rules/RULE`.
//!
//! `expected` has the findings of the rule in `wrong`: `file:line:column`, and the object if there is
//! one. In `right`, no rule finds anything.

use std::fs;
use std::path::{Path, PathBuf};

use nico_gitops::graph::Graph;
use nico_gitops::{load, rules};

fn folder(rule: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/rules")
        .join(rule)
}

/// `RULE file:line:column object`, for each finding.
fn findings(root: &Path) -> Vec<String> {
    let repository = load::disk::load(root).expect("the folder is there");
    let mut lines: Vec<_> = rules::check(&repository, &Graph::clusters(&repository))
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
        let expected = fs::read_to_string(folder(rule.id).join("expected"));
        let expected = expected.unwrap_or_else(|error| panic!("{}: {error}", rule.id));
        let expected: Vec<_> = expected
            .lines()
            .map(|line| format!("{} {line}", rule.id))
            .collect();
        assert!(!expected.is_empty(), "{} expects nothing", rule.id);
        let mut found = findings(&folder(rule.id).join("wrong"));
        found.retain(|line| line.starts_with(rule.id));
        assert_eq!(found, expected);
    }
}

#[test]
fn what_breaks_no_rule_has_no_findings() {
    for rule in rules::all() {
        let right = folder(rule.id).join("right");
        assert!(
            fs::read_dir(&right).is_ok(),
            "{} has no right example",
            rule.id
        );
        assert_eq!(findings(&right), [""; 0], "{}", rule.id);
    }
}
