//! What became of reading the objects of a kind.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::facts::meta::Object;
use crate::facts::network::{EndpointSlice, WebhookConfiguration};
use crate::facts::node::Event;
use crate::facts::platform::StorageClass;

/// What became of the attempt to read the objects of a kind.
#[derive(Clone, Debug, Default)]
pub struct Reading<T> {
    /// The objects; none where they could not be read.
    pub items: Vec<T>,
    /// Whether that is all.
    pub outcome: Outcome,
}

/// How reading went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing called for it.
    #[default]
    NotAsked,
    /// All objects are known, but for those that could not be understood.
    Known {
        /// Objects that could not be understood, and why.
        malformed: Vec<String>,
    },
    /// The API server does not serve the kind.
    Absent,
    /// The right to list it is missing.
    Forbidden(String),
    /// There was no answer in time.
    TimedOut(String),
    /// Something else went wrong.
    Failed(String),
}

impl<T> Reading<T> {
    /// The objects that are known.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.items.iter()
    }

    /// Whether it is known which objects there are. Without that, nothing may be said of an object
    /// that is not there.
    pub fn is_known(&self) -> bool {
        matches!(self.outcome, Outcome::Known { .. } | Outcome::Absent)
    }
}

impl<'a, T> IntoIterator for &'a Reading<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What can be read.
pub(crate) trait Listed {
    /// Tells it its kind, which items of a list do not say.
    fn tell_kind(&mut self, kind: &'static str);

    /// What decides its place among others of its kind.
    fn place(&self) -> (&str, &str);
}

impl<P, S> Listed for Object<P, S> {
    fn tell_kind(&mut self, kind: &'static str) {
        self.kind = kind;
    }

    fn place(&self) -> (&str, &str) {
        self.metadata.place()
    }
}

impl Listed for WebhookConfiguration {
    fn tell_kind(&mut self, kind: &'static str) {
        self.kind = kind;
    }

    fn place(&self) -> (&str, &str) {
        self.metadata.place()
    }
}

impl Listed for EndpointSlice {
    fn tell_kind(&mut self, _: &'static str) {}

    fn place(&self) -> (&str, &str) {
        self.metadata.place()
    }
}

impl Listed for StorageClass {
    fn tell_kind(&mut self, _: &'static str) {}

    fn place(&self) -> (&str, &str) {
        self.metadata.place()
    }
}

impl Listed for Event {
    fn tell_kind(&mut self, _: &'static str) {}

    fn place(&self) -> (&str, &str) {
        (&self.reason, &self.message)
    }
}

impl<T> Reading<T> {
    /// Puts the objects in order, so that it does not matter in which one they came.
    pub(crate) fn sort(&mut self)
    where
        T: Listed,
    {
        self.items
            .sort_by(|one, other| one.place().cmp(&other.place()));
    }
}

/// Puts an object to the others, or says that it cannot be understood.
pub(super) fn keep<T: DeserializeOwned + Listed>(
    kind: &'static str,
    reading: &mut Reading<T>,
    object: Value,
) {
    let name = object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    match serde_json::from_value::<T>(object) {
        Ok(mut item) => {
            item.tell_kind(kind);
            reading.items.push(item);
        }
        Err(error) => {
            if let Outcome::Known { malformed } = &mut reading.outcome {
                malformed.push(format!("{name}: {error}"));
            }
        }
    }
}
