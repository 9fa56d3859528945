//! PATCH of an object or of its status, in all four forms.

use http::StatusCode;
use serde_json::Value;

use crate::access;
use crate::answer::Answer;
use crate::api::{self, Scope};
use crate::managed::Writer;
use crate::patch::{self as patches, MergeKeys, PatchError};
use crate::registry::Kind;
use crate::request::body::{self, Document};
use crate::request::media::{self, Encoding, PatchKind};
use crate::request::options::{FieldValidation, WriteOptions};
use crate::status::{Cause, Status};

use super::decode::{self, Decoded, Refusal};
use super::write::{self, Attempts, Update};
use super::{apply, create, update};

/// A patch, read but not applied.
#[derive(Debug)]
pub struct Patch {
    /// Its form.
    pub kind: PatchKind,
    /// The document.
    pub document: Document,
    /// The options of the request.
    pub options: WriteOptions,
}

/// Changes an object, or a part of it.
pub async fn patch(
    scope: &Scope<'_>,
    name: &str,
    subresource: Option<&str>,
) -> Result<Answer, Status> {
    let patch = read(scope)?;
    if patch.kind == PatchKind::Apply {
        return apply::apply(scope, name, subresource, &patch).await;
    }
    let kind = &scope.kind;
    let agent = scope.request.default_manager();
    let writer = Writer {
        manager: patch.options.field_manager.as_deref().unwrap_or(&agent),
        subresource,
    };
    let key = scope.key(name);
    let mut attempts = Attempts::default();
    loop {
        let attempt = async {
            let stored = scope
                .api
                .storage
                .get(&key)
                .await
                .map_err(|error| api::storage_failed(&error))?
                .ok_or_else(|| Status::not_found(kind.resource_name(), name))?;
            let old = api::decode(kind, &stored)?;
            let Decoded { object, warnings } =
                decode_patched(scope, &patch, patched(&patch, &old, kind)?)?;
            update::check_name(
                name,
                object["metadata"]["name"].as_str().unwrap_or_default(),
            )?;
            create::check_namespace(kind, scope.namespace(), &object)?;
            access::check_escalation(scope, Some(&old), &object)?;
            let wanted = Update {
                kind,
                stored: &stored,
                old: &old,
                new: object,
                subresource,
                uid_is_precondition: false,
                writer: Some(writer.clone()),
                dry_run: patch.options.dry_run,
            };
            let value = write::update(scope.api, wanted).await?;
            Ok(Answer::Object {
                code: StatusCode::OK,
                kind: kind.clone(),
                value,
                warnings,
            })
        };
        if let Some(done) = attempts.settle(kind, name, attempt.await)? {
            return Ok(done);
        }
    }
}

/// Reads a patch and its options.
///
/// # Errors
/// 400, 415 or 422.
pub fn read(scope: &Scope<'_>) -> Result<Patch, Status> {
    let content_type = scope.request.header(&http::header::CONTENT_TYPE);
    let kind = media::patch_kind(content_type, scope.kind.custom().is_some())?;
    let options = WriteOptions::read(&scope.request.query, "PatchOptions")?;
    let mut causes = Vec::new();
    if kind == PatchKind::Apply && options.field_manager.is_none() {
        causes.push(Cause::required(
            "fieldManager",
            "is required for apply patch",
        ));
    }
    if kind != PatchKind::Apply && options.force.is_some() {
        causes.push(Cause::forbidden(
            "force",
            "may not be specified for non-apply patch",
        ));
    }
    if !causes.is_empty() {
        return Err(Status::invalid_options("PatchOptions", causes));
    }
    let bytes = &scope.request.body;
    let document = match kind {
        // JSON is YAML too, and what most clients send.
        PatchKind::Apply => body::parse(bytes, Encoding::Json)
            .or_else(|_| body::parse(bytes, Encoding::Yaml))
            .map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))?,
        _ => body::parse(bytes, Encoding::Json)
            .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?,
    };
    let fits = match kind {
        PatchKind::Json => document.value.is_array(),
        _ => document.value.is_object(),
    };
    if !fits {
        let wanted = if kind == PatchKind::Json {
            "an array"
        } else {
            "an object"
        };
        return Err(Status::bad_request(format!(
            "error decoding patch: it must be {wanted}"
        )));
    }
    Ok(Patch {
        kind,
        document,
        options,
    })
}

