//! GET of one object.

use http::StatusCode;
use serde_json::Value;

use crate::answer::Answer;
use crate::api::{self, Scope};
use crate::status::Status;
use crate::storage::Stored;

/// Reads an object.
pub async fn get(scope: &Scope<'_>, name: &str) -> Result<Answer, Status> {
    let (_, value) = read(scope, name).await?;
    Ok(Answer::Object {
        code: StatusCode::OK,
        kind: scope.kind.clone(),
        value,
        warnings: Vec::new(),
    })
}

/// What is stored under a name of the scope's collection.
///
/// # Errors
/// 404 if there is nothing.
pub async fn read(scope: &Scope<'_>, name: &str) -> Result<(Stored, Value), Status> {
    let stored = scope
        .api
        .storage
        .get(&scope.key(name))
        .await
        .map_err(|error| api::storage_failed(&error))?
        .ok_or_else(|| Status::not_found(scope.kind.resource_name(), name))?;
    let value = api::decode(&scope.kind, &stored)?;
    Ok((stored, value))
}
