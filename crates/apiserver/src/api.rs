//! The server's state, and the way of a request through it.

use std::sync::Arc;
use std::time::Instant;

use http::Method;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::access::{Access, Attributes, Resource};
use crate::answer::Answer;
use crate::metrics::{Asked, Metrics};
use crate::registry::{Kind, Registry};
use crate::request::Request;
use crate::request::path::{self, ResourcePath, Target};
use crate::status::Status;
use crate::storage::{Storage, StorageError, Stored};
use crate::verbs::EventLines;
use crate::{discovery, objects, openapi, verbs};

/// Everything that requests and controllers share.
#[derive(Debug)]
pub struct Api {
    /// Where objects are kept.
    pub storage: Arc<dyn Storage>,
    /// Which kinds are served.
    pub registry: Registry,
    /// Recent events, as watches send them.
    pub event_lines: EventLines,
    /// Who may do what.
    pub access: Access,
    /// Held while a Service is given addresses and written.
    pub addresses: Mutex<()>,
    /// What was asked for, and how it was answered.
    pub metrics: Metrics,
    /// Ends watches.
    pub shutdown: CancellationToken,
}

/// The object, or the collection, that a request is about.
#[derive(Debug)]
pub struct Scope<'a> {
    /// The server's state.
    pub api: &'a Arc<Api>,
    /// The kind.
    pub kind: Arc<Kind>,
    /// What the path says.
    pub path: ResourcePath,
    /// The request.
    pub request: &'a Request,
}

impl Api {
    /// A server's state with built-in kinds only.
    pub fn new(storage: Arc<dyn Storage>, access: Access, shutdown: CancellationToken) -> Self {
        Self {
            storage,
            registry: Registry::new(),
            event_lines: EventLines::default(),
            access,
            addresses: Mutex::default(),
            metrics: Metrics::default(),
            shutdown,
        }
    }

    /// Answers a request.
    ///
    /// # Errors
    /// The Status to send instead.
    pub async fn handle(self: &Arc<Self>, request: &Request) -> Result<Answer, Status> {
        let target = path::parse(&request.path);
        let attributes = Attributes::of(request, &target);
        let kind = self.kind(&target);
        let begun = Instant::now();
        let received = jiff::Timestamp::now();
        let decision = self.access.decide(&request.identity, &attributes);
        let answer = if decision.allowed {
            self.answer(&target, kind.clone(), request).await
        } else {
            Err(attributes.forbidden(&request.identity, &decision.reason))
        };
        let code = answer
            .as_ref()
            .map_or_else(|status| status.code, Answer::code);
        let asked = match (&attributes, &target) {
            (Attributes::Resource(wanted), Target::Resource(path)) => {
                Asked::of(wanted.verb, Some(path), kind.as_deref())
            }
            (Attributes::Resource(Resource { verb, .. }) | Attributes::Path { verb, .. }, _) => {
                Asked::of(verb, None, None)
            }
        };
        self.metrics.count(asked, code, begun.elapsed());
        if let Some(audit) = self.access.audit() {
            audit.note(request, &attributes, &decision, code, received);
        }
        answer
    }

    /// The kind that is served under a path.
    fn kind(&self, target: &Target) -> Option<Arc<Kind>> {
        let Target::Resource(path) = target else {
            return None;
        };
        self.registry
            .find(&path.group, &path.version, &path.resource)
    }

    async fn answer(
        self: &Arc<Self>,
        target: &Target,
        kind: Option<Arc<Kind>>,
        request: &Request,
    ) -> Result<Answer, Status> {
        match target {
            Target::Resource(path) => {
                let kind = kind.ok_or_else(Status::unknown_path)?;
                self.resource(path.clone(), kind, request).await
            }
            Target::Unknown => Err(Status::unknown_path()),
            target if request.method != Method::GET && request.method != Method::HEAD => {
                tracing::debug!(?target, "only resources can be written");
                Err(Status::method_not_allowed())
            }
            Target::Version => Ok(Answer::json(discovery::version())),
            Target::Health { endpoint, check } => {
                discovery::health(&*self.storage, endpoint, check.as_deref(), &request.query).await
            }
            Target::Metrics => self.metrics.show(&*self.storage).await,
            Target::OpenApiV2 => openapi::v2(&self.registry, request),
            Target::OpenApiV3Index => Ok(openapi::v3_index(&self.registry)),
            Target::OpenApiV3 { group, version } => openapi::v3(&self.registry, group, version),
            target => discovery::document(&self.registry, target, request),
        }
    }

    async fn resource(
        self: &Arc<Self>,
        path: ResourcePath,
        kind: Arc<Kind>,
        request: &Request,
    ) -> Result<Answer, Status> {
        if path.namespace.is_some() && !kind.namespaced {
            return Err(Status::unknown_path());
        }
        let deprecation = kind.custom().and_then(|custom| custom.deprecation.clone());
        let answer = verbs::answer(Scope {
            api: self,
            kind,
            path,
            request,
        })
        .await?;
        Ok(match deprecation {
            Some(warning) => answer.with_warning(warning),
            None => answer,
        })
    }
}

