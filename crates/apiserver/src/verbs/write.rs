//! What creations and updates of every form have in common: system fields, validation, managed
//! fields, the write itself.

use std::sync::Arc;

use serde_json::Value;

use crate::api::{self, Api};
use crate::managed::{self, Writer};
use crate::objects;
use crate::registry::Kind;
use crate::status::{Cause, Status};
use crate::storage::{Expected, StorageError, Stored};

use super::sameness::same_but_for_times;
use super::system_fields::{
    check_uid, check_version, count_generation, keep_system_fields, name_of, prepare_metadata,
};
use super::{addresses, priorities};

/// How often a write that others disturb is tried again.
const ATTEMPTS: usize = 64;

/// Why a write was not done.
#[derive(Debug)]
pub enum WriteError {
    /// Somebody else was faster; read again and try again.
    Disturbed,
    /// The answer for the client.
    Refused(Status),
}

impl From<Status> for WriteError {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

/// An update that is ready but for what the server adds.
#[derive(Debug)]
pub struct Update<'a> {
    /// The kind.
    pub kind: &'a Kind,
    /// What is stored.
    pub stored: &'a Stored,
    /// What is stored, decoded.
    pub old: &'a Value,
    /// What it should become.
    pub new: Value,
    /// The subresource that is written, if any.
    pub subresource: Option<&'a str>,
    /// Whether another uid means that the client knows another object (a replacement), or
    /// that it wants to change the uid (a patch).
    pub uid_is_precondition: bool,
    /// Who writes; none if managed fields are up to date.
    pub writer: Option<Writer<'a>>,
    /// Do everything but the write.
    pub dry_run: bool,
}

/// Finishes and writes an update; returns the object as it is now.
///
/// # Errors
/// A Status, or the wish to be called again with newer data.
pub async fn update(api: &Api, update: Update<'_>) -> Result<Value, WriteError> {
    let Update {
        kind,
        stored,
        old,
        mut new,
        subresource,
        uid_is_precondition,
        writer,
        dry_run,
    } = update;
    check_uid(kind, old, &new, uid_is_precondition)?;
    check_version(kind, stored, old, &new)?;
    keep_system_fields(&mut new, old);
    if let Some(writer) = writer {
        managed::track_update(kind, Some(old), &mut new, &writer);
    }
    objects::before_update(kind, &mut new, old, subresource);
    let _reserved = match subresource {
        None => addresses::reserve(api, kind, &mut new, Some(old)).await?,
        Some(_) => None,
    };
    count_generation(kind, &mut new, old);
    let causes = problems(kind, &new, Some((old, subresource)));
    if !causes.is_empty() {
        return Err(Status::invalid(kind.kind_name(), name_of(old), causes).into());
    }
    api::check_storable(kind)?;
    api::fit_to_schema(kind, &mut new);
    if same_but_for_times(&new, old) {
        return Ok(old.clone());
    }
    let gone = is_ready_to_go(kind, &new);
    if dry_run {
        return Ok(new);
    }
    let value = (!gone).then(|| api::encode(kind, &new));
    let expected = Expected::Revision(stored.revision);
    match api.storage.write(&stored.key, expected, value).await {
        Ok(revision) => {
            new["metadata"]["resourceVersion"] = revision.to_string().into();
            Ok(new)
        }
        Err(StorageError::Changed) => Err(WriteError::Disturbed),
        Err(error) => Err(api::storage_failed(&error).into()),
    }
}

/// Reads an object, changes it, writes it, until nobody disturbs. The change may return the same
/// object to leave everything as it is. Returns none if there is no such object.
///
/// # Errors
/// What the change or the write says.
pub async fn modify<'a, F>(
    api: &Api,
    kind: &Kind,
    key: &str,
    subresource: Option<&str>,
    writer: Option<Writer<'a>>,
    mut change: F,
) -> Result<Option<Value>, Status>
where
    F: FnMut(&Value) -> Result<Value, Status>,
{
    let mut attempts = Attempts::default();
    loop {
        let Some(stored) = api
            .storage
            .get(key)
            .await
            .map_err(|error| api::storage_failed(&error))?
        else {
            return Ok(None);
        };
        let old = api::decode(kind, &stored)?;
        let new = change(&old)?;
        let (stored, old) = (&stored, &old);
        let writer = writer.clone();
        let wanted = Update {
            kind,
            stored,
            old,
            new,
            subresource,
            uid_is_precondition: true,
            writer,
            dry_run: false,
        };
        let done = attempts.settle(kind, key, update(api, wanted).await)?;
        if done.is_some() {
            return Ok(done);
        }
    }
}

