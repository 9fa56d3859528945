//! Each world is a file in `worlds`: what is expected, then the objects as the API gives them.
//!
//! An issue is written as `severity detector object`, with `because object` when another issue
//! explains it. All issues of a world are expected, in the order in which they are reported.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use nico_health::detect;
use nico_health::diagnose::diagnose;
use nico_health::report::{Report, Status};
use nico_health::thresholds::Thresholds;
use nico_health::world::World;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// What the world shows, for who reads it.
    #[serde(rename = "about")]
    _about: String,
    now: jiff::Timestamp,
    issues: Vec<String>,
    /// What the API server says of itself.
    #[serde(default)]
    checks: Vec<String>,
    /// The section `health` of `.nico.yaml`.
    #[serde(default)]
    health: Thresholds,
}

struct Case {
    name: String,
    expected: Expected,
    report: Report,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/worlds");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    paths.sort();
    paths.into_iter().map(|path| case(&path)).collect()
}

fn case(path: &Path) -> Case {
    let name = path
        .file_stem()
        .expect("it has a name")
        .to_string_lossy()
        .into_owned();
    let text = fs::read_to_string(path).expect("it can be read");
    let mut documents = text.split("\n---\n");
    let expected = documents.next().expect("there is a first document");
    let expected: Expected =
        serde_saphyr::from_str(expected).unwrap_or_else(|error| panic!("{name}: {error}"));
    let objects: Vec<Value> = documents
        .map(|text| serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}")))
        .collect();
    let world = World {
        checks: Some(Ok(expected.checks.clone())),
        ..World::default()
    };
    let (world, others) = world.with_objects(objects);
    assert!(others.is_empty(), "{name}: no detector looks at {others:?}");
    let report = diagnose(&world, &[], &expected.health, expected.now);
    Case {
        name,
        expected,
        report,
    }
}

fn lines(report: &Report) -> Vec<String> {
    let lines = report.issues.iter().map(|issue| {
        let because = issue.cause.as_ref();
        let because = because.map_or(String::new(), |cause| format!(" because {}", cause.object));
        format!(
            "{} {} {}{because}",
            issue.severity.word(),
            issue.id,
            issue.object
        )
    });
    lines.collect()
}

#[test]
fn each_world_has_the_issues_that_are_expected_and_no_others() {
    let mut wrong = vec![];
    for case in cases() {
        let found = lines(&case.report);
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
    let shown: BTreeSet<String> = cases()
        .iter()
        .flat_map(|case| &case.report.issues)
        .map(|issue| issue.id.to_owned())
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
        let is_healthy = case.report.status == Status::Healthy;
        assert_eq!(
            is_healthy,
            case.name.starts_with("healthy-"),
            "{}",
            case.name
        );
        let worst = case.report.issues.iter().map(|issue| issue.severity).max();
        let expected = worst.map_or(0, |severity| severity as u8 + 1);
        assert_eq!(
            case.report.exit_code(nico_health::issue::Severity::Warning),
            expected,
            "{}",
            case.name
        );
    }
}
