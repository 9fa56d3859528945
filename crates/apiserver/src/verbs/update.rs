//! PUT of an object or of its status.

use http::StatusCode;

use crate::access;
use crate::answer::Answer;
use crate::api::{self, Scope};
use crate::managed::Writer;
use crate::request::options::WriteOptions;
use crate::status::Status;

use super::write::{self, Attempts, Update, WriteError};
use super::{create, decode};

/// Replaces an object, or a part of it.
pub async fn update(
    scope: &Scope<'_>,
    name: &str,
    subresource: Option<&str>,
) -> Result<Answer, Status> {
    let kind = &scope.kind;
    let options = WriteOptions::read(&scope.request.query, "UpdateOptions")?;
    let decoded = decode::body(kind, scope.request, options.field_validation)?;
    check_name(
        name,
        decoded.object["metadata"]["name"]
            .as_str()
            .unwrap_or_default(),
    )?;
    create::check_namespace(kind, scope.namespace(), &decoded.object)?;
    let agent = scope.request.default_manager();
    let writer = Writer {
        manager: options.field_manager.as_deref().unwrap_or(&agent),
        subresource,
    };
    let answer = |code, value| Answer::Object {
        code,
        kind: kind.clone(),
        value,
        warnings: decoded.warnings.clone(),
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
                .map_err(|error| api::storage_failed(&error))?;
            let Some(stored) = stored else {
                if !kind.behaviour.creates_on_update || subresource.is_some() {
                    return Err(Status::not_found(kind.resource_name(), name).into());
                }
                create::authorize(scope, name)?;
                create::admit(scope, name).await?;
                access::check_escalation(scope, None, &decoded.object)?;
                let object = decoded.object.clone();
                let (namespace, dry_run) = (scope.namespace(), options.dry_run);
                let writer = Some(writer.clone());
                let value =
                    write::create(scope.api, kind, namespace, object, writer, dry_run).await?;
                return Ok(answer(StatusCode::CREATED, value));
            };
            let old = api::decode(kind, &stored)?;
            access::check_escalation(scope, Some(&old), &decoded.object)?;
            let wanted = Update {
                kind,
                stored: &stored,
                old: &old,
                new: decoded.object.clone(),
                subresource,
                uid_is_precondition: true,
                writer: Some(writer.clone()),
                dry_run: options.dry_run,
            };
            let value = write::update(scope.api, wanted).await?;
            Ok::<_, WriteError>(answer(StatusCode::OK, value))
        };
        if let Some(done) = attempts.settle(kind, name, attempt.await)? {
            return Ok(done);
        }
    }
}

/// The name of the body is that of the path.
///
/// # Errors
/// 400 if it is missing or another one.
pub fn check_name(name: &str, given: &str) -> Result<(), Status> {
    if given == name {
        return Ok(());
    }
    Err(Status::bad_request(match given {
        "" => format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        ),
        given => {
            format!("the name of the object ({given}) does not match the name on the URL ({name})")
        }
    }))
}
