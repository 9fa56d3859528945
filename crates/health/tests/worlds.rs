//! Each world has the issues that it is to show, whichever part of it is asked about.

mod fixture;

use std::collections::BTreeSet;

use fixture::{cases, line, lines, only_what_is_needed};
use nico_health::detect;
use nico_health::issue::{Layer, Severity};
use nico_health::report::Status;

#[test]
fn each_world_has_the_issues_that_are_expected_and_no_others() {
    let mut wrong = vec![];
    for case in cases() {
        let found = lines(&case.judge(&case.world(), &[]));
        if found != case.expected.issues {
            let (found, expected) = (found.join("\n    "), case.expected.issues.join("\n    "));
            wrong.push(format!(
                "{}:\n  found\n    {found}\n  expected\n    {expected}",
                case.name
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn each_detector_has_a_world() {
    let shown: BTreeSet<&str> = cases()
        .iter()
        .flat_map(|case| case.judge(&case.world(), &[]).issues)
        .map(|issue| issue.id)
        .collect();
    let missing: Vec<&str> = detect::all()
        .into_iter()
        .map(|detector| detector.id)
        .filter(|id| !shown.contains(*id))
        .collect();
    assert!(missing.is_empty(), "no world shows {missing:?}");
}

#[test]
fn worlds_that_are_healthy_say_so_and_others_do_not() {
    for case in cases() {
        let report = case.judge(&case.world(), &[]);
        let is_healthy = report.status == Status::Healthy;
        assert_eq!(is_healthy, case.is_healthy(), "{}", case.name);
        let worst = report.issues.iter().map(|issue| issue.severity).max();
        let expected = worst.map_or(0, |severity| severity as u8 + 1);
        let found = report.exit_code(Severity::Warning);
        assert_eq!(found, expected, "{}", case.name);
    }
}

/// What is read for a layer is enough: its issues and their reasons are those that are found when
/// everything is read.
#[test]
fn a_layer_alone_has_the_same_issues_for_the_same_reasons() {
    for case in cases() {
        let all = case.judge(&case.world(), &[]);
        for layer in Layer::ALL {
            let read = only_what_is_needed(&case.objects, layer);
            let found = case.judge(&case.world_of(read), &[layer]);
            let of_layer = |report: &nico_health::report::Report| -> BTreeSet<String> {
                let own = report.issues.iter().filter(|issue| issue.layer == layer);
                own.map(line).collect()
            };
            let (found_lines, expected) = (of_layer(&found), of_layer(&all));
            assert_eq!(found_lines, expected, "{} of {}", layer.name(), case.name);
            for issue in &found.issues {
                let is_named = |cause: &nico_health::report::Cause| {
                    found.issues.iter().any(|one| one.object == cause.object)
                };
                let message = format!("{}: {}", case.name, line(issue));
                assert!(issue.cause.as_ref().is_none_or(is_named), "{message}");
            }
        }
    }
}

/// The documentation's list of the failures that this was made for is complete and true.
#[test]
fn each_failure_of_the_list_is_found_in_its_worlds_or_has_a_reason() {
    const FAILURES: usize = 38;
    let page = include_str!("../../../docs/health.md");
    let (_, list) = page
        .split_once("## The failures that it was made for")
        .expect("the list is there");
    let rows = list.lines().filter(|line| line.starts_with("| "));
    let rows: Vec<Vec<&str>> = rows
        .map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
        .filter(|row: &Vec<&str>| row[0].parse::<usize>().is_ok())
        .collect();
    let numbers: Vec<usize> = rows.iter().flat_map(|row| row[0].parse()).collect();
    assert_eq!(numbers, (1..=FAILURES).collect::<Vec<_>>());
    let cases = cases();
    for row in rows {
        let [number, _, detectors, worlds] = row[..] else {
            panic!("four columns: {row:?}");
        };
        if detectors == "not visible" {
            assert!(worlds.len() > 10, "{number} has no reason");
            continue;
        }
        let names = |cell: &str| -> BTreeSet<String> {
            let names = cell.split(", ").map(|name| name.trim_matches('`'));
            names.map(str::to_owned).collect()
        };
        let mut shown = BTreeSet::new();
        for world in names(worlds) {
            let case = cases.iter().find(|case| case.name == world);
            let case = case.unwrap_or_else(|| panic!("{number}: there is no world {world}"));
            let report = case.judge(&case.world(), &[]);
            let found: BTreeSet<String> =
                report.issues.iter().map(|one| one.id.to_owned()).collect();
            assert!(!found.is_disjoint(&names(detectors)), "{number}: {world}");
            shown.extend(found);
        }
        let missing: Vec<String> = names(detectors).difference(&shown).cloned().collect();
        assert!(missing.is_empty(), "{number}: no world shows {missing:?}");
    }
}