impl Scope<'_> {
    /// The namespace of the path.
    pub fn namespace(&self) -> Option<&str> {
        self.path.namespace.as_deref()
    }

    /// The key of the object with this name.
    pub fn key(&self, name: &str) -> String {
        self.kind.key(self.namespace(), name)
    }
}

/// Turns what is stored into an object of a kind.
///
/// # Errors
/// 500 if the bytes are not a JSON object, or a webhook would have to convert it.
pub fn decode(kind: &Kind, stored: &Stored) -> Result<Value, Status> {
    let mut object: Value = serde_json::from_slice(&stored.value)
        .map_err(|error| Status::internal(format!("cannot read {}: {error}", stored.key)))?;
    if !object.is_object() || !object["metadata"].is_object() {
        return Err(Status::internal(format!("{} is not an object", stored.key)));
    }
    let stored_version = object["apiVersion"].as_str().unwrap_or_default();
    check_conversion(kind, stored_version, &kind.api_version())?;
    fit_to_schema(kind, &mut object);
    let mut object = objects::from_storage(kind, object);
    object["metadata"]["resourceVersion"] = stored.revision.to_string().into();
    Ok(object)
}

/// Whether an object of a kind can be stored.
///
/// # Errors
/// 500 if a webhook would have to convert it.
pub fn check_storable(kind: &Kind) -> Result<(), Status> {
    let conversion = kind.custom().and_then(|custom| custom.conversion.as_ref());
    conversion.map_or(Ok(()), |webhook| {
        let storage_version = format!("{}/{}", kind.group, webhook.storage_version);
        check_conversion(kind, &kind.api_version(), &storage_version)
    })
}

/// No webhook is called, so those who need one are told what they are told when it is down.
fn check_conversion(kind: &Kind, from: &str, to: &str) -> Result<(), Status> {
    match kind.custom().and_then(|custom| custom.conversion.as_ref()) {
        Some(webhook) if from != to => Err(Status::failure(format!(
            "conversion webhook for {from}, Kind={} failed: Post \"{}?timeout=30s\": this server \
             calls no webhooks",
            kind.kind, webhook.url
        ))),
        _ => Ok(()),
    }
}

/// Brings a custom resource into the form that it has after it was stored: what the schema of
/// the storage version does not describe is gone, its defaults are there, and so is nothing that
/// the kind's own schema does not describe.
pub fn fit_to_schema(kind: &Kind, object: &mut Value) {
    let Some(custom) = kind.custom() else {
        return;
    };
    let (own, storage) = (custom.schema.as_ref(), custom.storage_schema.as_ref());
    if let Some(schema) = storage.or(own) {
        schema.prune(object);
        schema.apply_defaults(object);
    }
    if let (Some(own), Some(_)) = (own, storage) {
        own.prune(object);
    }
}

/// Turns an object into what is stored.
pub fn encode(kind: &Kind, object: &Value) -> bytes::Bytes {
    let object = objects::to_storage(kind, object);
    let text = serde_json::to_vec(&Unversioned(&object)).expect("a JSON value can be written");
    // A copy of just its length: text that grows while it is written takes more than it needs.
    bytes::Bytes::copy_from_slice(&text)
}

/// An object, written without its resourceVersion.
struct Unversioned<'a>(&'a Value);

impl Serialize for Unversioned<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Value::Object(fields) = self.0 else {
            return self.0.serialize(serializer);
        };
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in fields {
            match value {
                Value::Object(metadata) if name == "metadata" => {
                    map.serialize_entry(name, &UnversionedMetadata(metadata))?;
                }
                value => map.serialize_entry(name, value)?,
            }
        }
        map.end()
    }
}

struct UnversionedMetadata<'a>(&'a Map<String, Value>);

impl Serialize for UnversionedMetadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().filter(|(name, _)| *name != "resourceVersion"))
    }
}

/// What a failure of the storage is for a client.
pub fn storage_failed(error: &StorageError) -> Status {
    match error {
        // Not 503, which clients take for "not done", so that they send a write again.
        StorageError::Changed | StorageError::Unavailable(_) => Status::internal(error),
        StorageError::Compacted { .. } => {
            Status::expired(format!("The resourceVersion is too old: {error}"))
        }
        StorageError::Future { wanted, current } => {
            Status::too_large_resource_version(*wanted, *current)
        }
    }
}

/// The present time, as metadata has it.
pub fn now() -> String {
    time_text(jiff::Timestamp::now())
}

/// A time, as metadata has it: RFC 3339, to the second.
pub fn time_text(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_stored_without_its_version() {
        let kind = Registry::new().find("", "v1", "configmaps").unwrap();
        let object = json!({
            "metadata": {"name": "a", "resourceVersion": "7", "uid": "u"},
            "data": {"resourceVersion": "stays"},
        });
        let expected = r#"{"metadata":{"name":"a","uid":"u"},"data":{"resourceVersion":"stays"}}"#;
        assert_eq!(encode(&kind, &object), expected);
    }
}
