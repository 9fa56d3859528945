//! DELETE of objects and collections.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::api::{self, Api, Scope};
use crate::objects;
use crate::objects::finalizers::{FOREGROUND, ORPHAN};
use crate::registry::Kind;
use crate::request::options::ListOptions;
use crate::status::{self, Status};
use crate::storage::{Expected, StorageError, Stored};

use super::delete_options::{DeleteOptions, Propagation};
use super::list::{self, Selection};
use super::write::{self, Attempts, WriteError};

/// What nobody expects of a Job.
const ORPHANED_PODS: &str = "child pods are preserved by default when jobs are deleted; set \
                             propagationPolicy=Background to remove them or set \
                             propagationPolicy=Orphan to suppress this warning";
/// Namespaces that cannot be deleted.
const IMMORTAL: &[&str] = &["default", "kube-public", "kube-system"];

/// Deletes an object.
pub async fn delete(scope: &Scope<'_>, name: &str) -> Result<Answer, Status> {
    let options = DeleteOptions::read(scope.request)?;
    // With a whole collection it goes, in a real cluster too.
    if scope.kind.is("scheduling.k8s.io", "PriorityClass") && objects::is_system_priority(name) {
        let why = "this is a system priority class and cannot be deleted";
        return Err(Status::forbidden(scope.kind.resource_name(), name, why));
    }
    let value = delete_object(scope.api, &scope.kind, scope.namespace(), name, &options).await?;
    Ok(Answer::Object {
        code: StatusCode::OK,
        kind: scope.kind.clone(),
        value,
        warnings: warnings(&scope.kind, &options),
    })
}

fn warnings(kind: &Kind, options: &DeleteOptions) -> Vec<String> {
    let surprising = kind.is("batch", "Job") && options.propagation.is_none();
    surprising
        .then(|| ORPHANED_PODS.to_owned())
        .into_iter()
        .collect()
}

/// Deletes what is selected of a collection.
pub async fn collection(scope: &Scope<'_>) -> Result<Answer, Status> {
    let options = DeleteOptions::read(scope.request)?;
    let list_options = ListOptions::read(&scope.request.query, false)?;
    let selection = Selection::read(&list_options, &scope.kind)?;
    let prefix = scope.kind.collection_prefix(scope.namespace());
    let page = scope
        .api
        .storage
        .list(&prefix, None, None, None)
        .await
        .map_err(|error| api::storage_failed(&error))?;
    let mut items = Vec::new();
    for stored in &page.entries {
        let object = api::decode(&scope.kind, stored)?;
        if !selection.matches(&object) {
            continue;
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        match delete_object(scope.api, &scope.kind, scope.namespace(), name, &options).await {
            Ok(_) => {}
            Err(status) if status.code == StatusCode::NOT_FOUND => {}
            Err(status) => return Err(status),
        }
        items.push(object);
    }
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if scope.kind.custom().is_some() {
        metadata["continue"] = "".into();
    }
    Ok(Answer::Object {
        code: StatusCode::OK,
        kind: scope.kind.clone(),
        value: list::document(&scope.kind, &metadata, items),
        warnings: warnings(&scope.kind, &options),
    })
}

/// Deletes an object, or marks it as being deleted if something holds it. Returns the answer: a
/// Status, or the object.
///
/// # Errors
/// 404, 409 for preconditions, 403 for what cannot be deleted.
pub async fn delete_object(
    api: &Arc<Api>,
    kind: &Kind,
    namespace: Option<&str>,
    name: &str,
    options: &DeleteOptions,
) -> Result<Value, Status> {
    let key = kind.key(namespace, name);
    let mut attempts = Attempts::default();
    loop {
        let attempt = async {
            let stored = api
                .storage
                .get(&key)
                .await
                .map_err(|error| api::storage_failed(&error))?
                .ok_or_else(|| Status::not_found(kind.resource_name(), name))?;
            let object = api::decode(kind, &stored)?;
            check_preconditions(kind, name, &object, options)?;
            if kind.is("", "Namespace") && IMMORTAL.contains(&name) {
                let why = "this namespace may not be deleted";
                return Err(Status::forbidden(kind.resource_name(), name, why).into());
            }
            let marked = mark(kind, &object, options);
            if write::is_ready_to_go(kind, &marked) {
                return remove(api, kind, name, &stored, marked, options).await;
            }
            if marked == object || options.dry_run {
                return Ok(marked);
            }
            let expected = Expected::Revision(stored.revision);
            let written = api
                .storage
                .write(&key, expected, Some(api::encode(kind, &marked)))
                .await;
            finish(written, marked)
        };
        if let Some(done) = attempts.settle(kind, name, attempt.await)? {
            return Ok(done);
        }
    }
}

fn finish(written: Result<u64, StorageError>, mut object: Value) -> Result<Value, WriteError> {
    match written {
        Ok(revision) => {
            object["metadata"]["resourceVersion"] = revision.to_string().into();
            Ok(object)
        }
        Err(StorageError::Changed) => Err(WriteError::Disturbed),
        Err(error) => Err(api::storage_failed(&error).into()),
    }
}

async fn remove(
    api: &Api,
    kind: &Kind,
    name: &str,
    stored: &Stored,
    mut object: Value,
    options: &DeleteOptions,
) -> Result<Value, WriteError> {
    if !options.dry_run {
        let expected = Expected::Revision(stored.revision);
        object = finish(api.storage.write(&stored.key, expected, None).await, object)?;
    }
    if !kind.behaviour.delete_returns_object {
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        return Ok(status::deleted(kind.resource_name(), name, uid));
    }
    // Only Pods have a grace period, and only they show its end.
    if !kind.is("", "Pod")
        && let Some(metadata) = object["metadata"].as_object_mut()
    {
        metadata.shift_remove("deletionTimestamp");
        metadata.shift_remove("deletionGracePeriodSeconds");
    }
    Ok(object)
}

/// The uid and the resourceVersion that the object must have, if any.
///
/// # Errors
/// 409.
pub fn check_preconditions(
    kind: &Kind,
    name: &str,
    object: &Value,
    options: &DeleteOptions,
) -> Result<(), Status> {
    // The recorded server names the kind here, not the resource.
    let subject = kind.kind_name();
    let is = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    if let Some(wanted) = options.uid.as_deref().filter(|uid| *uid != is("uid")) {
        let why = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({}). The \
             object might have been deleted and then recreated",
            is("uid")
        );
        return Err(Status::conflict(subject, name, why));
    }
    let version = options.resource_version.as_deref();
    if let Some(wanted) = version.filter(|version| *version != is("resourceVersion")) {
        let why = format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the \
             ResourceVersion in record ({}). The object might have been modified",
            is("resourceVersion")
        );
        return Err(Status::conflict(subject, name, why));
    }
    Ok(())
}