/// Applies a patch to a document; `kind` gives the merge keys.
///
/// # Errors
/// What is wrong with the patch.
pub fn patched(patch: &Patch, old: &Value, kind: &Kind) -> Result<Value, Status> {
    let document = &patch.document.value;
    let result = match patch.kind {
        PatchKind::Json => patches::json(old, document),
        PatchKind::Strategic => {
            patches::strategic(old, document, &MergeKeys::for_kind(&kind.group, &kind.kind))
        }
        PatchKind::Merge | PatchKind::Apply => {
            let mut merged = old.clone();
            patches::merge(&mut merged, document);
            Ok(merged)
        }
    };
    result.map_err(|error| match error {
        PatchError::TooManyOperations { .. } => Status::too_large(error.to_string()),
        PatchError::Malformed(why) => Status::bad_request(why),
        PatchError::Inapplicable(_) => Status::rejected_patch(),
        PatchError::Unmergeable(why) => Status::invalid_patch(document, why),
    })
}

/// The result of a patch must be an object of the kind.
fn decode_patched(scope: &Scope<'_>, patch: &Patch, result: Value) -> Result<Decoded, Status> {
    if !result.is_object() {
        return Err(Status::invalid_patch(
            &result,
            "the result is not an object",
        ));
    }
    check_type(&scope.kind, patch.kind, &result)?;
    let surplus = match patch.kind {
        PatchKind::Json => patches::unknown_members(&patch.document.value),
        _ => Vec::new(),
    };
    let shown = result.clone();
    let document = Document {
        value: result,
        duplicates: patch.document.duplicates.clone(),
    };
    match decode::object(&scope.kind, document, patch.options.field_validation) {
        Ok(mut decoded) => match patch.options.field_validation {
            FieldValidation::Ignore => Ok(decoded),
            FieldValidation::Strict if !surplus.is_empty() => {
                let why = format!("strict decoding error: {}", surplus.join(", "));
                Err(Status::invalid_patch(&shown, why))
            }
            _ => {
                decoded.warnings.splice(0..0, surplus);
                Ok(decoded)
            }
        },
        Err(Refusal::Type(why) | Refusal::Strict(why)) => Err(Status::invalid_patch(&shown, why)),
    }
}

/// A patch cannot turn an object into one of another kind. A strategic merge works on an object
/// whose kind is known, and passes over what the patch says about it.
fn check_type(kind: &Kind, form: PatchKind, result: &Value) -> Result<(), Status> {
    if form == PatchKind::Strategic {
        return Ok(());
    }
    let text = |name: &str| result[name].as_str().unwrap_or_default();
    let (api_version, given) = (text("apiVersion"), text("kind"));
    if given.is_empty() {
        return Err(Status::invalid_patch(result, "Object 'Kind' is missing"));
    }
    let version_differs = api_version != kind.api_version();
    if given == kind.kind && !version_differs {
        return Ok(());
    }
    if kind.custom().is_none() {
        let why = format!("no kind {given:?} is registered for version {api_version:?} here");
        return Err(Status::invalid_patch(result, why));
    }
    let mut causes = Vec::new();
    if given != kind.kind {
        causes.push(decode::wrong_kind(kind, given));
    }
    if version_differs {
        let why = format!("must be {}", kind.api_version());
        causes.push(Cause::invalid("apiVersion", &api_version.into(), why));
    }
    let name = result["metadata"]["name"].as_str().unwrap_or_default();
    Err(Status::invalid(kind.kind_name(), name, causes))
}
