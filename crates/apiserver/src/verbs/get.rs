//! GET of one object.

use http::StatusCode;
use serde_json::Value;

use crate::answer::Answer;
use crate::api::{self, Scope};
use crate::request::options::version;
use crate::status::Status;
use crate::storage::{Revision, Stored};

/// Reads an object.
pub async fn get(scope: &Scope<'_>, name: &str) -> Result<Answer, Status> {
    if let Some(wanted) = version(&scope.request.query)? {
        let current = scope.api.storage.revision().await;
        check_reached(
            wanted,
            current.map_err(|error| api::storage_failed(&error))?,
        )?;
    }
    let (_, value) = read(scope, name).await?;
    Ok(Answer::Object {
        code: StatusCode::OK,
        kind: scope.kind.clone(),
        value,
        warnings: Vec::new(),
    })
}

/// What is wanted at least must have happened.
fn check_reached(wanted: Revision, current: Revision) -> Result<(), Status> {
    if wanted > current {
        return Err(Status::too_large_resource_version(wanted, current));
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_the_future_cannot_be_read() {
        assert!(check_reached(0, 5).is_ok() && check_reached(5, 5).is_ok());
        assert_eq!(check_reached(6, 5).unwrap_err().code, 504);
    }
}