/// The object with the marks of its deletion.
fn mark(kind: &Kind, object: &Value, options: &DeleteOptions) -> Value {
    let mut marked = object.clone();
    let known = object["metadata"]["deletionGracePeriodSeconds"].as_i64();
    let first = object["metadata"]["deletionTimestamp"].is_null();
    let grace = if first {
        Some(grace_period(kind, object, options))
    } else {
        // A second deletion can only shorten the time, and only if it says so.
        options.grace_period.map(wanted_grace)
    };
    if let Some(grace) = grace.filter(|grace| first || known.is_some_and(|known| *grace < known)) {
        let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(grace);
        marked["metadata"]["deletionTimestamp"] = api::time_text(end).into();
        // A Namespace waits for its content, however long that takes.
        if !kind.is("", "Namespace") {
            marked["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        }
        let generation = object["metadata"]["generation"]
            .as_i64()
            .unwrap_or_default();
        if first && generation > 0 {
            marked["metadata"]["generation"] = (generation + 1).into();
        }
        if kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
            objects::mark_terminating(&mut marked, &api::now());
        }
        if kind.is("", "Namespace") {
            marked["status"]["phase"] = "Terminating".into();
        }
    }
    set_propagation(
        &mut marked,
        options.propagation.or_else(|| usual(kind, object)),
    );
    marked
}

fn grace_period(kind: &Kind, object: &Value, options: &DeleteOptions) -> i64 {
    if !kind.is("", "Pod") {
        return 0;
    }
    let unscheduled = object["spec"]["nodeName"]
        .as_str()
        .unwrap_or_default()
        .is_empty();
    let over = matches!(
        object["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    );
    if unscheduled || over {
        return 0;
    }
    let default = object["spec"]["terminationGracePeriodSeconds"]
        .as_i64()
        .unwrap_or(30);
    wanted_grace(options.grace_period.unwrap_or(default))
}

/// Less than nothing counts as one second.
fn wanted_grace(seconds: i64) -> i64 {
    if seconds < 0 {
        1
    } else {
        seconds.min(i64::from(i32::MAX))
    }
}

/// What becomes of dependents if the request does not say: as an earlier one said, else as is usual
/// for the kind.
fn usual(kind: &Kind, object: &Value) -> Option<Propagation> {
    let finalizers = object["metadata"]["finalizers"].as_array();
    let said = finalizers
        .into_iter()
        .flatten()
        .any(|finalizer| finalizer == FOREGROUND || finalizer == ORPHAN);
    (kind.behaviour.orphans_dependents && !said).then_some(Propagation::Orphan)
}

fn set_propagation(object: &mut Value, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else {
        return;
    };
    let mut finalizers: Vec<Value> = object["metadata"]["finalizers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let wanted = match propagation {
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    finalizers.retain(|finalizer| {
        finalizer.as_str() == wanted || (finalizer != FOREGROUND && finalizer != ORPHAN)
    });
    if let Some(wanted) = wanted
        && !finalizers.iter().any(|finalizer| finalizer == wanted)
    {
        finalizers.push(wanted.into());
    }
    let Some(metadata) = object["metadata"].as_object_mut() else {
        return;
    };
    if finalizers.is_empty() {
        metadata.shift_remove("finalizers");
    } else {
        metadata.insert("finalizers".to_owned(), Value::Array(finalizers));
    }
}
