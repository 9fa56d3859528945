//! One served kind.

use std::sync::Arc;

use crate::objects::Type;
use crate::status::ResourceName;

use super::custom::CustomResource;

/// A kind in one version, as it is served.
#[derive(Debug)]
pub struct Kind {
    /// API group, empty for the core group.
    pub group: String,
    /// API version, such as `v1`.
    pub version: String,
    /// The kind, such as `ConfigMap`.
    pub kind: String,
    /// The kind of lists.
    pub list_kind: String,
    /// The resource's name in paths.
    pub plural: String,
    /// The name of one object, for people.
    pub singular: String,
    /// Short names for people.
    pub short_names: Vec<String>,
    /// Categories such as `all`.
    pub categories: Vec<String>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: Verbs,
    /// Subresources by name.
    pub subresources: Vec<Subresource>,
    /// Peculiarities.
    pub behaviour: Behaviour,
    /// Built-in or custom.
    pub source: Source,
}

/// Which verbs a resource has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbs {
    /// All of them.
    All,
    /// All but the deletion of collections.
    NoDeleteCollection,
    /// Only reading; nothing is ever there.
    ReadOnly,
    /// Only creation; nothing is stored.
    CreateOnly,
}

impl Verbs {
    /// The names, sorted.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::All => &[
                "create",
                "delete",
                "deletecollection",
                "get",
                "list",
                "patch",
                "update",
                "watch",
            ],
            Self::NoDeleteCollection => &[
                "create", "delete", "get", "list", "patch", "update", "watch",
            ],
            Self::ReadOnly => &["get", "list"],
            Self::CreateOnly => &["create"],
        }
    }

    /// Whether objects are kept.
    pub fn is_stored(self) -> bool {
        self != Self::CreateOnly
    }
}

/// A subresource.
#[derive(Clone, Debug)]
pub struct Subresource {
    /// Its name in paths.
    pub name: &'static str,
    /// The kind that it takes and gives; none: that of the resource.
    pub kind: Option<&'static str>,
    /// Group and version of that kind, if not those of the resource.
    pub group_version: Option<(&'static str, &'static str)>,
    /// Its verbs.
    pub verbs: &'static [&'static str],
}

/// What differs between kinds, beyond their schemas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behaviour {
    /// `metadata.generation` counts changes of the desired state.
    pub generation: bool,
    /// PUT makes a missing object.
    pub creates_on_update: bool,
    /// PUT without a resourceVersion is refused.
    pub update_needs_version: bool,
    /// DELETE answers with the object instead of a Status.
    pub delete_returns_object: bool,
    /// Dependents stay if a DELETE does not say what becomes of them.
    pub orphans_dependents: bool,
    /// A status in a creation is kept.
    pub keeps_status_on_create: bool,
}

/// Where a kind comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Part of Kubernetes.
    BuiltIn(Type),
    /// Made by a CustomResourceDefinition.
    Custom(Arc<CustomResource>),
}

impl Kind {
    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        match self.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// How messages name the resource: by its plural.
    pub fn resource_name(&self) -> ResourceName<'_> {
        ResourceName {
            group: &self.group,
            resource: &self.plural,
        }
    }

    /// How validation messages name it: by its kind, in the group that it is stored in.
    pub fn kind_name(&self) -> ResourceName<'_> {
        ResourceName {
            group: self.storage_group(),
            resource: &self.kind,
        }
    }

    /// Whether this is `group` and `kind`, in any version.
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }

    /// The subresource of this name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources
            .iter()
            .find(|subresource| subresource.name == name)
    }

    /// Whether status and the rest are written separately.
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    /// The custom resource's particulars.
    pub fn custom(&self) -> Option<&CustomResource> {
        match &self.source {
            Source::Custom(custom) => Some(custom),
            Source::BuiltIn(_) => None,
        }
    }

    /// Whether objects are stored in this version, or in another one that differs in nothing but
    /// its name.
    pub fn needs_no_webhook(&self) -> bool {
        let conversion = self.custom().and_then(|custom| custom.conversion.as_ref());
        conversion.is_none_or(|webhook| webhook.storage_version == self.version)
    }

    /// The name of the definition that made this kind.
    pub fn definition(&self) -> Option<&str> {
        self.custom().map(|custom| custom.definition.as_str())
    }

    /// The group under which objects are stored: events are kept once for both their groups.
    pub fn storage_group(&self) -> &str {
        match (self.group.as_str(), self.kind.as_str()) {
            ("events.k8s.io", "Event") => "",
            (group, _) => group,
        }
    }

    /// What all keys of this resource begin with.
    pub fn storage_prefix(&self) -> String {
        format!("{}/{}/", self.storage_group(), self.plural)
    }

    /// What the keys of a collection begin with.
    pub fn collection_prefix(&self, namespace: Option<&str>) -> String {
        match namespace {
            Some(namespace) => format!("{}{namespace}/", self.storage_prefix()),
            None => self.storage_prefix(),
        }
    }

    /// The key of an object.
    pub fn key(&self, namespace: Option<&str>, name: &str) -> String {
        format!("{}{name}", self.collection_prefix(namespace))
    }
}
