//! From what was read to what is wrong and why. Pure.

mod causes;
mod gaps;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::detect::{self, Scene};
use crate::index::Index;
use crate::issue::{Issue, Layer, ObjectRef, Severity};
use crate::ongoing;
use crate::report::{Cause, Gap, LayerReport, Report, ReportedIssue, Status, Summary};
use crate::thresholds::Thresholds;
use crate::world::{Outcome, World};

use causes::Causes;

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
    let causes = Causes::of(&issues);
    let asked: Vec<Layer> = Layer::ALL
        .into_iter()
        .filter(|layer| layers.is_empty() || layers.contains(layer))
        .collect();
    let is_near = |object: &ObjectRef| {
        let home = object.namespace.as_str();
        home.is_empty() || world.namespace.as_deref().is_none_or(|one| one == home)
    };
    let asked_about = (0..issues.len()).filter(|place| {
        let issue = &issues[*place];
        is_near(&issue.object) && asked.contains(&issue.layer)
    });
    let shown = causes.with_reasons(asked_about);
    let gaps = gaps::of(world, &asked);
    let layers: Vec<LayerReport> = asked
        .iter()
        .copied()
        .map(|layer| {
            let own = shown.iter().map(|place| &issues[*place]);
            let own = own.filter(|issue| issue.layer == layer);
            let gaps = gaps.get(&layer).cloned().unwrap_or_default();
            layer_report(world, layer, own, gaps)
        })
        .collect();
    // What stands still although it is under way is an issue already.
    let told: BTreeSet<&ObjectRef> = issues.iter().map(|issue| &issue.object).collect();
    let ongoing = ongoing::of(world)
        .into_iter()
        .filter(|one| is_near(&one.object) && asked.contains(&one.layer))
        .filter(|one| !told.contains(&one.object))
        .collect();
    let families = ordered(&issues, &causes, &shown).into_iter();
    let issues: Vec<ReportedIssue> = families
        .flat_map(|family| reported(&family, &issues))
        .collect();
    let summary = summary(&layers);
    let status = status(&issues, &layers);
    Report {
        status,
        timestamp: now,
        summary,
        layers,
        issues,
        ongoing,
    }
}

fn one_for_each_object(issues: Vec<Issue>) -> Vec<Issue> {
    let mut seen = BTreeSet::new();
    let first = issues
        .into_iter()
        .filter(|issue| seen.insert(issue.object.clone()));
    first.collect()
}

/// Roots in the order of what to look at first, each followed by what it explains.
fn ordered(issues: &[Issue], causes: &Causes, shown: &BTreeSet<usize>) -> Vec<Vec<usize>> {
    let mut families: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for place in shown.iter().copied() {
        families.entry(causes.root(place)).or_default().push(place);
    }
    let mut families: Vec<(usize, Vec<usize>)> = families.into_iter().collect();
    families.sort_by_cached_key(|(root, family)| {
        let severity = family.iter().map(|place| issues[*place].severity).max();
        let layer = family.iter().map(|place| issues[*place].layer).min();
        let many = Reverse(family.len());
        (Reverse(severity), layer, many, issues[*root].object.clone())
    });
    for (root, family) in &mut families {
        family.sort_by_cached_key(|place| {
            let issue = &issues[*place];
            (place != root, issue.layer, issue.object.clone())
        });
    }
    families.into_iter().map(|(_, family)| family).collect()
}

/// A root and what it explains.
fn reported(family: &[usize], issues: &[Issue]) -> Vec<ReportedIssue> {
    let Some(root) = family.first().map(|place| &issues[*place]) else {
        return vec![];
    };
    let told = family.iter().enumerate().map(|(number, place)| {
        let issue = &issues[*place];
        let is_root = number == 0;
        ReportedIssue {
            id: issue.id,
            severity: issue.severity,
            layer: issue.layer,
            object: issue.object.clone(),
            message: issue.message.clone(),
            since: issue.since,
            cause: (!is_root).then(|| Cause {
                id: root.id,
                object: root.object.clone(),
            }),
            explains: if is_root { family.len() - 1 } else { 0 },
            fix: issue.fix.clone(),
        }
    });
    told.collect()
}

fn layer_report<'a>(
    world: &World,
    layer: Layer,
    issues: impl Iterator<Item = &'a Issue>,
    gaps: Vec<Gap>,
) -> LayerReport {
    let (warnings, critical): (Vec<&Issue>, Vec<&Issue>) =
        issues.partition(|issue| issue.severity == Severity::Warning);
    let (warnings, critical) = (warnings.len(), critical.len());
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

/// The layers together. What several layers look at and could not be read counts once.
fn summary(layers: &[LayerReport]) -> Summary {
    let gaps = layers.iter().flat_map(|layer| &layer.gaps);
    let unknown: BTreeSet<&str> = gaps
        .filter(|gap| !gap.is_absent)
        .map(|gap| gap.what.as_str())
        .collect();
    let mut sum = Summary {
        unknown: unknown.len(),
        ..Summary::default()
    };
    for layer in layers {
        sum.healthy += layer.summary.healthy;
        sum.warnings += layer.summary.warnings;
        sum.critical += layer.summary.critical;
    }
    sum.total = sum.healthy + sum.warnings + sum.critical + sum.unknown;
    sum
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
