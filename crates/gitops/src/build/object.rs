//! A Kubernetes object that is being built: its YAML, and the names that it had on the way.

use crate::finding::ObjectName;
use crate::source::Location;
use crate::yaml::{Node, Value};

/// An object of a build.
#[derive(Clone, Debug)]
pub struct Object {
    /// What it is now.
    pub node: Node,
    /// The names that it had before, oldest first: others may still refer to it by one of them.
    pub(super) earlier: Vec<(String, String)>,
    /// The namespace in its file, where building has put it into another one.
    pub(super) written_namespace: Option<Node>,
    /// Made by a generator whose name ends in a hash of the content.
    pub(super) wants_hash: bool,
    /// Made by a generator.
    pub(super) is_generated: bool,
}

/// What tells objects apart: group, kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// Empty where the object has none.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Object {
    /// Whether a document is a Kubernetes object.
    pub fn is_one(node: &Node) -> bool {
        node.text_of("kind").is_some()
            && node.text_of("apiVersion").is_some()
            && node
                .path(&["metadata", "name"])
                .is_some_and(|name| !name.is_null())
    }

    /// The object of a document. None where it is no Kubernetes object.
    pub fn new(node: Node) -> Option<Self> {
        Self::is_one(&node).then_some(Self {
            node,
            earlier: Vec::new(),
            written_namespace: None,
            wants_hash: false,
            is_generated: false,
        })
    }

    /// What tells it apart.
    pub fn id(&self) -> Id {
        Id {
            group: self.group().to_owned(),
            kind: self.kind().to_owned(),
            namespace: self.namespace().to_owned(),
            name: self.name().to_owned(),
        }
    }

    /// How people name it.
    pub fn display_name(&self) -> ObjectName {
        ObjectName {
            kind: self.kind().to_owned(),
            namespace: self.namespace().to_owned(),
            name: self.name().to_owned(),
        }
    }

    /// The kind.
    pub fn kind(&self) -> &str {
        self.node.text_of("kind").unwrap_or_default()
    }

    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version()
            .rsplit_once('/')
            .map_or("", |(group, _)| group)
    }

    /// The version without the group.
    pub fn version(&self) -> &str {
        let api_version = self.api_version();
        api_version
            .rsplit_once('/')
            .map_or(api_version, |(_, version)| version)
    }

    /// Group and version as they are written.
    pub fn api_version(&self) -> &str {
        self.node.text_of("apiVersion").unwrap_or_default()
    }

    /// The name.
    pub fn name(&self) -> &str {
        let name = self.node.path(&["metadata", "name"]);
        name.and_then(Node::scalar_text).unwrap_or_default()
    }

    /// The namespace that is written in it; empty where there is none.
    pub fn namespace(&self) -> &str {
        let namespace = self.node.path(&["metadata", "namespace"]);
        namespace.and_then(Node::text).unwrap_or_default()
    }

    /// Gives it another name, and remembers the one it had.
    pub(super) fn rename(&mut self, name: String, at: Location) {
        self.remember();
        self.node.set(&["metadata", "name"], text_at(name, at));
    }

    /// Whether it is of this API group and kind, in any version.
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.kind() == kind && self.group() == group
    }

    /// A part of its specification.
    pub fn spec(&self, path: &[&str]) -> Option<&Node> {
        self.node.get("spec")?.path(path)
    }

    /// Where its specification begins; where it begins itself, if it has none.
    pub fn spec_at(&self) -> Location {
        let spec = self.node.field("spec");
        spec.map_or(self.node.at, |field| field.key_at)
    }

    /// Where its name is written.
    pub fn name_at(&self) -> Location {
        let name = self.node.path(&["metadata", "name"]);
        name.map_or(self.node.at, |name| name.at)
    }

    /// Where a field of the specification is written, or else the specification.
    pub fn spec_field_at(&self, key: &str) -> Location {
        let field = self.node.get("spec").and_then(|spec| spec.field(key));
        field.map_or_else(|| self.spec_at(), |field| field.key_at)
    }

    /// A label or annotation: `field` is `labels` or `annotations`.
    pub fn metadata(&self, field: &str, key: &str) -> Option<&str> {
        let node = self.node.path(&["metadata", field, key]);
        node.and_then(Node::scalar_text)
    }

    /// The namespace in its file, where building has put the object into another one.
    pub fn written_namespace(&self) -> Option<&Node> {
        let now = self.namespace();
        let written = self.written_namespace.as_ref();
        written.filter(|written| written.text() != Some(now))
    }

    /// The name in its file, before anything renamed it.
    pub fn written_name(&self) -> &str {
        let first = self.earlier.first();
        first.map_or(self.name(), |(_, name)| name)
    }

    /// Whether a generator has made it.
    pub fn is_generated(&self) -> bool {
        self.is_generated
    }

    /// Moves it to a namespace, and remembers where it was.
    pub(crate) fn move_to(&mut self, namespace: &str, at: Location) {
        self.remember();
        if self.written_namespace.is_none() {
            let written = self.node.path(&["metadata", "namespace"]);
            self.written_namespace = written.cloned();
        }
        self.node
            .set(&["metadata", "namespace"], text_at(namespace, at));
    }

    pub(super) fn remember(&mut self) {
        let now = (self.namespace().to_owned(), self.name().to_owned());
        if self.earlier.last() != Some(&now) {
            self.earlier.push(now);
        }
    }

    /// Takes back the last [`remember`](Self::remember), where nothing came of it.
    pub(super) fn forget_if_unchanged(&mut self) {
        let now = (self.namespace().to_owned(), self.name().to_owned());
        self.earlier.pop_if(|last| *last == now);
    }

    /// Whether it has, or had, this name; in this namespace, where one is asked for.
    pub(super) fn was_called(&self, namespace: Option<&str>, name: &str) -> bool {
        let is_meant = |had_namespace: &str, had_name: &str| {
            had_name == name && namespace.is_none_or(|namespace| had_namespace == namespace)
        };
        is_meant(self.namespace(), self.name())
            || self
                .earlier
                .iter()
                .any(|(namespace, name)| is_meant(namespace, name))
    }
}

/// A string that was written at `at`.
pub(super) fn text_at(text: impl Into<Box<str>>, at: Location) -> Node {
    Node {
        at,
        value: Value::Text(text.into()),
    }
}