/// Counts the attempts of a write that others disturb.
#[derive(Debug, Default)]
pub struct Attempts(usize);

impl Attempts {
    /// What an attempt gave; none if it was disturbed and should be made again.
    ///
    /// # Errors
    /// What the attempt says; 500 if it never gets through.
    pub fn settle<T>(
        &mut self,
        kind: &Kind,
        name: &str,
        attempt: Result<T, WriteError>,
    ) -> Result<Option<T>, Status> {
        self.0 += 1;
        match attempt {
            Ok(done) => Ok(Some(done)),
            Err(WriteError::Refused(status)) => Err(status),
            Err(WriteError::Disturbed) if self.0 < ATTEMPTS => Ok(None),
            Err(WriteError::Disturbed) => Err(busy(kind, name)),
        }
    }
}

fn busy(kind: &Kind, name: &str) -> Status {
    Status::internal(format!(
        "{} {name:?} is written too often by others; try again",
        kind.resource_name()
    ))
}

/// Fills in what a new object gets from the server, and writes it.
///
/// # Errors
/// 409 if the name is taken, 422 if the object is not valid.
pub async fn create(
    api: &Arc<Api>,
    kind: &Kind,
    namespace: Option<&str>,
    mut object: Value,
    writer: Option<Writer<'_>>,
    dry_run: bool,
) -> Result<Value, Status> {
    let given = object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default();
    if !given.is_empty() {
        return Err(Status::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    if let Some(writer) = writer {
        managed::track_update(kind, None, &mut object, &writer);
    }
    prepare_metadata(kind, namespace, &mut object);
    objects::before_create(kind, &mut object);
    priorities::assign(api, kind, &mut object).await?;
    let _reserved = addresses::reserve(api, kind, &mut object, None).await?;
    let causes = problems(kind, &object, None);
    if !causes.is_empty() {
        return Err(Status::invalid(kind.kind_name(), name_of(&object), causes));
    }
    api::check_storable(kind)?;
    api::fit_to_schema(kind, &mut object);
    let name = name_of(&object).to_owned();
    let key = kind.key(namespace, &name);
    if dry_run {
        let taken = api
            .storage
            .get(&key)
            .await
            .map_err(|error| api::storage_failed(&error))?;
        return match taken {
            Some(stored) => Err(taken_by(kind, &name, &stored)),
            None => Ok(object),
        };
    }
    match api
        .storage
        .write(&key, Expected::Absent, Some(api::encode(kind, &object)))
        .await
    {
        Ok(revision) => {
            object["metadata"]["resourceVersion"] = revision.to_string().into();
            Ok(object)
        }
        Err(StorageError::Changed) => {
            let found = api
                .storage
                .get(&key)
                .await
                .map_err(|error| api::storage_failed(&error))?;
            Err(found.map_or_else(
                || Status::already_exists(kind.resource_name(), &name, false),
                |stored| taken_by(kind, &name, &stored),
            ))
        }
        Err(error) => Err(api::storage_failed(&error)),
    }
}

fn taken_by(kind: &Kind, name: &str, stored: &Stored) -> Status {
    let deleting = api::decode(kind, stored)
        .is_ok_and(|object| !object["metadata"]["deletionTimestamp"].is_null());
    Status::already_exists(kind.resource_name(), name, deleting)
}

fn problems(kind: &Kind, new: &Value, update: Option<(&Value, Option<&str>)>) -> Vec<Cause> {
    let mut causes = objects::validate_metadata(kind, &new["metadata"]);
    if let Some((old, subresource)) = update {
        causes.extend(objects::validate_metadata_update(kind, old, new));
        causes.extend(objects::validate_update(kind, new, old, subresource));
    }
    let old = update.map(|(old, _)| old);
    causes.extend(objects::validate(kind, new, old));
    if let Some(schema) = kind.custom().and_then(|custom| custom.schema.as_ref()) {
        let found = schema.validate(new, old);
        let cause = |found: crate::schema::Cause| {
            Cause::new(found.field, found.reason.as_str(), found.message)
        };
        causes.extend(found.into_iter().map(cause));
    }
    causes
}

/// An object that is being deleted goes when nothing holds it any more.
pub fn is_ready_to_go(kind: &Kind, object: &Value) -> bool {
    let metadata = &object["metadata"];
    let held = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
    let grace = metadata["deletionGracePeriodSeconds"]
        .as_i64()
        .unwrap_or_default();
    let content = kind.is("", "Namespace") && held(&object["spec"]["finalizers"]);
    let waits = grace > 0 || held(&metadata["finalizers"]) || content;
    !metadata["deletionTimestamp"].is_null() && !waits
}
