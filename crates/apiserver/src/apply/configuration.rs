//! Applying a configuration.

use serde_json::{Value, json};

use super::compare::{Comparison, compare};
use super::error::{ApplyError, Conflict};
use super::field_set::FieldSet;
use super::last_applied;
use super::managers::{Identity, Managers, OwnedFields, Ownership, UNOWNED_FIELDS};
use super::merge::merge;
use super::owned::{fields_of, problem};
use super::remove::remove;
use super::tracking::{UpdateRequest, own_everything};
use super::types::TypeInfo;
use crate::schema::MergeType;

/// The owner of what was in an object before it was applied for the first time.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// A request to apply a configuration.
#[derive(Debug, Clone)]
pub struct ApplyRequest {
    /// The name of the applier (`fieldManager`).
    pub manager: String,
    /// Whether fields are taken from other owners instead of failing.
    pub force: bool,
    /// The subresource that is written, `None` for the object itself.
    pub subresource: Option<String>,
    /// The API version of the configuration, for example `apps/v1`.
    pub api_version: String,
    /// The present time in RFC 3339, to the second.
    pub now: String,
    /// Dotted paths of fields that this request cannot set, as the server resets them:
    /// `status` for an object with a status subresource, `spec` and `metadata` for the
    /// status of a custom resource.
    pub reset_fields: Vec<String>,
}

/// Applies a configuration to the live object, or creates one, and gives the new object
/// with its managed fields. The configuration has only what the applier wants to own; it is
/// neither defaulted nor pruned.
///
/// If nothing changes, managed fields included, the result equals `live`.
///
/// # Errors
/// [`ApplyError::Conflicts`] if others own fields that would change and `force` is not set;
/// [`ApplyError::BadRequest`] if the configuration has managed fields;
/// [`ApplyError::Invalid`] if it does not fit the type.
pub fn apply(
    live: Option<&Value>,
    applied: &Value,
    request: &ApplyRequest,
    types: &TypeInfo,
) -> Result<Value, ApplyError> {
    if applied
        .pointer("/metadata/managedFields")
        .is_some_and(|fields| !fields.is_null())
    {
        return Err(ApplyError::BadRequest(
            "metadata.managedFields must be nil".into(),
        ));
    }
    let merge_type = &*types.merge_type;
    if let Some(problem) = problem(applied, merge_type, "") {
        return Err(ApplyError::Invalid(format!(
            "({}): {problem}",
            identify(applied)
        )));
    }
    let mut managers = owners_before(live, request, types);
    let live = without_managed_fields(live);
    let configuration = settable_part(applied, request, merge_type);
    let identity = Identity::applier(&request.manager, request.subresource.as_deref());
    let before = managers.0.remove(&identity);
    let claimed = fields_of(&configuration, merge_type).difference(&UNOWNED_FIELDS);
    let abandoned = match &before {
        Some(before) => before.fields.set().into_owned().difference(&claimed),
        None => FieldSet::default(),
    };
    managers.0.insert(
        identity.clone(),
        Ownership {
            fields: OwnedFields::Read(claimed),
            api_version: request.api_version.clone(),
            time: before.as_ref().and_then(|before| before.time.clone()),
        },
    );

    let merged = merge(&live, &configuration, merge_type);
    let mut result = match &before {
        Some(before) if !abandoned.is_empty() => {
            drop_abandoned(&merged, &before.fields.set(), &managers, merge_type)
        }
        _ => merged,
    };
    let comparison = compare(&live, &result, merge_type);
    let own = last_applied::fields_owned_by_client(&request.manager, &live, merge_type);
    let conflicts = conflicts(&managers, &identity, &comparison, &own);
    if !conflicts.is_empty() && !request.force {
        return Err(ApplyError::Conflicts(conflicts));
    }
    let changed = comparison
        .added
        .union(&comparison.modified)
        .union(&comparison.removed);
    managers.release(&changed, Some(&identity));
    if let Some(ownership) = managers.0.get_mut(&identity)
        && (!comparison.is_same() || ownership.time.is_none())
    {
        ownership.time = Some(request.now.clone());
    }
    managers.write(&mut result);
    last_applied::update_annotation(&request.manager, applied, &mut result);
    Ok(result)
}

/// A configuration, as errors name it.
fn identify(configuration: &Value) -> String {
    let text = |pointer: &str| {
        configuration
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    format!(
        "{}/{}; {}, Kind={}",
        text("/metadata/namespace"),
        text("/metadata/name"),
        text("/apiVersion"),
        text("/kind")
    )
}

/// The owners of the live object. One that nobody kept track of belongs to those before.
fn owners_before(live: Option<&Value>, request: &ApplyRequest, types: &TypeInfo) -> Managers {
    let Some(live) = live else {
        return Managers::default();
    };
    let managers = Managers::of_stored(live);
    if !managers.0.is_empty() {
        return managers;
    }
    let request = UpdateRequest {
        manager: BEFORE_FIRST_APPLY.into(),
        subresource: None,
        api_version: request.api_version.clone(),
        now: request.now.clone(),
        reset_fields: Vec::new(),
    };
    own_everything(&without_managed_fields(Some(live)), &request, types)
}

fn without_managed_fields(object: Option<&Value>) -> Value {
    let mut object = object.cloned().unwrap_or_else(|| json!({}));
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.shift_remove("managedFields");
    }
    object
}

/// The configuration without what the request cannot set.
fn settable_part(applied: &Value, request: &ApplyRequest, merge_type: &MergeType) -> Value {
    let reset = FieldSet::of_fields(request.reset_fields.iter().map(String::as_str));
    let mut configuration = remove(applied, &reset, merge_type);
    // Serialised objects carry an empty time of creation.
    if let Some(Value::Object(metadata)) = configuration.get_mut("metadata") {
        metadata.retain(|name, value| name != "creationTimestamp" || !value.is_null());
    }
    configuration
}

/// Removes what the applier owned before and nobody owns now.
fn drop_abandoned(
    merged: &Value,
    owned_before: &FieldSet,
    managers: &Managers,
    merge_type: &MergeType,
) -> Value {
    let owned_before = owned_before.with_named_parents(merge_type);
    let all = fields_of(merged, merge_type).with_named_parents(merge_type);
    let left_in = |object: &Value| fields_of(object, merge_type).with_named_parents(merge_type);
    let owned_now = managers
        .0
        .values()
        .fold(FieldSet::default(), |owned, ownership| {
            owned.union(&ownership.fields.set())
        })
        .with_named_parents(merge_type);

    let pruned = remove(merged, &owned_before, merge_type);
    // Parents went with their children: what others own comes back …
    let kept = left_in(&pruned).union(&owned_now);
    let pruned = remove(merged, &all.clone().difference(&kept), merge_type);
    // … and so does what nobody ever owned.
    let abandoned = all
        .difference(&left_in(&pruned))
        .intersection(&owned_before);
    remove(merged, &abandoned, merge_type)
}

/// The changed fields that others own. `own` are fields that belong to the applier,
/// whatever the entries say.
fn conflicts(
    managers: &Managers,
    applier: &Identity,
    comparison: &Comparison,
    own: &FieldSet,
) -> Vec<Conflict> {
    let changed = comparison.added.union(&comparison.modified).difference(own);
    managers
        .0
        .iter()
        .filter(|(identity, _)| *identity != applier)
        .flat_map(|(identity, ownership)| {
            let manager = identity.in_words();
            ownership
                .fields
                .intersection(&changed)
                .paths()
                .into_iter()
                .map(move |field| Conflict {
                    manager: manager.clone(),
                    field,
                })
        })
        .collect()
}
