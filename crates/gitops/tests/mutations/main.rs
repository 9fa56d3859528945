//! For each rule, a correct repository is broken in the way that the rule is about, at random places,
//! again and again: the mistake is found where it is, every time. The unbroken one has no finding.
//!
//! `NICO_MUTATIONS` says how often for each rule; 500 times if it is not set, which takes a core two minutes.

mod patterns;
mod table;
mod tree;

use std::collections::BTreeSet;
use std::env;

use nico_gitops::graph::Graph;
use nico_gitops::load::RawFile;
use nico_gitops::rules::Rule;
use nico_gitops::{Repository, Settings, rules};

use patterns::pattern;
use table::{Mutation, mutations_of};
use tree::{Random, Tree};

/// How many mutations share a tree.
const A_TREE: usize = 50;

fn raw(path: &str, text: &str) -> RawFile {
    RawFile {
        path: path.to_owned(),
        content: Ok(text.bytes().map(as_written).collect()),
    }
}

/// A control character stands for a byte that is in no UTF-8.
fn as_written(byte: u8) -> u8 {
    if byte == 1 { 0xff } else { byte }
}

/// What some rules find: `RULE file:line`.
fn findings(repository: &Repository, rules: &[&'static Rule]) -> BTreeSet<String> {
    let clusters = Graph::clusters(repository);
    let findings = rules::check_for(rules, repository, &clusters, &Settings::default());
    let place = |finding: nico_gitops::Finding| {
        let path = &repository.sources.get(finding.location.file).path;
        let line = repository.sources.position(finding.location).line;
        format!("{} {path}:{line}", finding.rule.id)
    };
    findings.into_iter().map(place).collect()
}

/// A file that was changed, and the places at which that may be found.
struct Broken<'tree> {
    path: &'tree str,
    text: String,
    places: Vec<String>,
}

/// Breaks the tree at a random place; none where the tree has nothing to break.
fn mutate<'tree>(
    tree: &'tree Tree,
    mutation: &Mutation,
    random: &mut Random,
) -> Option<Broken<'tree>> {
    let find = pattern(&format!("(?m){}", mutation.find));
    let file = pattern(&format!("^{}$", mutation.file));
    let mut sites = Vec::new();
    for (path, text) in tree.iter().filter(|(path, _)| file.is_match(path)) {
        sites.extend(find.find_iter(text).map(|site| (path, site.start())));
    }
    let (path, start) = *sites.get(random.below(sites.len().max(1)))?;
    let text = &tree[path];
    let found = find.captures_at(text, start)?;
    let fill = |template: &str| {
        let mut filled = String::new();
        found.expand(template, &mut filled);
        filled.replace("APP", app_of(path))
    };
    let end = found.get(0)?.end();
    let changed = format!(
        "{}{}{}",
        &text[..start],
        fill(mutation.replace),
        &text[end..]
    );
    let mut places = Vec::new();
    if let Some(mark) = changed.find('¶') {
        let line = changed[..mark].matches('\n').count() + 1;
        places.push(format!("{} {path}:{line}", mutation.rule));
    }
    let changed = changed.replace('¶', "");
    if let Some((file, line)) = mutation.elsewhere {
        let file = pattern(&format!("^{}$", fill(file)));
        let line = pattern(&fill(line));
        for (other, text) in tree.iter().filter(|(path, _)| file.is_match(path)) {
            let text = if other == path { &changed } else { text };
            let lines = text.lines().zip(1..);
            let lines = lines.filter(|(text, _)| line.is_match(text));
            places.extend(lines.map(|(_, number)| format!("{} {other}:{number}", mutation.rule)));
        }
    }
    Some(Broken {
        path,
        text: changed,
        places,
    })
}

/// The app that a file belongs to.
fn app_of(path: &str) -> &str {
    path.split('/').nth(1).unwrap_or_default()
}

fn try_rules(prefixes: &[&str]) {
    let wanted = env::var("NICO_MUTATIONS").ok();
    let wanted = wanted.and_then(|text| text.parse().ok()).unwrap_or(500);
    for rule in rules::all() {
        if prefixes.iter().any(|prefix| rule.id.starts_with(prefix)) {
            try_rule(rule, wanted);
        }
    }
}

fn try_rule(rule: &'static Rule, wanted: usize) {
    let mutations = mutations_of(rule.id);
    assert!(!mutations.is_empty(), "{} is never broken", rule.id);
    let mut random = Random::new(rule.id);
    let mut done = 0;
    while done < wanted {
        let tree = tree::correct(&mut random, mutations[0].has_charts);
        let repository = Repository::from_files(tree.iter().map(|(path, text)| raw(path, text)));
        let found = findings(&repository, &rules::all());
        assert_eq!(found, BTreeSet::new(), "nothing is broken yet");
        for _ in 0..A_TREE.min(wanted - done) {
            let mutation = mutations[done % mutations.len()];
            let broken = mutate(&tree, mutation, &mut random)
                .unwrap_or_else(|| panic!("{}: nothing to break by {:?}", rule.id, mutation.find));
            let repository = repository.with(raw(broken.path, &broken.text));
            let found = findings(&repository, &[rule]);
            let places = broken.places;
            assert!(
                places.iter().any(|place| found.contains(place)),
                "{} broken by {:?}: expected {places:?}, found {found:?}",
                rule.id,
                mutation.find,
            );
            done += 1;
        }
    }
}

#[test]
fn files_and_builds() {
    try_rules(&["BLD", "LOD", "FLX02"]);
}

#[test]
fn kustomizations() {
    try_rules(&["FLX00"]);
}

#[test]
fn more_of_kustomizations() {
    try_rules(&["FLX01"]);
}

#[test]
fn releases_and_sources() {
    try_rules(&["HR", "SRC"]);
}

#[test]
fn variables_and_secrets() {
    try_rules(&["SUB", "SEC"]);
}

#[test]
fn networks() {
    try_rules(&["NET"]);
}

#[test]
fn workloads() {
    try_rules(&["WKL"]);
}

#[test]
fn machines() {
    try_rules(&["TAL", "BOO", "NIC"]);
}

#[test]
fn no_rule_is_left_out() {
    let tried = [
        "BLD", "LOD", "FLX00", "FLX01", "FLX02", "HR", "SRC", "SUB", "SEC", "NET", "WKL", "TAL",
        "BOO", "NIC",
    ];
    for rule in rules::all() {
        assert!(
            tried.iter().any(|prefix| rule.id.starts_with(prefix)),
            "{}",
            rule.id
        );
    }
}
