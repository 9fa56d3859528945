//! From what was read to what is wrong and why. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use crate::collect;
use crate::detect::{self, Scene};
use crate::index::Index;
use crate::issue::{Issue, Layer, ObjectRef, Severity};
use crate::report::{Cause, Gap, LayerReport, Report, ReportedIssue, Status, Summary};
use crate::thresholds::Thresholds;
use crate::world::{Outcome, World};

/// Judges a world. Of the layers that are named, or of all when none is.
///
/// The first issue is the one to look at first: a critical one before a warning, the lower layer
/// before the higher, and what explains much before what explains little. What another issue
/// explains stands right behind that one and names it as its cause.
pub fn diagnose(
    world: &World,
    layers: &[Layer],
    thresholds: &Thresholds,
    now: Timestamp,
) -> Report {
    let scene = Scene {
        world,
        index: Index::new(world),
        thresholds,
        now,
    };
    let issues = one_for_each_object(detect::issues(&scene));
    let causes = causes(&issues);
    let wanted = |layer: Layer| layers.is_empty() || layers.contains(&layer);
    let shown = shown(&issues, &causes, world.namespace.as_deref());
    let gaps = gaps(world);
    let layers: Vec<LayerReport> = Layer::ALL
        .into_iter()
        .filter(|layer| wanted(*layer))
        .map(|layer| layer_report(world, layer, &issues, &gaps))
        .collect();
    let issues = ordered(&issues, &causes)
        .into_iter()
        .filter(|place| shown.contains(place))
        .filter(|place| wanted(issues[*place].layer) || wanted(issues[root(*place, &causes)].layer))
        .map(|place| reported(place, &issues, &causes))
        .collect::<Vec<_>>();
    let summary = layers
        .iter()
        .fold(Summary::default(), |sum, layer| sum + layer.summary);
    let status = status(&issues, &layers);
    Report {
        status,
        timestamp: now,
        summary,
        layers,
        issues,
    }
}

fn one_for_each_object(issues: Vec<Issue>) -> Vec<Issue> {
    let mut seen = BTreeSet::new();
    let first = issues
        .into_iter()
        .filter(|issue| seen.insert(issue.object.clone()));
    first.collect()
}

/// For each issue the one that explains it directly, as a place in the list.
fn causes(issues: &[Issue]) -> Vec<Option<usize>> {
    let places: HashMap<&ObjectRef, usize> = issues
        .iter()
        .enumerate()
        .map(|(place, issue)| (&issue.object, place))
        .collect();
    let mut causes: Vec<Option<usize>> = issues
        .iter()
        .enumerate()
        .map(|(place, issue)| {
            let mut suspects = issue
                .suspects
                .iter()
                .filter_map(|suspect| places.get(suspect));
            suspects.find(|suspect| **suspect != place).copied()
        })
        .collect();
    // Objects that wait for each other in a circle: the first of them is named.
    for start in 0..causes.len() {
        let mut path = vec![start];
        let mut at = start;
        while let Some(next) = causes[at] {
            if let Some(begin) = path.iter().position(|place| *place == next) {
                let first = path[begin..].iter().min().copied().unwrap_or(next);
                causes[first] = None;
                break;
            }
            path.push(next);
            at = next;
        }
    }
    causes
}

fn root(place: usize, causes: &[Option<usize>]) -> usize {
    let mut at = place;
    while let Some(next) = causes[at] {
        at = next;
    }
    at
}

/// The issues that are told when one namespace is asked about: those in it, those of the cluster as
/// a whole, and whatever explains one of them.
fn shown(issues: &[Issue], causes: &[Option<usize>], namespace: Option<&str>) -> BTreeSet<usize> {
    let Some(namespace) = namespace else {
        return (0..issues.len()).collect();
    };
    let mut shown = BTreeSet::new();
    for (place, issue) in issues.iter().enumerate() {
        let home = issue.object.namespace.as_str();
        if home.is_empty() || home == namespace {
            let mut at = Some(place);
            while let Some(place) = at {
                shown.insert(place);
                at = causes[place];
            }
        }
    }
    shown
}

