//! What holds for any cluster, tried on worlds that are put together at random.

mod fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use fixture::{Case, cases, line, lines};
use nico_health::issue::{Layer, Severity};
use nico_health::report::{Report, Status, prometheus, text};
use nico_health::world::{KINDS, Kind, Outcome, World};
use nico_terminal::tree::Line;
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use serde_json::Value;

static CASES: LazyLock<Vec<Case>> = LazyLock::new(cases);

/// Several worlds in one, their objects in any order. Of objects of one name the first is there.
fn merged() -> impl Strategy<Value = Vec<Value>> {
    let worlds = subsequence((0..CASES.len()).collect::<Vec<_>>(), 0..=5).prop_shuffle();
    let objects = worlds.prop_map(|worlds| {
        let all = worlds.iter().flat_map(|world| &CASES[*world].objects);
        without_doubles(all)
    });
    objects.prop_shuffle()
}

fn without_doubles<'a>(objects: impl Iterator<Item = &'a Value>) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    let name = |object: &Value| {
        let metadata = &object["metadata"];
        let group = object["apiVersion"].as_str().unwrap_or_default();
        let group = group.rsplit_once('/').map_or("", |(group, _)| group);
        format!(
            "{group} {} {} {}",
            object["kind"], metadata["namespace"], metadata["name"]
        )
    };
    objects
        .filter(|object| seen.insert(name(object)))
        .cloned()
        .collect()
}

/// The world of these objects, and its report.
fn seen(objects: &[Value]) -> (World, Report) {
    let case = &CASES[0];
    let (world, others) = empty().with_objects(objects.to_vec());
    assert!(others.is_empty(), "{others:?}");
    let report = case.judge(&world, &[]);
    (world, report)
}

/// Everything may be read, and nothing was yet.
fn empty() -> World {
    World {
        checks: Some(Ok(vec!["[+]ping ok".to_owned()])),
        ..World::default()
    }
}

/// Each issue is a root or attached to one, and roots count what is attached to them.
fn check_shape(report: &Report) -> Result<(), TestCaseError> {
    let mut objects = BTreeSet::new();
    let mut attached: BTreeMap<String, usize> = BTreeMap::new();
    for issue in &report.issues {
        prop_assert!(
            objects.insert(&issue.object),
            "{} is told twice",
            issue.object
        );
        let Some(cause) = &issue.cause else { continue };
        let named = |one: &&nico_health::report::ReportedIssue| {
            one.object == cause.object && one.id == cause.id
        };
        let root = report.issues.iter().find(named);
        let is_root = root.is_some_and(|root| root.cause.is_none());
        prop_assert!(is_root, "{} has no root", line(issue));
        prop_assert!(issue.explains == 0, "{} is no root", line(issue));
        *attached.entry(cause.object.to_string()).or_default() += 1;
    }
    for root in report.roots() {
        let count = attached.get(&root.object.to_string());
        prop_assert_eq!(root.explains, count.copied().unwrap_or(0), "{}", line(root));
    }
    // What is attached stands behind its root.
    let mut root = None;
    for issue in &report.issues {
        match &issue.cause {
            None => root = Some(&issue.object),
            Some(cause) => prop_assert_eq!(Some(&cause.object), root),
        }
    }
    Ok(())
}

fn check_status(report: &Report) -> Result<(), TestCaseError> {
    let worst = report.issues.iter().map(|issue| issue.severity).max();
    let expected = match (worst, report.summary.unknown) {
        (Some(Severity::Critical), _) => Status::Critical,
        (_, 1..) => Status::Unknown,
        (Some(Severity::Warning), 0) => Status::Warning,
        (None, 0) => Status::Healthy,
    };
    prop_assert_eq!(report.status, expected);
    Ok(())
}

