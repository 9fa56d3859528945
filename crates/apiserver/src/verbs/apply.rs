//! Server-side apply of an object or of its status.

use http::StatusCode;
use serde_json::{Value, json};

use crate::access;
use crate::answer::Answer;
use crate::api::{self, Scope};
use crate::managed::{self, Writer};
use crate::registry::Source;
use crate::request::body::Document;
use crate::status::Status;

use super::decode::{self, Decoded, Refusal};
use super::patch::Patch;
use super::write::{self, Attempts, Update, WriteError};
use super::{create, update};

/// Applies a configuration; makes the object if there is none.
pub async fn apply(
    scope: &Scope<'_>,
    name: &str,
    subresource: Option<&str>,
    patch: &Patch,
) -> Result<Answer, Status> {
    let kind = &scope.kind;
    let applied = configuration(scope, name, patch)?;
    let writer = Writer {
        manager: patch.options.field_manager.as_deref().unwrap_or_default(),
        subresource,
    };
    let force = patch.options.force == Some(true);
    let dry_run = patch.options.dry_run;
    let key = scope.key(name);
    let mut attempts = Attempts::default();
    loop {
        let attempt = async {
            let stored = scope
                .api
                .storage
                .get(&key)
                .await
                .map_err(|error| api::storage_failed(&error))?;
            let answer = |code, value, warnings| Answer::Object {
                code,
                kind: kind.clone(),
                value,
                warnings,
            };
            let Some(stored) = stored else {
                if subresource.is_some() {
                    return Err(Status::not_found(kind.resource_name(), name).into());
                }
                let uid = applied["metadata"]["uid"].as_str().unwrap_or_default();
                if !uid.is_empty() {
                    let why = format!(
                        "uid mismatch: the provided object specified uid {uid}, and no existing \
                         object was found"
                    );
                    return Err(Status::conflict(kind.resource_name(), name, why).into());
                }
                create::authorize(scope, name)?;
                create::admit(scope, name).await?;
                let mut merged = managed::apply(kind, None, &applied, &writer, force)?;
                // Unlike a POST, which is refused, it makes the object nevertheless.
                if let Some(metadata) = merged["metadata"].as_object_mut() {
                    metadata.shift_remove("resourceVersion");
                }
                let Decoded { object, warnings } = complete(scope, merged, patch)?;
                access::check_escalation(scope, None, &object)?;
                let namespace = scope.namespace();
                let created =
                    write::create(scope.api, kind, namespace, object, None, dry_run).await;
                return match created {
                    Ok(value) => Ok(answer(StatusCode::CREATED, value, warnings)),
                    // Somebody else has made it meanwhile.
                    Err(status) if status.reason == "AlreadyExists" && !dry_run => {
                        Err(WriteError::Disturbed)
                    }
                    Err(status) => Err(status.into()),
                };
            };
            let old = api::decode(kind, &stored)?;
            let merged = managed::apply(kind, Some(&old), &applied, &writer, force)?;
            let Decoded { object, warnings } = complete(scope, merged, patch)?;
            access::check_escalation(scope, Some(&old), &object)?;
            let wanted = Update {
                kind,
                stored: &stored,
                old: &old,
                new: object,
                subresource,
                uid_is_precondition: false,
                writer: None,
                dry_run,
            };
            let value = write::update(scope.api, wanted).await?;
            Ok(answer(StatusCode::OK, value, warnings))
        };
        if let Some(done) = attempts.settle(kind, name, attempt.await)? {
            return Ok(done);
        }
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_str().unwrap_or_default().is_empty()
}

/// The applied configuration, checked.
fn configuration(scope: &Scope<'_>, name: &str, patch: &Patch) -> Result<Value, Status> {
    let kind = &scope.kind;
    let mut value = patch.document.value.clone();
    let (version, given) = (value["apiVersion"].as_str(), value["kind"].as_str());
    if version != Some(&kind.api_version()) || given != Some(&kind.kind) {
        let version = version.unwrap_or_default();
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        return Err(Status::bad_request(format!(
            "invalid object type: {group}/{version}, Kind={}",
            given.unwrap_or_default()
        )));
    }
    if !value["metadata"].is_object() {
        value["metadata"] = json!({});
    }
    if is_empty(&value["metadata"]["name"]) {
        value["metadata"]["name"] = name.into();
    }
    update::check_name(name, value["metadata"]["name"].as_str().unwrap_or_default())?;
    create::check_namespace(kind, scope.namespace(), &value)?;
    if let Source::BuiltIn(built_in) = &kind.source {
        let decoded = built_in
            .decode(&mut value.clone())
            .map_err(Status::bad_request)?;
        if let Some(field) = decoded.unknown.first() {
            return Err(Status::bad_request(format!(
                "failed to create typed patch object ({}/{name}; {}, Kind={}): .{field}: field not \
                 declared in schema",
                scope.namespace().unwrap_or_default(),
                kind.api_version(),
                kind.kind
            )));
        }
    }
    Ok(value)
}

/// Defaults after an apply.
fn complete(scope: &Scope<'_>, merged: Value, patch: &Patch) -> Result<Decoded, Status> {
    let document = Document {
        value: merged,
        duplicates: patch.document.duplicates.clone(),
    };
    decode::object(&scope.kind, document, patch.options.field_validation)
        .map_err(|(Refusal::Type(why) | Refusal::Strict(why))| Status::bad_request(why))
}
