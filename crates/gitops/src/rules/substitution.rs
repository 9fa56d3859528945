//! The rules for variables: `postBuild` of a Kustomization, and what it does to `${…}`.

use std::collections::BTreeSet;

use crate::build::{Object, Undefined};
use crate::finding::{Finding, Severity};
use crate::graph::{Graph, Kustomization};
use crate::rules::helm::values::is_made;
use crate::rules::{Context, Rule};
use crate::source::Location;
use crate::yaml::{Node, Value};

/// A variable that nothing defines.
pub static SUB001: Rule = Rule {
    id: "SUB001",
    title: "a variable that is used has a value",
    severity: Severity::Error,
    consequence: "Flux puts nothing in its place",
    fix: "define the variable, give it a default with `${NAME:=default}`, or write `$${NAME}` where no variable is meant",
    page: include_str!("pages/SUB001.md"),
};

/// A variable that nobody puts in.
pub static SUB002: Rule = Rule {
    id: "SUB002",
    title: "a variable is used where Flux puts variables in",
    severity: Severity::Warning,
    consequence: "the text with `${` stays as it is",
    fix: "add `postBuild` to the Kustomization",
    page: include_str!("pages/SUB002.md"),
};

/// A text for another program that Flux changes.
pub static SUB003: Rule = Rule {
    id: "SUB003",
    title: "`${…}` for a shell or another program is kept from Flux",
    severity: Severity::Warning,
    consequence: "Flux puts nothing in its place, before the program sees it",
    fix: "write `$${NAME}`, or annotate the object with `kustomize.toolkit.fluxcd.io/substitute: disabled`",
    page: include_str!("pages/SUB003.md"),
};

/// Variables from an object that nobody makes.
pub static SUB004: Rule = Rule {
    id: "SUB004",
    title: "the objects of `substituteFrom` exist",
    severity: Severity::Error,
    consequence: "the Kustomization is never ready: its build fails",
    fix: "correct the name, add the object to the namespace of the Kustomization, or mark it `optional`",
    page: include_str!("pages/SUB004.md"),
};

/// What breaks the rules of this module.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let graph = context.graph;
    let names = variables_of(graph);
    let mut findings = Vec::new();
    for kustomization in graph.kustomizations.values() {
        let undefined = kustomization.undefined.iter();
        findings
            .extend(undefined.map(|undefined| without_value(context, kustomization, undefined)));
        findings.extend(absent(graph, kustomization));
        if kustomization.spec("postBuild").is_none() {
            for object in &kustomization.objects {
                not_put_in(context, object, &object.node, &names, &mut findings);
            }
        }
    }
    findings
}

/// What the Kustomizations of the repository put in, wherever.
fn variables_of(graph: &Graph) -> BTreeSet<String> {
    let all = graph.kustomizations.values();
    all.flat_map(|kustomization| kustomization.variables.names().map(str::to_owned))
        .collect()
}

fn without_value(
    context: &Context<'_>,
    kustomization: &Kustomization,
    undefined: &Undefined,
) -> Finding {
    let mut objects = kustomization.objects.iter();
    let object = objects.find(|object| object.display_name() == undefined.object);
    let is_for_a_program = object.is_some_and(|object| is_for_a_program(object, undefined.at));
    let rule = if is_for_a_program { &SUB003 } else { &SUB001 };
    let name = &undefined.variable;
    let at = exact(context, undefined.at, name);
    let mut finding = Finding::new(rule, at, format!("nothing defines the variable {name}"));
    finding.object = Some(undefined.object.clone());
    if context.settings.strict_substitution {
        return finding
            .severity(Severity::Error)
            .consequence("the Kustomization is never ready: its build fails");
    }
    finding
}

/// Whether the text at this place is read by a shell or the like: content of files, arguments,
/// environment.
fn is_for_a_program(object: &Object, at: Location) -> bool {
    let mut path = Vec::new();
    let is_found = path_to(&object.node, at, &mut path);
    let is_file = object.is("", "ConfigMap") && path.first() == Some(&"data");
    let is_argument = path
        .iter()
        .any(|key| matches!(*key, "args" | "command" | "env"));
    is_found && (is_file || is_argument)
}

/// The names of the fields that lead to the node at a place.
fn path_to<'a>(node: &'a Node, at: Location, path: &mut Vec<&'a str>) -> bool {
    if matches!(node.value, Value::Mapping(_)) {
        for field in node.fields() {
            path.push(&field.key);
            if path_to(&field.node, at, path) {
                return true;
            }
            path.pop();
        }
        return false;
    }
    if matches!(node.value, Value::Sequence(_)) {
        return node.items().iter().any(|item| path_to(item, at, path));
    }
    node.at == at
}

/// Where in a long text the variable stands.
fn exact(context: &Context<'_>, at: Location, name: &str) -> Location {
    let text = &context.repository.sources.get(at.file).text;
    let part = text
        .get(at.start as usize..at.end as usize)
        .unwrap_or_default();
    let found = [format!("${{{name}"), format!("${name}")];
    let offset = found
        .iter()
        .find_map(|text| Some((part.find(text.as_str())?, text.len())));
    offset.map_or(at, |(offset, length)| {
        let start = at.start as usize + offset;
        Location::new(at.file, start, start + length)
    })
}

fn absent(graph: &Graph, kustomization: &Kustomization) -> Vec<Finding> {
    let entries = kustomization
        .spec("postBuild")
        .and_then(|post| post.get("substituteFrom"));
    let entries = entries.map_or(&[][..], Node::items);
    let absent = kustomization
        .variables
        .absent
        .iter()
        .filter_map(|(kind, name, at)| {
            let entry = entries.iter().find(|entry| entry.at == *at)?;
            let is_optional = entry
                .get("optional")
                .is_some_and(|node| node.value == Value::Bool(true));
            let namespace = kustomization.object.namespace();
            if is_optional || name.contains("${") || is_made(graph, kind, namespace, name) {
                return None;
            }
            let at = entry.get("name").map_or(*at, |node| node.at);
            let finding = Finding::new(
                &SUB004,
                at,
                format!("nothing makes {kind} {namespace}/{name}"),
            );
            let finding = finding.about(&kustomization.object);
            Some(if graph.has_foreign() {
                finding.severity(Severity::Warning)
            } else {
                finding
            })
        });
    absent.collect()
}

fn not_put_in(
    context: &Context<'_>,
    object: &Object,
    node: &Node,
    names: &BTreeSet<String>,
    findings: &mut Vec<Finding>,
) {
    if object.metadata("annotations", "kustomize.toolkit.fluxcd.io/substitute") == Some("disabled")
    {
        return;
    }
    for field in node.fields() {
        not_put_in(context, object, &field.node, names, findings);
    }
    for item in node.items() {
        not_put_in(context, object, item, names, findings);
    }
    let Some(text) = node.text().filter(|text| text.contains("${")) else {
        return;
    };
    let used = names.iter().find(|name| {
        let rest = text.split(&format!("${{{name}")).nth(1);
        rest.is_some_and(|rest| rest.starts_with(['}', ':', '/', '%', '#']))
            && !text.contains(&format!("$${{{name}"))
    });
    if let Some(name) = used {
        let message =
            format!("the variable {name} is not put in: the Kustomization has no `postBuild`");
        findings.push(Finding::new(&SUB002, exact(context, node.at, name), message).about(object));
    }
}
