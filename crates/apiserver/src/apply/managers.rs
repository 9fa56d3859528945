//! The entries of `metadata.managedFields`: who owns which fields.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::field_set::FieldSet;

/// Entries of plain writes are kept apart for so many managers; older ones are put together.
const MAX_UPDATERS: usize = 10;

/// The name under which the oldest entries are put together.
const ANCIENT_CHANGES: &str = "ancient-changes";

/// Fields that the server sets or that identify the object; nobody owns them.
pub(super) static UNOWNED_FIELDS: LazyLock<FieldSet> = LazyLock::new(|| {
    FieldSet::of_fields([
        "apiVersion",
        "kind",
        "metadata",
        "metadata.name",
        "metadata.namespace",
        "metadata.creationTimestamp",
        "metadata.selfLink",
        "metadata.uid",
        "metadata.clusterName",
        "metadata.generation",
        "metadata.managedFields",
        "metadata.resourceVersion",
    ])
});

/// How a manager wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        }
    }
}

/// What makes an entry a manager's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) manager: String,
    pub(super) operation: Operation,
    /// Empty for `Apply`: an applier has one entry, whichever version it applies.
    pub(super) api_version: String,
    /// Empty for the object itself.
    pub(super) subresource: String,
}

impl Identity {
    /// The identity of a manager that applies.
    pub(super) fn applier(manager: &str, subresource: Option<&str>) -> Self {
        Self {
            manager: manager.to_owned(),
            operation: Operation::Apply,
            api_version: String::new(),
            subresource: subresource.unwrap_or_default().to_owned(),
        }
    }

    /// The identity of a manager that writes in any other way.
    pub(super) fn updater(manager: &str, api_version: &str, subresource: Option<&str>) -> Self {
        Self {
            operation: Operation::Update,
            api_version: api_version.to_owned(),
            ..Self::applier(manager, subresource)
        }
    }

    /// As conflicts name the manager.
    pub(super) fn in_words(&self) -> String {
        let mut words = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            words += &format!(" with subresource {:?}", self.subresource);
        }
        if self.operation == Operation::Update {
            words += &format!(" using {}", self.api_version);
        }
        words
    }
}

/// The fields of one manager.
#[derive(Debug, Clone)]
pub(super) struct Ownership {
    pub(super) fields: OwnedFields,
    pub(super) api_version: String,
    /// When the manager last changed something, in RFC 3339.
    pub(super) time: Option<String>,
}

/// A set of fields. Most of those in an object are not touched by a write and can stay as
/// they are written.
#[derive(Debug, Clone)]
pub(super) enum OwnedFields {
    /// As managed fields write it.
    Written(Value),
    /// As a set.
    Read(FieldSet),
}

impl OwnedFields {
    /// The set.
    pub(super) fn set(&self) -> Cow<'_, FieldSet> {
        match self {
            OwnedFields::Written(fields) => {
                Cow::Owned(FieldSet::from_fields_v1(fields).unwrap_or_default())
            }
            OwnedFields::Read(set) => Cow::Borrowed(set),
        }
    }

    /// The fields that are also in `other`.
    pub(super) fn intersection(&self, other: &FieldSet) -> FieldSet {
        match self {
            OwnedFields::Written(fields) if !other.overlaps_written(fields) => FieldSet::default(),
            _ => self.set().intersection(other),
        }
    }

    /// These fields, and those of `other`.
    pub(super) fn and(self, other: FieldSet) -> Self {
        match self {
            OwnedFields::Written(fields) if other.is_within_written(&fields) => {
                OwnedFields::Written(fields)
            }
            fields => OwnedFields::Read(fields.into_set().and(other)),
        }
    }

    fn remove(&mut self, other: &FieldSet) {
        match self {
            OwnedFields::Written(fields) if !other.overlaps_written(fields) => {}
            _ => *self = OwnedFields::Read(self.set().into_owned().difference(other)),
        }
    }

    fn into_set(self) -> FieldSet {
        match self {
            OwnedFields::Read(set) => set,
            written => written.set().into_owned(),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            OwnedFields::Written(fields) => fields.as_object().is_none_or(Map::is_empty),
            OwnedFields::Read(set) => set.is_empty(),
        }
    }

    fn into_fields_v1(self) -> Value {
        match self {
            OwnedFields::Written(fields) => fields,
            OwnedFields::Read(set) => set.to_fields_v1(),
        }
    }
}

/// All owners of an object's fields.
#[derive(Debug, Clone, Default)]
pub(super) struct Managers(pub(super) BTreeMap<Identity, Ownership>);

impl Managers {
    /// The owners of a stored object; none if they cannot be understood.
    pub(super) fn of_stored(object: &Value) -> Self {
        let keep = |fields: &Value| Some(OwnedFields::Written(fields.clone()));
        Self::read(object, keep).unwrap_or_default()
    }