/// A world without an issue, by its place, and its objects in any order.
fn healthy() -> impl Strategy<Value = (usize, Vec<Value>)> {
    let places: Vec<usize> = (0..CASES.len())
        .filter(|place| CASES[*place].is_healthy())
        .collect();
    let places = prop::sample::select(places);
    places.prop_flat_map(|place| {
        (
            Just(place),
            Just(CASES[place].objects.clone()).prop_shuffle(),
        )
    })
}

/// Kinds that the user may not read.
fn lost() -> impl Strategy<Value = Vec<&'static Kind>> {
    subsequence(KINDS.iter().collect::<Vec<_>>(), 1..KINDS.len())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_issue_is_a_root_or_attached_to_one(objects in merged(), width in 1..200_usize) {
        let (_, report) = seen(&objects);
        check_shape(&report)?;
        check_status(&report)?;
        let told: Vec<String> = text::of(&report, width).iter().map(Line::plain).collect();
        prop_assert!(!told.is_empty());
        let metrics = prometheus::of(&report);
        let roots = metrics.lines().filter(|line| line.starts_with("nico_health_issue{"));
        prop_assert_eq!(roots.count(), report.roots().count());
    }

    #[test]
    fn the_order_in_which_objects_are_read_changes_nothing(objects in merged(), seed: Index) {
        let (_, report) = seen(&objects);
        let mut turned = objects.clone();
        if !turned.is_empty() {
            turned.rotate_left(seed.index(objects.len()));
            turned.reverse();
        }
        let (_, again) = seen(&turned);
        prop_assert_eq!(lines(&report), lines(&again));
        prop_assert_eq!(report, again);
    }

    #[test]
    fn a_healthy_world_is_healthy_in_any_order((place, objects) in healthy()) {
        let case = &CASES[place];
        let report = case.judge(&case.world_of(objects), &[]);
        prop_assert_eq!(&report.issues, &vec![]);
        prop_assert_eq!(report.status, Status::Healthy);
    }

    #[test]
    fn what_may_not_be_read_never_makes_a_cluster_healthy(
        objects in merged(),
        lost in lost(),
        layer in prop::sample::select(Layer::ALL.to_vec()),
    ) {
        let (mut world, all) = seen(&objects);
        let is_lost = |kind: &Kind| lost.iter().any(|one| std::ptr::eq(*one, kind));
        world.forget(is_lost, &Outcome::Forbidden("rita may not".to_owned()));
        let report = CASES[0].judge(&world, &[]);
        check_shape(&report)?;
        check_status(&report)?;
        prop_assert!(matches!(report.exit_code(Severity::Critical), 2 | 3));
        for layer in &report.layers {
            let has_lost = lost.iter().any(|kind| kind.layer == layer.layer);
            prop_assert!(!has_lost || !matches!(layer.status, Status::Healthy | Status::Absent));
        }
        // A layer that has an issue when all is read is not healthy when less is.
        let alone = CASES[0].judge(&world, &[layer]);
        let has_issue = all.issues.iter().any(|issue| issue.layer == layer);
        let told = alone.issues.iter().any(|issue| issue.layer == layer);
        prop_assert!(
            !has_issue || told || alone.status == Status::Unknown || alone.status == Status::Critical,
            "{} has {:?}, and without {:?} nothing is told",
            layer.name(),
            lines(&all),
            lost.iter().map(|kind| kind.name).collect::<Vec<_>>(),
        );
    }

    #[test]
    fn a_layer_alone_has_its_issues_for_their_reasons(
        objects in merged(),
        layer in prop::sample::select(Layer::ALL.to_vec()),
    ) {
        let (_, all) = seen(&objects);
        let read = fixture::only_what_is_needed(&objects, layer);
        let (world, _) = empty().with_objects(read);
        let alone = CASES[0].judge(&world, &[layer]);
        check_shape(&alone)?;
        let own = |report: &Report| -> BTreeSet<String> {
            let own = report.issues.iter().filter(|issue| issue.layer == layer);
            own.map(line).collect()
        };
        prop_assert_eq!(own(&alone), own(&all));
    }
}
