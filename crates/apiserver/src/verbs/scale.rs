//! The scale subresource of workloads and custom resources.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::api::{self, Scope};
use crate::managed::{self, Writer};
use crate::objects;
use crate::registry::Kind;
use crate::request::body::Document;
use crate::request::media::PatchKind;
use crate::request::options::WriteOptions;
use crate::status::{Cause, ResourceName, Status};

use super::write::{self, Attempts, Update, WriteError};
use super::{decode, get, patch, update};

/// Reads or writes a scale.
pub async fn answer(scope: &Scope<'_>, name: &str) -> Result<Answer, Status> {
    let kind = &scope.kind;
    match scope.request.method {
        Method::PUT => {
            let options = WriteOptions::read(&scope.request.query, "UpdateOptions")?;
            let encoding = crate::request::media::object_encoding(
                scope.request.header(&http::header::CONTENT_TYPE),
            )?;
            let Document { value, .. } = decode::parse(kind, &scope.request.body, encoding)?;
            check_type(&value)?;
            let given = value["metadata"]["name"].as_str().unwrap_or_default();
            update::check_name(name, given)?;
            write(scope, name, &options, true, |old| scaled(kind, old, &value)).await
        }
        Method::PATCH => {
            let patch = patch::read(scope)?;
            if patch.kind == PatchKind::Apply {
                let applied = configuration(kind, name, &patch.document.value)?;
                let writer = Writer {
                    manager: patch.options.field_manager.as_deref().unwrap_or_default(),
                    subresource: Some("scale"),
                };
                let force = patch.options.force == Some(true);
                let apply = |old: &Value| {
                    managed::apply(kind, Some(old), &applied, &writer, force)
                        .map_err(|status| as_of_scale(kind, status))
                };
                return write(scope, name, &patch.options, false, apply).await;
            }
            let change = |old: &Value| {
                let mut scale = scale_of(kind, old);
                if patch.kind == PatchKind::Strategic {
                    crate::patch::merge(&mut scale, &patch.document.value);
                } else {
                    scale = patch::patched(&patch, &scale, kind)?;
                }
                scaled(kind, old, &scale)
            };
            write(scope, name, &patch.options, true, change).await
        }
        _ => {
            let (_, object) = get::read(scope, name).await?;
            Ok(Answer::json(scale_of(kind, &object)))
        }
    }
}

/// Changes the object of which the scale is a part. `track` is whether the change still has to
/// be noted in the managed fields.
async fn write<F>(
    scope: &Scope<'_>,
    name: &str,
    options: &WriteOptions,
    track: bool,
    change: F,
) -> Result<Answer, Status>
where
    F: Fn(&Value) -> Result<Value, Status>,
{
    let kind = &scope.kind;
    let agent = scope.request.default_manager();
    let writer = Writer {
        manager: options.field_manager.as_deref().unwrap_or(&agent),
        subresource: Some("scale"),
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
            let new = change(&old)?;
            check(kind, name, objects::get_path(&new, &paths(kind).0))?;
            let wanted = Update {
                kind,
                stored: &stored,
                old: &old,
                new,
                subresource: None,
                uid_is_precondition: track,
                writer: track.then(|| writer.clone()),
                dry_run: options.dry_run,
            };
            let value = write::update(scope.api, wanted).await?;
            Ok::<_, WriteError>(Answer::Document {
                code: StatusCode::OK,
                value: scale_of(kind, &value),
            })
        };
        if let Some(done) = attempts.settle(kind, name, attempt.await)? {
            return Ok(done);
        }
    }
}

/// A scale may leave its type out, but it is no other.
fn check_type(scale: &Value) -> Result<(), Status> {
    let version = scale["apiVersion"].as_str().unwrap_or("autoscaling/v1");
    let kind = scale["kind"].as_str().unwrap_or("Scale");
    if (version, kind) == ("autoscaling/v1", "Scale") {
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a Scale: no kind {kind:?} is \
         registered for version {version:?}"
    )))
}

/// How many replicas an object wants; none if its kind has no scale.
pub fn replicas(kind: &Kind, object: &Value) -> Option<usize> {
    kind.subresource("scale")?;
    let (wanted, ..) = paths(kind);
    let wanted = objects::get_path(object, &wanted).and_then(Value::as_u64);
    usize::try_from(wanted.unwrap_or_default()).ok()
}

