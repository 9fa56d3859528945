//! For each rule, a correct repository is broken in the way that the rule is about, at random places,
//! again and again: the mistake is found where it is, every time. The unbroken one has no finding.
//!
//! `NICO_MUTATIONS` says how often for each rule; 5 times if it is not set, for each time builds a whole
//! repository.

mod table;
mod tree;

use std::collections::BTreeSet;
use std::env;

use nico_gitops::graph::Graph;
use nico_gitops::load::RawFile;
use nico_gitops::{Repository, rules};
use regex::Regex;

use table::{Mutation, mutations_of};
use tree::{Random, Tree};

/// How many mutations share a tree.
const A_TREE: usize = 25;

/// What is found: `RULE file:line`.
fn findings(tree: &Tree) -> BTreeSet<String> {
    let repository = Repository::from_files(tree.iter().map(|(path, text)| RawFile {
        path: path.clone(),
        content: Ok(text.bytes().map(as_written).collect()),
    }));
    let graph = Graph::new(&repository);
    let findings = rules::check(&repository, &graph).into_iter();
    findings
        .map(|finding| {
            let path = &repository.sources.get(finding.location.file).path;
            let line = repository.sources.position(finding.location).line;
            format!("{} {path}:{line}", finding.rule.id)
        })
        .collect()
}

/// A control character stands for a byte that is in no UTF-8.
fn as_written(byte: u8) -> u8 {
    if byte == 1 { 0xff } else { byte }
}

/// Breaks the tree at a random place. Returns the broken tree and the places at which that may be found;
/// none where the tree has nothing to break.
fn mutate(tree: &Tree, mutation: &Mutation, random: &mut Random) -> Option<(Tree, Vec<String>)> {
    let pattern = Regex::new(&format!("(?m){}", mutation.find)).expect("a pattern");
    let file = Regex::new(&format!("^{}$", mutation.file)).expect("a pattern");
    let mut sites = Vec::new();
    for (path, text) in tree.iter().filter(|(path, _)| file.is_match(path)) {
        sites.extend(pattern.find_iter(text).map(|site| (path, site.start())));
    }
    let (path, start) = *sites.get(random.below(sites.len().max(1)))?;
    let text = &tree[path];
    let found = pattern.captures_at(text, start)?;
    let mut new = String::new();
    found.expand(mutation.replace, &mut new);
    let new = new.replace("APP", app_of(path));
    let end = found.get(0)?.end();
    let changed = format!("{}{new}{}", &text[..start], &text[end..]);
    let mut broken = tree.clone();
    let mut places = Vec::new();
    if let Some(mark) = changed.find('¶') {
        let line = changed[..mark].matches('\n').count() + 1;
        places.push(format!("{} {path}:{line}", mutation.rule));
    }
    broken.insert(path.clone(), changed.replace('¶', ""));
    if let Some((file, line)) = mutation.elsewhere {
        let fill = |template: &str| {
            let mut filled = String::new();
            found.expand(template, &mut filled);
            filled.replace("APP", app_of(path))
        };
        let file = Regex::new(&format!("^{}$", fill(file))).expect("a pattern");
        let line = Regex::new(&fill(line)).expect("a pattern");
        for (path, text) in broken.iter().filter(|(path, _)| file.is_match(path)) {
            let lines = text
                .lines()
                .zip(1..)
                .filter(|(text, _)| line.is_match(text));
            places.extend(lines.map(|(_, number)| format!("{} {path}:{number}", mutation.rule)));
        }
    }
    Some((broken, places))
}

/// The app that a file belongs to.
fn app_of(path: &str) -> &str {
    path.split('/').nth(1).unwrap_or_default()
}

fn try_rules(prefixes: &[&str]) {
    let wanted = env::var("NICO_MUTATIONS").ok();
    let wanted = wanted.and_then(|text| text.parse().ok()).unwrap_or(5);
    for rule in rules::all() {
        if !prefixes.iter().any(|prefix| rule.id.starts_with(prefix)) {
            continue;
        }
        let mutations = mutations_of(rule.id);
        assert!(!mutations.is_empty(), "{} is never broken", rule.id);
        let mut random = Random::new(rule.id);
        let mut done = 0;
        while done < wanted {
            let charts = mutations[0].has_charts;
            let tree = tree::correct(&mut random, charts);
            assert_eq!(findings(&tree), BTreeSet::new(), "nothing is broken yet");
            for _ in 0..A_TREE.min(wanted - done) {
                let mutation = mutations[done % mutations.len()];
                let (broken, places) = mutate(&tree, mutation, &mut random).unwrap_or_else(|| {
                    panic!("{}: nothing to break by {:?}", rule.id, mutation.find)
                });
                let found = findings(&broken);
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