    /// The owners that a client sends; none if they cannot be understood.
    pub(super) fn of_client(object: &Value) -> Self {
        let parse = |fields: &Value| FieldSet::from_fields_v1(fields).map(OwnedFields::Read);
        Self::read(object, parse).unwrap_or_default()
    }

    fn read(object: &Value, read_fields: impl Fn(&Value) -> Option<OwnedFields>) -> Option<Self> {
        let mut managers = BTreeMap::new();
        for entry in managed_fields(object)?.as_array()? {
            let text = |name: &str| entry.get(name).and_then(Value::as_str);
            let api_version = text("apiVersion").filter(|version| !version.is_empty())?;
            let manager = text("manager").unwrap_or_default();
            let identity = match text("operation")? {
                "Apply" => Identity::applier(manager, text("subresource")),
                "Update" => Identity::updater(manager, api_version, text("subresource")),
                _ => return None,
            };
            if text("fieldsType") != Some("FieldsV1") {
                return None;
            }
            let fields = match entry.get("fieldsV1") {
                None | Some(Value::Null) => OwnedFields::Read(FieldSet::default()),
                Some(fields) => read_fields(fields)?,
            };
            let ownership = Ownership {
                fields,
                api_version: api_version.to_owned(),
                time: text("time").map(str::to_owned),
            };
            managers.insert(identity, ownership);
        }
        Some(Self(managers))
    }

    /// Writes the managed fields into an object.
    pub(super) fn write(mut self, object: &mut Value) {
        self.0.retain(|_, ownership| !ownership.fields.is_empty());
        self.put_old_updaters_together();
        let mut owners: Vec<_> = self.0.into_iter().collect();
        owners.sort_by(|(one, one_owns), (other, other_owns)| {
            let key =
                |identity: &Identity| (identity.manager.clone(), identity.subresource.clone());
            (one.operation, &one_owns.time, key(one)).cmp(&(
                other.operation,
                &other_owns.time,
                key(other),
            ))
        });
        let entries: Vec<Value> = owners
            .into_iter()
            .map(|(identity, ownership)| entry(&identity, ownership))
            .collect();
        set_managed_fields(object, entries);
    }

    /// Takes the fields of `set` from all owners but `except`.
    pub(super) fn release(&mut self, set: &FieldSet, except: Option<&Identity>) {
        for (identity, ownership) in &mut self.0 {
            if Some(identity) != except {
                ownership.fields.remove(set);
            }
        }
    }

    fn put_old_updaters_together(&mut self) {
        let mut updaters: Vec<_> = self
            .0
            .iter()
            .filter(|(identity, _)| identity.operation == Operation::Update)
            .map(|(identity, ownership)| (ownership.time.clone(), identity.clone()))
            .collect();
        updaters.sort();
        let mut count = updaters.len();
        let mut oldest_of_version: BTreeMap<String, Identity> = BTreeMap::new();
        for (_, identity) in updaters {
            if count <= MAX_UPDATERS {
                return;
            }
            let version = identity.api_version.clone();
            let Some(oldest) = oldest_of_version.get(&version) else {
                oldest_of_version.insert(version, identity);
                continue;
            };
            let bucket = Identity::updater(ANCIENT_CHANGES, &version, None);
            if identity == bucket {
                continue;
            }
            let first = self.0.remove(&bucket).or_else(|| self.0.remove(oldest));
            if let (Some(first), Some(mut merged)) = (first, self.0.remove(&identity)) {
                let together = merged.fields.set().union(&first.fields.set());
                merged.fields = OwnedFields::Read(together);
                self.0.insert(bucket, merged);
                count -= 1;
            }
        }
    }
}

/// The managed fields of an object as they are written.
pub(super) fn managed_fields(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get("managedFields")
}

fn entry(identity: &Identity, ownership: Ownership) -> Value {
    let mut entry = json!({
        "manager": identity.manager,
        "operation": identity.operation.as_str(),
        "apiVersion": ownership.api_version,
    });
    if let Some(time) = ownership.time {
        entry["time"] = Value::from(time);
    }
    entry["fieldsType"] = Value::from("FieldsV1");
    entry["fieldsV1"] = ownership.fields.into_fields_v1();
    if !identity.subresource.is_empty() {
        entry["subresource"] = Value::from(identity.subresource.as_str());
    }
    entry
}

/// Puts managed fields into the metadata of an object, or takes them out if there are none.
fn set_managed_fields(object: &mut Value, entries: Vec<Value>) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    if entries.is_empty() {
        if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
            metadata.shift_remove("managedFields");
        }
        return;
    }
    let metadata = fields
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(metadata) = metadata {
        metadata.insert("managedFields".to_owned(), Value::Array(entries));
    }
}