/// The object with the replicas that a scale wants.
fn scaled(kind: &Kind, object: &Value, scale: &Value) -> Result<Value, Status> {
    let replicas = match &scale["spec"]["replicas"] {
        Value::Null => 0.into(),
        replicas if replicas.is_i64() => replicas.clone(),
        _ => {
            let why = "Scale in version \"v1\" cannot be handled as a Scale: spec.replicas is not \
                       an integer";
            return Err(Status::bad_request(why));
        }
    };
    let mut new = object.clone();
    objects::set_path(&mut new, &paths(kind).0, replicas);
    for field in ["resourceVersion", "uid"] {
        if let Some(given) = scale["metadata"].get(field) {
            new["metadata"][field] = given.clone();
        }
    }
    Ok(new)
}

/// A conflict as those see it who know scales only: all owners use the version of scales.
fn as_of_scale(kind: &Kind, mut status: Status) -> Status {
    let (theirs, ours) = (
        format!(" using {}", kind.api_version()),
        " using autoscaling/v1",
    );
    status.message = status.message.replace(&theirs, ours);
    for cause in &mut status.details.causes {
        cause.message = cause.message.replace(&theirs, ours);
    }
    status
}

/// What an applied scale says about the object of which it is a part.
fn configuration(kind: &Kind, name: &str, scale: &Value) -> Result<Value, Status> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, given) = (text(&scale["apiVersion"]), text(&scale["kind"]));
    if (version.as_str(), given.as_str()) != ("autoscaling/v1", "Scale") {
        let why = format!("invalid object type: {version}, Kind={given}");
        return Err(Status::bad_request(why));
    }
    match text(&scale["metadata"]["name"]).as_str() {
        "" => {}
        given => update::check_name(name, given)?,
    }
    let mut metadata = scale["metadata"].clone();
    metadata["name"] = name.into();
    let mut applied = json!({
        "apiVersion": kind.api_version(), "kind": kind.kind, "metadata": metadata,
    });
    if !scale["spec"]["replicas"].is_null() {
        let path = paths(kind).0;
        objects::set_path(&mut applied, &path, scale["spec"]["replicas"].clone());
    }
    Ok(applied)
}

/// The replicas that an object wants must be possible.
fn check(kind: &Kind, name: &str, replicas: Option<&Value>) -> Result<(), Status> {
    let replicas = replicas.unwrap_or(&Value::Null);
    match replicas.as_i64() {
        None => Ok(()),
        Some(replicas) if replicas >= 0 => Ok(()),
        Some(_) if kind.custom().is_some() => {
            let why = "should be a non-negative integer";
            let cause = Cause::invalid(".spec.replicas", replicas, why);
            Err(Status::invalid(kind.kind_name(), name, vec![cause]))
        }
        Some(_) => {
            let why = "must be greater than or equal to 0";
            let cause = Cause::invalid("spec.replicas", replicas, why);
            let kind = ResourceName {
                group: "autoscaling",
                resource: "Scale",
            };
            Err(Status::invalid(kind, name, vec![cause]))
        }
    }
}

/// Where wanted replicas, replicas and selector are; none where there is no text of a selector.
fn paths(kind: &Kind) -> (String, String, Option<String>) {
    match kind.custom().and_then(|custom| custom.scale.as_ref()) {
        Some(scale) => (
            scale.spec_replicas.clone(),
            scale.status_replicas.clone(),
            scale.label_selector.clone(),
        ),
        None => (
            ".spec.replicas".to_owned(),
            ".status.replicas".to_owned(),
            None,
        ),
    }
}

fn scale_of(kind: &Kind, object: &Value) -> Value {
    let (wanted, current, selector) = paths(kind);
    let number = |path: &str| {
        objects::get_path(object, path)
            .and_then(Value::as_i64)
            .unwrap_or_default()
    };
    let selector = match selector {
        Some(path) => {
            let text = objects::get_path(object, &path).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        }
        None if kind.custom().is_some() => String::new(),
        None => objects::selector_text(&object["spec"]["selector"]),
    };
    let mut metadata = json!({});
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        if let Some(value) = object["metadata"].get(field) {
            metadata[field] = value.clone();
        }
    }
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {},
        "status": {"replicas": number(&current)},
    });
    if number(&wanted) != 0 {
        scale["spec"]["replicas"] = number(&wanted).into();
    }
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    scale
}
