//! How lists and maps of a type are merged, for strategic merge patches and server-side apply.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use super::builtin;

/// How the items of a list are told apart.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum ListType {
    /// The list is one value with one owner.
    #[default]
    Atomic,
    /// Every scalar value occurs once and has its own owners.
    Set,
    /// Items are objects, told apart by the values of these keys.
    Map(Vec<ListKey>),
}

/// A field that identifies an item of a list of type `map`.
#[derive(Debug, Clone, PartialEq)]
pub struct ListKey {
    /// The name of the field.
    pub name: String,
    /// The value that an item without the field stands for.
    pub default: Option<Value>,
}

/// What a strategic merge patch does with a value, where it is not the default
/// (objects field by field, lists as a whole).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PatchStrategy {
    /// Objects are merged, everything else is replaced.
    #[default]
    Default,
    /// Items of the list are told apart by the value of this key and merged.
    MergeByKey(String),
    /// Scalars of the list are added to those that are there.
    MergeValues,
    /// The object is replaced as a whole.
    Replace,
}

/// What a field name that the type does not declare means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UndeclaredFields {
    /// A field of a type that is only partly described: it counts as declared.
    Named,
    /// An entry of a map, or a part of a value without a schema.
    Entries,
    /// A mistake.
    Refused,
}

/// How a value of one type is merged. A tree; types of fields are shared.
#[derive(Debug, Clone)]
pub struct MergeType {
    pub(crate) list: ListType,
    pub(crate) atomic_map: bool,
    pub(crate) patch: PatchStrategy,
    /// Whether clients that patch say which keys stay.
    pub(crate) retains_keys: bool,
    pub(crate) fields: BTreeMap<String, Arc<MergeType>>,
    pub(crate) elements: Option<Arc<MergeType>>,
    pub(crate) undeclared: UndeclaredFields,
}

/// A value of a built-in kind of which nothing special is known.
static PLAIN: LazyLock<Arc<MergeType>> =
    LazyLock::new(|| Arc::new(MergeType::new(UndeclaredFields::Named)));

/// A value without any schema.
static DEDUCED: LazyLock<Arc<MergeType>> =
    LazyLock::new(|| Arc::new(MergeType::new(UndeclaredFields::Entries)));

impl MergeType {
    pub(crate) fn new(undeclared: UndeclaredFields) -> Self {
        Self {
            list: ListType::Atomic,
            atomic_map: false,
            patch: PatchStrategy::Default,
            retains_keys: false,
            fields: BTreeMap::new(),
            elements: None,
            undeclared,
        }
    }

    /// The type of a built-in kind. `group` is empty for the core group. Kinds without
    /// special lists give the default behaviour, with the usual metadata.
    pub fn of_builtin(group: &str, kind: &str) -> Arc<Self> {
        builtin::type_of(group, kind)
    }

    /// A value without a schema: objects are merged field by field, lists as a whole.
    pub fn deduced() -> Arc<Self> {
        Arc::clone(&DEDUCED)
    }

    /// The value of `x-kubernetes-patch-strategy` in OpenAPI, from which `kubectl apply`
    /// computes its patches; nothing for the default behaviour.
    pub fn patch_strategy(&self) -> Option<&'static str> {
        match (&self.patch, self.retains_keys) {
            (PatchStrategy::MergeByKey(_) | PatchStrategy::MergeValues, true) => {
                Some("merge,retainKeys")
            }
            (PatchStrategy::MergeByKey(_) | PatchStrategy::MergeValues, false) => Some("merge"),
            (PatchStrategy::Replace, _) => Some("replace"),
            (PatchStrategy::Default, true) => Some("retainKeys"),
            (PatchStrategy::Default, false) => None,
        }
    }

    /// The type of the field `name` of an object of this type.
    pub(crate) fn field(&self, name: &str) -> &Arc<Self> {
        self.fields.get(name).unwrap_or_else(|| self.element())
    }

    /// The type of items of a list and of values of a map of this type.
    pub(crate) fn element(&self) -> &Arc<Self> {
        match (&self.elements, self.undeclared) {
            (Some(elements), _) => elements,
            (None, UndeclaredFields::Named) => &PLAIN,
            (None, _) => &DEDUCED,
        }
    }

    /// Whether `name` is a field of the type, not an entry of a map.
    pub(crate) fn names_field(&self, name: &str) -> bool {
        self.undeclared == UndeclaredFields::Named || self.fields.contains_key(name)
    }
}
