//! Managed fields: who wrote what. Says for each kind and endpoint what [`crate::apply`] needs to
//! know.

use serde_json::Value;

use crate::api;
use crate::apply::{self, ApplyError, ApplyRequest, TypeInfo, UpdateRequest};
use crate::registry::Kind;
use crate::status::{Cause, Status};

/// Who writes.
#[derive(Clone, Debug)]
pub struct Writer<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// The subresource that is written.
    pub subresource: Option<&'a str>,
}

/// Notes what a creation or update changed.
pub fn track_update(kind: &Kind, before: Option<&Value>, after: &mut Value, writer: &Writer<'_>) {
    let Some(types) = types(kind) else { return };
    let request = UpdateRequest {
        manager: writer.manager.to_owned(),
        subresource: writer.subresource.map(str::to_owned),
        api_version: kind.api_version(),
        now: api::now(),
        reset_fields: reset_fields(kind, writer.subresource, after),
    };
    apply::track_update(before, after, &request, &types);
}

/// Merges an applied configuration into the live object.
///
/// # Errors
/// 409 if others own what would change, 400 if the configuration does not fit the kind.
pub fn apply(
    kind: &Kind,
    live: Option<&Value>,
    applied: &Value,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, Status> {
    let types = types(kind)
        .ok_or_else(|| Status::bad_request(format!("{} cannot be applied", kind.kind)))?;
    let request = ApplyRequest {
        manager: writer.manager.to_owned(),
        force,
        subresource: writer.subresource.map(str::to_owned),
        api_version: kind.api_version(),
        now: api::now(),
        reset_fields: reset_fields(kind, writer.subresource, applied),
    };
    let merged = apply::apply(live, applied, &request, &types).map_err(|error| match &error {
        ApplyError::Conflicts(conflicts) => {
            let cause = |conflict: &apply::Conflict| {
                Cause::new(
                    &conflict.field,
                    "FieldManagerConflict",
                    conflict.to_string(),
                )
            };
            Status::apply_conflict(error.to_string(), conflicts.iter().map(cause).collect())
        }
        ApplyError::BadRequest(_) | ApplyError::Invalid(_) => {
            Status::bad_request(error.to_string())
        }
    });
    let mut merged = merged?;
    // Such a status is there from the beginning, but its applier does not own it.
    if live.is_none() && kind.behaviour.keeps_status_on_create && !applied["status"].is_null() {
        merged["status"] = applied["status"].clone();
    }
    Ok(merged)
}

fn types(kind: &Kind) -> Option<TypeInfo> {
    match kind.custom() {
        Some(custom) => custom.schema.as_ref().map(TypeInfo::for_custom_resource),
        None => Some(TypeInfo::for_kind(&kind.group, &kind.kind)),
    }
}

/// The fields that an endpoint does not write, so that writing them owns nothing.
fn reset_fields(kind: &Kind, subresource: Option<&str>, object: &Value) -> Vec<String> {
    match subresource {
        Some("status") => {
            let metadata = if kind.custom().is_some() {
                ""
            } else {
                "metadata"
            };
            let written = ["apiVersion", "kind", "status", metadata];
            let fields = object
                .as_object()
                .into_iter()
                .flatten()
                .map(|(field, _)| field);
            fields
                .filter(|field| !written.contains(&field.as_str()))
                .cloned()
                .collect()
        }
        None if kind.has_status() => vec!["status".to_owned()],
        _ => Vec::new(),
    }
}
