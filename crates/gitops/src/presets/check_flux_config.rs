//! The seven checks of the script `check-flux-config`: six that find files, and how often intervals occur.
//!
//! The script looked for words; here, the objects are looked at, so a comment is no setting. Where a file
//! without `resources` has one that is commented out, the script took it for one: that is still a finding,
//! but only for information, so that the number of warnings is the script's. As with the script, a file
//! counts once for each check, and the Kustomizations that a cluster is started with do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::build::Object;
use crate::finding::{Finding, Severity};
use crate::graph::{Graph, HELM_GROUP, KUSTOMIZE_GROUP};
use crate::load::Repository;
use crate::rules::Rule;
use crate::source::{FileId, Location};
use crate::yaml::{Node, Value};

/// The checks that find files.
pub const RULES: [&Rule; 6] = [&CFC001, &CFC002, &CFC003, &CFC004, &CFC005, &CFC006];

/// Retries without end.
static CFC001: Rule = Rule {
    id: "CFC001",
    title: "a HelmRelease does not retry for ever",
    severity: Severity::Warning,
    consequence: "a release that cannot work is never reported as failed",
    fix: "set a finite number of retries, such as 3",
    page: "Found where `retries` is -1 in the remediation of an install or an upgrade.\n",
};

/// No health checks.
static CFC002: Rule = Rule {
    id: "CFC002",
    title: "a Kustomization has `healthChecks`",
    severity: Severity::Warning,
    consequence: "Flux does not tell whether what matters in it works",
    fix: "add `healthChecks` for critical services",
    page: "Found where a Kustomization has no `healthChecks`.\n",
};

/// No decision about waiting.
static CFC003: Rule = Rule {
    id: "CFC003",
    title: "a Kustomization says whether it waits",
    severity: Severity::Warning,
    consequence: "what depends on it begins before it works",
    fix: "set `wait: true` for infrastructure and what others depend on",
    page: "Found where a Kustomization has no `wait`.\n",
};

/// No timeout.
static CFC004: Rule = Rule {
    id: "CFC004",
    title: "a Kustomization has a `timeout`",
    severity: Severity::Warning,
    consequence: "a large deployment fails after the interval, or a stuck one is noticed late",
    fix: "set `timeout`",
    page: "Found where a Kustomization has no `timeout`.\n",
};

/// A source whose namespace is not written.
static CFC005: Rule = Rule {
    id: "CFC005",
    title: "a `sourceRef` names the namespace of its source",
    severity: Severity::Warning,
    consequence: "the source is looked for in the namespace of the object",
    fix: "set `namespace: flux-system`, or that of the source",
    page: "Found where a `sourceRef` has no `namespace`, and no source of its kind and name stands in the\nobject's own namespace.\n",
};

/// No requests and no limits.
static CFC006: Rule = Rule {
    id: "CFC006",
    title: "a HelmRelease sets `resources`",
    severity: Severity::Warning,
    consequence: "its Pods are the first to be evicted, or take a node's memory from the others",
    fix: "set requests and limits in the values",
    page: "Found where the values of a HelmRelease have no `resources`. Where its file has one that is commented\nout, somebody has thought of it, and it is only information.\n",
};

/// One finding for each file and check.
pub(super) fn check(repository: &Repository, clusters: &[Graph]) -> Vec<Finding> {
    let mut found = BTreeSet::new();
    let mut findings = Vec::new();
    for (graph, object) in looked_at(clusters) {
        let file = object.node.at.file;
        for (rule, at, message) in mistakes(graph, object) {
            if found.insert((file, rule.id)) {
                let finding = Finding::new(rule, at, message).about(object);
                let is_thought_of = rule.id == CFC006.id && comments_on_resources(repository, file);
                findings.push(if is_thought_of {
                    finding.severity(Severity::Info)
                } else {
                    finding
                });
            }
        }
    }
    findings
}

/// The Kustomizations and HelmReleases that a Kustomization applies.
fn looked_at(clusters: &[Graph]) -> impl Iterator<Item = (&Graph, &Object)> {
    let objects = clusters
        .iter()
        .flat_map(|graph| graph.objects().map(move |(_, object)| (graph, object)));
    objects.filter(|(_, object)| is_release(object) || object.is(KUSTOMIZE_GROUP, "Kustomization"))
}

fn is_release(object: &Object) -> bool {
    object.is(HELM_GROUP, "HelmRelease")
}

type Mistake = (&'static Rule, Location, &'static str);

