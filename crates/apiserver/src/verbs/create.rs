//! POST of an object.

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::access::{self, Attributes, Resource};
use crate::answer::Answer;
use crate::api::{self, Scope};
use crate::managed::Writer;
use crate::objects;
use crate::registry::Kind;
use crate::request::options::WriteOptions;
use crate::status::{Cause, ResourceName, Status};

use super::{decode, write};

/// Makes an object.
pub async fn create(scope: &Scope<'_>) -> Result<Answer, Status> {
    if scope.kind.custom().is_some_and(|custom| custom.terminating) {
        return Err(Status::definition_terminating());
    }
    let options = WriteOptions::read(&scope.request.query, "CreateOptions")?;
    let decoded = decode::body(&scope.kind, scope.request, options.field_validation)?;
    let name = decoded.object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    check_namespace(&scope.kind, scope.namespace(), &decoded.object)?;
    admit(scope, &name).await?;
    access::check_escalation(scope, None, &decoded.object)?;
    let agent = scope.request.default_manager();
    let writer = Writer {
        manager: options.field_manager.as_deref().unwrap_or(&agent),
        subresource: None,
    };
    let value = write::create(
        scope.api,
        &scope.kind,
        scope.namespace(),
        decoded.object,
        Some(writer),
        options.dry_run,
    )
    .await?;
    let mut warnings = decoded.warnings;
    warnings.extend(objects::warnings::of_object(&scope.kind, &value));
    Ok(Answer::Object {
        code: StatusCode::CREATED,
        kind: scope.kind.clone(),
        value,
        warnings,
    })
}

/// The namespace of the body, if it names one, is that of the path.
///
/// # Errors
/// 400 if it is another one.
pub fn check_namespace(kind: &Kind, namespace: Option<&str>, object: &Value) -> Result<(), Status> {
    let given = object["metadata"]["namespace"].as_str().unwrap_or_default();
    if !kind.namespaced || given.is_empty() || Some(given) == namespace {
        return Ok(());
    }
    Err(Status::bad_request(
        "the namespace of the provided object does not match the namespace sent on the request",
    ))
}

/// Requests that make an object if there is none need the right to make it.
///
/// # Errors
/// 403.
pub fn authorize(scope: &Scope<'_>, name: &str) -> Result<(), Status> {
    let wanted = Resource {
        verb: "create",
        group: &scope.kind.group,
        resource: &scope.kind.plural,
        subresource: "",
        namespace: scope.namespace().unwrap_or_default(),
        name,
    };
    let identity = &scope.request.identity;
    scope
        .api
        .access
        .check(identity, &Attributes::Resource(wanted))
}

/// What says of a namespace whether it goes away.
#[derive(Deserialize)]
struct Namespace {
    metadata: NamespaceMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamespaceMetadata {
    deletion_timestamp: Option<String>,
}

/// Nothing is created in a namespace that does not exist or is going away.
///
/// # Errors
/// 404 or 403.
pub async fn admit(scope: &Scope<'_>, name: &str) -> Result<(), Status> {
    let Some(namespace) = scope.namespace() else {
        return Ok(());
    };
    let namespaces = ResourceName {
        group: "",
        resource: "namespaces",
    };
    let key = format!("/namespaces/{namespace}");
    let stored = scope
        .api
        .storage
        .get(&key)
        .await
        .map_err(|error| api::storage_failed(&error))?
        .ok_or_else(|| Status::not_found(namespaces, namespace))?;
    // Nothing else of it is read: this is done for every object that is made.
    let found: Namespace = serde_json::from_slice(&stored.value)
        .map_err(|error| Status::internal(format!("cannot read {key}: {error}")))?;
    if found.metadata.deletion_timestamp.is_none() {
        return Ok(());
    }
    let why = format!(
        "unable to create new content in namespace {namespace} because it is being terminated"
    );
    let mut status = Status::forbidden(scope.kind.resource_name(), name, why);
    status.details.causes.push(Cause::new(
        "metadata.namespace",
        "NamespaceTerminating",
        format!("namespace {namespace} is being terminated"),
    ));
    Err(status)
}
