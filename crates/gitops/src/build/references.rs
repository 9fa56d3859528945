//! Names that changed, changed also where others refer to them.

use std::collections::HashMap;

use crate::yaml::{Node, Value};

use super::field_paths::at_path;
use super::namespace::is_namespaced;
use super::object::{Object, text_at};
use super::reference_fields::{BUILT_IN, Reference};

/// What a change of names did to the fields that refer to them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unclear {
    /// A field may mean several objects.
    Ambiguous {
        /// Which object has the field, by its place in the list.
        from: usize,
        /// The name in it.
        name: String,
    },
}

/// Follows every reference. What was unclear is returned and left as it was.
pub(super) fn follow(objects: &mut [Object], custom: &[Reference]) -> Vec<Unclear> {
    if objects.iter().all(|object| object.earlier.is_empty()) {
        return Vec::new();
    }
    let targets: Vec<Target> = objects.iter().map(Target::of).collect();
    let index = Index::of(&targets);
    let mut unclear = Vec::new();
    for (from, object) in objects.iter_mut().enumerate() {
        let applies = |reference: &&Reference| {
            (reference.from_kind.is_empty() || reference.from_kind == object.kind())
                && (reference.from_group.is_empty() || reference.from_group == object.group())
        };
        let references = BUILT_IN.iter().chain(custom).filter(applies);
        let role_kind = object.node.path(&["roleRef", "kind"]).and_then(Node::text);
        let role_kind = role_kind.map(str::to_owned);
        for reference in references.collect::<Vec<_>>() {
            let names_role = reference.path.first().is_some_and(|part| part == "roleRef");
            if names_role && role_kind.as_ref() != Some(&reference.to_kind) {
                continue;
            }
            at_path(&mut object.node, &reference.path, None, &mut |field| {
                each(field, &mut |field| {
                    if let Err(name) = point(field, reference, &targets[from], &index) {
                        unclear.push(Unclear::Ambiguous { from, name });
                    }
                });
            });
        }
    }
    unclear
}

/// What is asked of an object that may be named, or that names others.
struct Target {
    kind: String,
    is_namespaced: bool,
    /// Namespace and name, and all that it had before.
    now: (String, String),
    earlier: Vec<(String, String)>,
}

impl Target {
    fn of(object: &Object) -> Self {
        Self {
            kind: object.kind().to_owned(),
            is_namespaced: is_namespaced(object),
            now: (object.namespace().to_owned(), object.name().to_owned()),
            earlier: object.earlier.clone(),
        }
    }

    fn names(&self) -> impl Iterator<Item = &(String, String)> {
        self.earlier.iter().chain([&self.now])
    }

    /// Whether it has, or had, this name; in this namespace, where one is asked for.
    fn was_called(&self, namespace: Option<&str>, name: &str) -> bool {
        self.names().any(|(had_namespace, had_name)| {
            had_name == name && namespace.is_none_or(|namespace| had_namespace == namespace)
        })
    }
}

/// The objects of a kind, by each name that they have or had.
struct Index<'a>(HashMap<(&'a str, &'a str), Vec<&'a Target>>);

impl<'a> Index<'a> {
    fn of(targets: &'a [Target]) -> Self {
        let mut index: HashMap<(&'a str, &'a str), Vec<&'a Target>> = HashMap::new();
        for target in targets {
            for (_, name) in target.names() {
                let known = index.entry((&*target.kind, &**name)).or_default();
                if !known.last().is_some_and(|last| std::ptr::eq(*last, target)) {
                    known.push(target);
                }
            }
        }
        Self(index)
    }

    fn find<'b>(&'b self, kind: &'b str, name: &'b str) -> &'b [&'a Target] {
        self.0.get(&(kind, name)).map_or(&[], Vec::as_slice)
    }
}

/// `resourceNames` of a role is a list of names.
fn each(field: &mut Node, change: &mut dyn FnMut(&mut Node)) {
    match &mut field.value {
        Value::Sequence(items) => items.iter_mut().for_each(change),
        _ => change(field),
    }
}

fn point(
    field: &mut Node,
    reference: &Reference,
    referrer: &Target,
    index: &Index<'_>,
) -> Result<(), String> {
    let is_mapping = matches!(field.value, Value::Mapping(_));
    let name = if is_mapping {
        field.text_of("name")
    } else {
        field.text()
    };
    let Some(name) = name.map(str::to_owned) else {
        return Ok(());
    };
    let stated = field.text_of("namespace").map(str::to_owned);
    let known = index.find(&reference.to_kind, &name).iter().copied();
    let candidates: Vec<&Target> = known
        .filter(|target| match &stated {
            Some(namespace) => target.was_called(Some(namespace), &name),
            None => target.was_called(None, &name) && are_neighbours(referrer, target),
        })
        .collect();
    let Some(target) = candidates.first() else {
        return Ok(());
    };
    let (namespace, new_name) = &target.now;
    if candidates.iter().any(|other| other.now.1 != *new_name) {
        return Err(name);
    }
    if !is_mapping {
        if *new_name != name {
            *field = text_at(new_name.as_str(), field.at);
        }
        return Ok(());
    }
    if *new_name != name {
        field.set(&["name"], text_at(new_name.as_str(), field.at));
    }
    if stated.is_some_and(|stated| stated != *namespace) && !namespace.is_empty() {
        field.set(&["namespace"], text_at(namespace.as_str(), field.at));
    }
    Ok(())
}

/// Whether the two stand, or stood, in one namespace; a cluster-wide object is everybody's.
fn are_neighbours(one: &Target, other: &Target) -> bool {
    if !one.is_namespaced || !other.is_namespaced {
        return true;
    }
    one.names()
        .any(|(namespace, _)| other.names().any(|(known, _)| known == namespace))
}