/// Roots in the order of what to look at first, each followed by what it explains.
fn ordered(issues: &[Issue], causes: &[Option<usize>]) -> Vec<usize> {
    let mut families: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for place in 0..issues.len() {
        families.entry(root(place, causes)).or_default().push(place);
    }
    let rank = |root: usize, family: &[usize]| {
        let severity = family.iter().map(|place| issues[*place].severity).max();
        let layer = family.iter().map(|place| issues[*place].layer).min();
        let many = std::cmp::Reverse(family.len());
        (
            std::cmp::Reverse(severity),
            layer,
            many,
            issues[root].object.clone(),
        )
    };
    let mut families: Vec<(usize, Vec<usize>)> = families.into_iter().collect();
    families.sort_by_cached_key(|(root, family)| rank(*root, family));
    let in_order = families.into_iter().flat_map(|(root, family)| {
        let mut others: Vec<usize> = family.into_iter().filter(|place| *place != root).collect();
        others.sort_by_cached_key(|place| (issues[*place].layer, issues[*place].object.clone()));
        std::iter::once(root).chain(others)
    });
    in_order.collect()
}

fn reported(place: usize, issues: &[Issue], causes: &[Option<usize>]) -> ReportedIssue {
    let issue = &issues[place];
    let cause = causes[place].map(|_| {
        let root = &issues[root(place, causes)];
        Cause {
            id: root.id,
            object: root.object.clone(),
        }
    });
    let explains = (0..issues.len())
        .filter(|other| *other != place && root(*other, causes) == place)
        .count();
    ReportedIssue {
        id: issue.id,
        severity: issue.severity,
        layer: issue.layer,
        object: issue.object.clone(),
        message: issue.message.clone(),
        since: issue.since,
        cause,
        explains,
        fix: issue.fix.clone(),
    }
}

/// What could not be read.
fn gaps(world: &World) -> Vec<(Layer, Gap)> {
    let mut gaps = vec![];
    if let Some(Err(why)) = &world.checks {
        gaps.push((
            Layer::ApiServer,
            Gap {
                what: "the API server's own checks".to_owned(),
                why: why.clone(),
                is_absent: false,
            },
        ));
    }
    for (kind, outcome, _) in world.outcomes() {
        if let Some(why) = collect::reason(outcome) {
            // No cluster has every kind that there is; a built-in one that is missing is in doubt.
            let is_absent = *outcome == Outcome::Absent && !kind.is_built_in;
            let what = format!("{} objects", kind.name);
            gaps.push((
                kind.layer,
                Gap {
                    what,
                    why,
                    is_absent,
                },
            ));
        }
        if let Outcome::Known { malformed } = outcome {
            for what in malformed {
                let gap = Gap {
                    what: format!(
                        "{} {}",
                        kind.name,
                        what.split(": ").next().unwrap_or_default()
                    ),
                    why: "cannot be understood".to_owned(),
                    is_absent: false,
                };
                gaps.push((kind.layer, gap));
            }
        }
    }
    gaps
}

fn layer_report(
    world: &World,
    layer: Layer,
    issues: &[Issue],
    gaps: &[(Layer, Gap)],
) -> LayerReport {
    let gaps: Vec<Gap> = gaps
        .iter()
        .filter(|(of, _)| *of == layer)
        .map(|(_, gap)| gap.clone())
        .collect();
    let count = |severity| {
        let own = issues.iter().filter(|issue| issue.layer == layer);
        own.filter(|issue| issue.severity == severity).count()
    };
    let (warnings, critical) = (count(Severity::Warning), count(Severity::Critical));
    let objects: usize = world
        .outcomes()
        .filter(|(kind, _, _)| kind.layer == layer && kind.name != "Event")
        .map(|(_, _, count)| count)
        .sum();
    let unknown = gaps.iter().filter(|gap| !gap.is_absent).count();
    let healthy = objects.saturating_sub(warnings + critical);
    let was_read = world
        .outcomes()
        .any(|(kind, outcome, _)| kind.layer == layer && matches!(outcome, Outcome::Known { .. }));
    let status = match (critical, unknown, warnings) {
        (0, 0, 0) if was_read => Status::Healthy,
        (0, 0, 0) => Status::Absent,
        (0, 0, _) => Status::Warning,
        (0, _, _) => Status::Unknown,
        _ => Status::Critical,
    };
    LayerReport {
        layer,
        status,
        summary: Summary {
            total: healthy + warnings + critical + unknown,
            healthy,
            warnings,
            critical,
            unknown,
        },
        gaps,
    }
}

fn status(issues: &[ReportedIssue], layers: &[LayerReport]) -> Status {
    let worst = issues.iter().map(|issue| issue.severity).max();
    let is_unknown = layers.iter().any(|layer| layer.summary.unknown > 0);
    match worst {
        Some(Severity::Critical) => Status::Critical,
        _ if is_unknown => Status::Unknown,
        Some(Severity::Warning) => Status::Warning,
        None => Status::Healthy,
    }
}
