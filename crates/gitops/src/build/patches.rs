//! Which objects a patch is for, and what it does to them.

use regex::Regex;

use crate::pattern;
use crate::yaml::{Node, Shared, Value};

use super::limits::check_object;
use super::namespace::is_built_in;
use super::object::Object;
use super::selector::Selector;
use super::{json_patch, strategic};

/// What a patch says.
#[derive(Debug)]
pub(super) enum Patch {
    /// Looks like the object.
    Strategic(Node),
    /// A list of operations.
    Json(Shared<Node>),
}

/// The objects that a patch is for.
#[derive(Debug, Default)]
pub(super) struct Target {
    group: Option<Regex>,
    version: Option<Regex>,
    kind: Option<Regex>,
    name: Option<Regex>,
    namespace: Option<Regex>,
    labels: Selector,
    annotations: Selector,
}

impl Patch {
    /// The patch of a document.
    pub(super) fn of(document: Node) -> Self {
        match document.value {
            Value::Sequence(operations) => Self::Json(operations),
            _ => Self::Strategic(document),
        }
    }
}

impl Target {
    /// The target of an entry of `patches`. The error says which pattern is not one.
    pub(super) fn parse(node: &Node) -> Result<Self, String> {
        let pattern = |key: &str| -> Result<Option<Regex>, String> {
            let text = node.text_of(key).filter(|text| !text.is_empty());
            let Some(text) = text else {
                return Ok(None);
            };
            let anchored = pattern::compile(&format!("^(?:{text})$"));
            let wrong = || format!("{key} of the target is no regular expression, or too large");
            anchored.ok_or_else(wrong).map(Some)
        };
        let selector = |key: &str| {
            Selector::parse(node.text_of(key).unwrap_or_default())
                .ok_or_else(|| format!("{key} has a form that is not supported here"))
        };
        Ok(Self {
            group: pattern("group")?,
            version: pattern("version")?,
            kind: pattern("kind")?,
            name: pattern("name")?,
            namespace: pattern("namespace")?,
            labels: selector("labelSelector")?,
            annotations: selector("annotationSelector")?,
        })
    }

    /// Whether the patch is for this object, by one of the names that it has or had.
    pub(super) fn is_for(&self, object: &Object) -> bool {
        let fits = |pattern: &Option<Regex>, text: &str| {
            pattern
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(text))
        };
        let called = |namespace: &str, name: &str| {
            fits(&self.namespace, namespace) && fits(&self.name, name)
        };
        let is_called = called(object.namespace(), object.name())
            || object
                .earlier
                .iter()
                .any(|(namespace, name)| called(namespace, name));
        let has = |selector: &Selector, field: &str| {
            selector.matches(object.node.path(&["metadata", field]))
        };
        is_called
            && fits(&self.group, object.group())
            && fits(&self.version, object.version())
            && fits(&self.kind, object.kind())
            && has(&self.labels, "labels")
            && has(&self.annotations, "annotations")
    }
}

/// Patches an object. False where the patch deletes it.
pub(super) fn apply(
    object: &mut Object,
    patch: &Patch,
    options: Option<&Node>,
) -> Result<bool, String> {
    let allows = |option: &str| {
        options
            .and_then(|options| options.get(option))
            .is_some_and(|node| node.value == Value::Bool(true))
    };
    let before = (
        object.kind().to_owned(),
        object.name().to_owned(),
        object.namespace().to_owned(),
    );
    match patch {
        Patch::Strategic(patch) => {
            if patch.text_of("$patch") == Some("delete") {
                return Ok(false);
            }
            let is_built_in = is_built_in(object);
            let mut changes = patch.clone();
            // Who the object is stays, unless the patch says that it may change.
            if !allows("allowKindChange") {
                changes.remove("kind");
                changes.remove("apiVersion");
            }
            if let Some(metadata) = changes.get_mut("metadata") {
                metadata.remove("namespace");
                if !allows("allowNameChange") {
                    metadata.remove("name");
                }
            }
            object.remember();
            strategic::merge(&mut object.node, &changes, is_built_in);
        }
        Patch::Json(operations) => {
            object.remember();
            json_patch::apply(&mut object.node, operations)?;
        }
    }
    check_object(&object.node)?;
    let (kind, name, namespace) = before;
    if (object.name(), object.namespace()) == (&name, &namespace) && object.kind() == kind {
        object.earlier.pop_if(|(before_namespace, before_name)| {
            (&*before_namespace, &*before_name) == (&namespace, &name)
        });
    }
    Ok(true)
}