fn mistakes(graph: &Graph, object: &Object) -> Vec<Mistake> {
    let spec = |path: &[&str]| object.node.get("spec").and_then(|spec| spec.path(path));
    let at = object
        .node
        .field("spec")
        .map_or(object.node.at, |spec| spec.key_at);
    let mut mistakes = Vec::new();
    if is_release(object) {
        for action in ["install", "upgrade"] {
            let retries = spec(&[action, "remediation", "retries"]);
            let retries = retries.filter(|retries| retries.to_json() == -1);
            let message = "`retries` is -1";
            mistakes.extend(retries.map(|retries| (&CFC001, retries.at, message)));
        }
        if !spec(&["values"]).is_some_and(has_resources) {
            mistakes.push((&CFC006, at, "the values have no `resources`"));
        }
    } else {
        for (field, rule, message) in [
            ("healthChecks", &CFC002, "it has no `healthChecks`"),
            ("wait", &CFC003, "it has no `wait`"),
            ("timeout", &CFC004, "it has no `timeout`"),
        ] {
            if spec(&[field]).is_none() {
                mistakes.push((rule, at, message));
            }
        }
    }
    for path in [&["sourceRef"][..], &["chart", "spec", "sourceRef"]] {
        let reference = spec(path).filter(|reference| reference.get("namespace").is_none());
        if let Some(reference) = reference.filter(|reference| !is_beside(graph, object, reference))
        {
            let message = "its `sourceRef` has no `namespace`";
            mistakes.push((&CFC005, reference.at, message));
        }
    }
    mistakes
}

/// Whether the source stands in the object's own namespace.
fn is_beside(graph: &Graph, object: &Object, reference: &Node) -> bool {
    graph.objects().any(|(_, source)| {
        Some(source.kind()) == reference.text_of("kind")
            && Some(source.name()) == reference.text_of("name")
            && source.namespace() == object.namespace()
    })
}

fn has_resources(node: &Node) -> bool {
    match &node.value {
        Value::Mapping(fields) => fields
            .iter()
            .any(|field| &*field.key == "resources" || has_resources(&field.node)),
        Value::Sequence(items) => items.iter().any(has_resources),
        _ => false,
    }
}

fn comments_on_resources(repository: &Repository, file: FileId) -> bool {
    let mut lines = repository.sources.get(file).text.lines();
    lines.any(|line| {
        let comment = line.trim_start().strip_prefix('#');
        comment.is_some_and(|comment| comment.trim_start().starts_with("resources:"))
    })
}

/// How often each interval occurs, by the kind of what has it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Intervals(BTreeMap<&'static str, BTreeMap<String, usize>>);

impl Intervals {
    /// Counts them: of the objects, and of the first `interval` in each file with such an object, which
    /// may be that of a source.
    pub fn of(repository: &Repository, clusters: &[Graph]) -> Self {
        let mut intervals = Self::default();
        let mut files = BTreeSet::new();
        for (_, object) in looked_at(clusters) {
            let interval = object.node.path(&["spec", "interval"]);
            let text = interval.and_then(Node::scalar_text).unwrap_or("none");
            let (kind, in_files) = if is_release(object) {
                ("HelmRelease", "first in a file with a HelmRelease")
            } else {
                ("Kustomization", "first in a file with a Kustomization")
            };
            intervals.count(kind, text);
            if files.insert((object.node.at.file, in_files)) {
                let first = first_interval(repository, object.node.at.file);
                intervals.count(in_files, first.unwrap_or("none"));
            }
        }
        intervals
    }

    fn count(&mut self, kind: &'static str, interval: &str) {
        let counts = self.0.entry(kind).or_default();
        *counts.entry(interval.to_owned()).or_default() += 1;
    }
}

fn first_interval(repository: &Repository, file: FileId) -> Option<&str> {
    let documents = repository.documents_of(file).iter();
    let mut intervals = documents.filter_map(|document| {
        let interval = document.root.path(&["spec", "interval"]);
        interval.and_then(Node::scalar_text)
    });
    intervals.next()
}

/// A line for each kind, the most frequent interval first.
impl fmt::Display for Intervals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, counts) in &self.0 {
            let mut counts: Vec<_> = counts.iter().collect();
            counts.sort_by_key(|(interval, count)| (std::cmp::Reverse(**count), *interval));
            let counts: Vec<_> = counts
                .into_iter()
                .map(|(interval, count)| format!("{interval} ×{count}"))
                .collect();
            writeln!(formatter, "intervals, {kind}: {}", counts.join(", "))?;
        }
        Ok(())
    }
}
