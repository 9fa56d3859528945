//! Ownership by creations, updates and patches.

use serde_json::{Value, json};

use super::compare::{Comparison, compare};
use super::field_set::FieldSet;
use super::managers::{Identity, Managers, OwnedFields, Ownership, UNOWNED_FIELDS, managed_fields};
use super::types::TypeInfo;

/// A write that is not an apply.
#[derive(Debug, Clone)]
pub struct UpdateRequest {
    /// The name of the writer: `fieldManager`, or else the first word of the user agent.
    pub manager: String,
    /// The subresource that is written, `None` for the object itself.
    pub subresource: Option<String>,
    /// The API version that the writer uses, for example `apps/v1`.
    pub api_version: String,
    /// The present time in RFC 3339, to the second.
    pub now: String,
    /// Dotted paths of fields that this request cannot set, as the server resets them, for
    /// example `status` for an object with a status subresource.
    pub reset_fields: Vec<String>,
}

/// Notes in `after`'s managed fields who wrote what has changed since `before`, which is
/// nothing for a creation.
///
/// Managed fields that a client sends are taken instead of the stored ones if they can be
/// understood, except through a subresource; the list `[{}]` removes them all. Objects
/// without managed fields stay so until they are applied.
///
/// Call it with the defaulted object, before the server sets fields of its own. If nothing
/// changes, entries and times stay as they are.
pub fn track_update(
    before: Option<&Value>,
    after: &mut Value,
    request: &UpdateRequest,
    types: &TypeInfo,
) {
    let managers = managers_of_update(before, after, request);
    if before.is_some() && managers.0.is_empty() {
        return managers.write(after);
    }
    let reset = FieldSet::of_fields(request.reset_fields.iter().map(String::as_str));
    let comparison = changes(before, after, types).without(&reset);
    let identity = Identity::updater(
        &request.manager,
        &request.api_version,
        request.subresource.as_deref(),
    );
    own_changes(managers, identity, comparison, request).write(after);
}

/// The owners from which an update starts.
fn managers_of_update(before: Option<&Value>, after: &Value, request: &UpdateRequest) -> Managers {
    let stored = || before.map(Managers::of_stored).unwrap_or_default();
    let sent = managed_fields(after);
    if request.subresource.is_some() || sent == before.and_then(managed_fields) {
        return stored();
    }
    if sent == Some(&json!([{}])) {
        return Managers::default();
    }
    let sent = Managers::of_client(after);
    if sent.0.is_empty() { stored() } else { sent }
}

/// What a write changes.
fn changes(before: Option<&Value>, after: &Value, types: &TypeInfo) -> Comparison {
    let nothing = json!({});
    let before = types.complete(before.unwrap_or(&nothing));
    compare(&before, &types.complete(after), &types.merge_type)
}

/// Makes a writer the only owner of what it changed.
fn own_changes(
    mut managers: Managers,
    identity: Identity,
    comparison: Comparison,
    request: &UpdateRequest,
) -> Managers {
    let written = comparison.added.and(comparison.modified);
    managers.release(&written, Some(&identity));
    managers.release(&comparison.removed, None);
    let written = written.difference(&UNOWNED_FIELDS);
    if written.is_empty() {
        return managers;
    }
    let fields = match managers.0.remove(&identity) {
        Some(before) => before.fields.and(written),
        None => OwnedFields::Read(written),
    };
    let ownership = Ownership {
        fields,
        api_version: request.api_version.clone(),
        time: Some(request.now.clone()),
    };
    managers.0.insert(identity, ownership);
    managers
}

/// Ownership of an object that has been written before anybody kept track of it.
pub(super) fn own_everything(
    object: &Value,
    request: &UpdateRequest,
    types: &TypeInfo,
) -> Managers {
    let identity = Identity::updater(&request.manager, &request.api_version, None);
    own_changes(
        Managers::default(),
        identity,
        changes(None, object, types),
        request,
    )
}
