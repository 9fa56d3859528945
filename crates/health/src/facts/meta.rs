//! What all objects have: metadata, conditions, and the frame around both.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::issue::ObjectRef;

/// Prefixes of the annotations that a detector looks at. The others, such as the last applied
/// configuration, can be larger than the rest of the object.
const ANNOTATIONS: &[&str] = &[
    "k8s.v1.cni.cncf.io/",
    "kustomize.toolkit.fluxcd.io/",
    "meta.helm.sh/",
    "nico.homystack.com/",
    "nio.homystack.com/",
    "reconcile.fluxcd.io/",
    "storageclass.kubernetes.io/",
];

/// An object as far as the detectors look at it. What they do not look at is never kept.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(bound(deserialize = "P: Deserialize<'de> + Default, S: Deserialize<'de> + Default"))]
pub struct Object<P, S> {
    /// Its kind, filled in by whoever read it; lists leave it out of their items.
    #[serde(skip)]
    pub kind: &'static str,
    /// Its metadata.
    #[serde(default)]
    pub metadata: Metadata,
    /// What is wanted.
    #[serde(default, deserialize_with = "null_is_default")]
    pub spec: P,
    /// What was observed.
    #[serde(default, deserialize_with = "null_is_default")]
    pub status: S,
}

/// A part of an object at which no detector looks.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Nothing {}

/// Metadata of an object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Its name.
    pub name: String,
    /// Its namespace; empty for what has none.
    pub namespace: String,
    /// Grows with each change of the spec.
    pub generation: Option<i64>,
    /// When it was made.
    pub creation_timestamp: Option<Timestamp>,
    /// When it is to be gone.
    pub deletion_timestamp: Option<Timestamp>,
    /// Its labels.
    #[serde(deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// Those of its annotations that a detector looks at.
    #[serde(deserialize_with = "known_annotations")]
    pub annotations: BTreeMap<String, String>,
    /// What it goes with.
    #[serde(deserialize_with = "null_is_default")]
    pub owner_references: Vec<Owner>,
    /// What must be done before it can be gone.
    #[serde(deserialize_with = "null_is_default")]
    pub finalizers: Vec<String>,
    /// Who wrote which fields.
    #[serde(deserialize_with = "null_is_default")]
    pub managed_fields: Vec<Written>,
}

/// The owner of an object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Owner {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Whether it is the one that makes and removes the object.
    pub controller: Option<bool>,
}

/// When some fields were written last.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Written {
    /// When.
    pub time: Option<Timestamp>,
    /// Through which subresource, such as `status`; empty for the object itself.
    pub subresource: String,
    /// Which.
    #[serde(rename = "fieldsV1")]
    pub fields: WrittenFields,
}

/// The fields that somebody wrote, as far as a detector looks at them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct WrittenFields {
    /// Fields of the spec.
    #[serde(rename = "f:spec")]
    pub spec: WrittenSpec,
}

/// The fields of a spec that somebody wrote.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct WrittenSpec {
    /// `spec.suspend`.
    #[serde(rename = "f:suspend")]
    pub suspend: Option<IgnoredAny>,
}

/// A condition, as the Kubernetes API conventions describe it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
    /// Since when.
    pub last_transition_time: Option<Timestamp>,
    /// For which generation of the spec.
    pub observed_generation: Option<i64>,
}

impl<P, S> Object<P, S> {
    /// What the object is called.
    pub fn reference(&self) -> ObjectRef {
        ObjectRef::new(self.kind, &self.metadata.namespace, &self.metadata.name)
    }
}

impl Metadata {
    /// The namespace and the name.
    pub fn place(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }

    /// A label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    /// An annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str)
    }

    /// The owner that makes and removes the object.
    pub fn controller(&self) -> Option<&Owner> {
        let mut owners = self.owner_references.iter();
        owners.find(|owner| owner.controller == Some(true))
    }

    /// When somebody wrote the object itself last, as far as that is known.
    pub fn changed_at(&self) -> Option<Timestamp> {
        let writers = self.managed_fields.iter();
        writers
            .filter(|written| written.subresource.is_empty())
            .filter_map(|written| written.time)
            .max()
            .or(self.creation_timestamp)
    }

    /// When `spec.suspend` was written last, as far as that is known.
    pub fn suspended_at(&self) -> Option<Timestamp> {
        let writers = self.managed_fields.iter();
        writers
            .filter(|written| written.fields.spec.suspend.is_some())
            .filter_map(|written| written.time)
            .max()
    }
}

impl Condition {
    /// Whether it holds.
    pub fn is_true(&self) -> bool {
        self.status == "True"
    }

    /// Whether it surely does not hold.
    pub fn is_false(&self) -> bool {
        self.status == "False"
    }

    /// The message; where there is none, the reason.
    pub fn words(&self) -> &str {
        match self.message.trim() {
            "" => &self.reason,
            message => message,
        }
    }
}

/// What matters of the output of a tool: its first line and its last error, or its last line.
pub fn gist(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<&str> = lines.collect();
    let errors = lines.iter().rev().find(|line| line.starts_with("error"));
    match (lines.first(), errors.or(lines.last())) {
        (Some(first), Some(last)) if lines.len() > 2 => format!("{first} … {last}"),
        _ => lines.join(" "),
    }
}

/// The condition of a type.
pub fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}

/// `null` in a field means that the field is not there.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn known_annotations<'de, D>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error>
where
    D: Deserializer<'de>,
{
    struct Known;
    impl<'de> Visitor<'de> for Known {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("annotations")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(BTreeMap::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut known = BTreeMap::new();
            while let Some(name) = map.next_key::<String>()? {
                if ANNOTATIONS.iter().any(|prefix| name.starts_with(prefix)) {
                    known.insert(name, map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(known)
        }
    }
    deserializer.deserialize_any(Known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_at_the_end_of_much_output_is_what_matters() {
        let nix = "nix ended with exit status: 1:\nwarning: not writing the lock file\n\
                   error:\n       … while evaluating\n\n       error: the disk has no label\n\
                   note: trace follows";
        for (text, expected) in [
            (
                nix,
                "nix ended with exit status: 1: … error: the disk has no label",
            ),
            ("first\nsecond\nthird", "first … third"),
            ("first\nsecond", "first second"),
            ("one line", "one line"),
            ("", ""),
        ] {
            assert_eq!(gist(text), expected);
        }
    }
}
