//! The scale subresource of workloads and custom resources.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::api::{self, Scope};
use crate::managed::Writer;
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
    match scope.request.method {
        Method::PUT => {
            let options = WriteOptions::read(&scope.request.query, "UpdateOptions")?;
            let encoding = crate::request::media::object_encoding(
                scope.request.header(&http::header::CONTENT_TYPE),
            )?;
            let Document { value, .. } = decode::parse(&scope.kind, &scope.request.body, encoding)?;
            let given = value["metadata"]["name"].as_str().unwrap_or_default();
            update::check_name(name, given)?;
            write(scope, name, &options, |_| Ok(value.clone())).await
        }
        Method::PATCH => {
            let patch = patch::read(scope)?;
            write(scope, name, &patch.options, |scale| {
                if patch.kind == PatchKind::Strategic {
                    let mut merged = scale.clone();
                    crate::patch::merge(&mut merged, &patch.document.value);
                    return Ok(merged);
                }
                patch::patched(&patch, scale, &scope.kind)
            })
            .await
        }
        _ => {
            let (_, object) = get::read(scope, name).await?;
            Ok(Answer::json(scale_of(&scope.kind, &object)))
        }
    }
}

async fn write<F>(
    scope: &Scope<'_>,
    name: &str,
    options: &WriteOptions,
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
            let scale = change(&scale_of(kind, &old))?;
            let replicas = check(kind, name, &scale)?;
            let mut new = old.clone();
            let (path, _, _) = paths(kind);
            objects::set_path(&mut new, &path, replicas.into());
            for field in ["resourceVersion", "uid"] {
                if let Some(given) = scale["metadata"].get(field) {
                    new["metadata"][field] = given.clone();
                }
            }
            let (writer, dry_run) = (Some(writer.clone()), options.dry_run);
            let (stored, old) = (&stored, &old);
            let wanted = Update {
                kind,
                stored,
                old,
                new,
                subresource: None,
                writer,
                dry_run,
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

fn check(kind: &Kind, name: &str, scale: &Value) -> Result<i64, Status> {
    let replicas = &scale["spec"]["replicas"];
    let number = match replicas {
        Value::Null => Some(0),
        value => value.as_i64(),
    };
    match number {
        Some(replicas) if replicas >= 0 => Ok(replicas),
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
        None => Err(Status::bad_request(
            "Scale in version \"v1\" cannot be handled as a Scale: spec.replicas is not an integer",
        )),
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
