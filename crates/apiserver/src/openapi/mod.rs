//! OpenAPI v2 and v3: the schemas of everything that is served.

mod merge_keys;
mod protobuf;
mod schemas;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::answer::Answer;
use crate::registry::{Kind, Registry};
use crate::request::Request;
use crate::status::Status;

/// `/openapi/v3`: where the documents of the groups are.
pub fn v3_index(registry: &Registry) -> Answer {
    let mut paths = Map::new();
    for group in registry.groups() {
        for version in &group.versions {
            let path = match group.name.as_str() {
                "" => format!("api/{}", version.name),
                name => format!("apis/{name}/{}", version.name),
            };
            let hash = hash(&version.kinds);
            let url = format!("/openapi/v3/{path}?hash={hash}");
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    Answer::json(json!({"paths": paths}))
}

/// Changes when the kinds do.
fn hash(kinds: &[std::sync::Arc<Kind>]) -> String {
    let mut hasher = Sha256::new();
    for kind in kinds {
        hasher.update(kind.kind.as_bytes());
        if let Some(custom) = kind.custom() {
            hasher.update(custom.open_api.to_string().as_bytes());
        }
    }
    hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect()
}

/// `/openapi/v3/...`: the document of one group and version.
///
/// # Errors
/// 404 if it is not served.
pub fn v3(registry: &Registry, group: &str, version: &str) -> Result<Answer, Status> {
    let groups = registry.groups();
    let kinds = groups
        .iter()
        .find(|known| known.name == group)
        .and_then(|known| known.versions.iter().find(|known| known.name == version))
        .map(|version| version.kinds.as_slice())
        .ok_or_else(Status::unknown_path)?;
    let mut schemas: Map<String, Value> = Map::new();
    let mut paths = Map::new();
    for kind in kinds {
        schemas::add(kind, &mut schemas);
        schemas::add_paths(kind, &mut paths, schemas::Dialect::V3);
    }
    schemas.values_mut().for_each(schemas::wrap_references);
    Ok(Answer::json(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": paths,
        "components": {"schemas": schemas},
    })))
}

/// `/openapi/v2`: one document for everything.
///
/// # Errors
/// 406 for clients that take neither JSON nor protocol buffers.
pub fn v2(registry: &Registry, request: &Request) -> Result<Answer, Status> {
    let accept = request.header(&http::header::ACCEPT).unwrap_or_default();
    let protobuf = PROTOBUF_WANTED.iter().any(|media| accept.contains(media));
    let json = accept.is_empty() || accept.contains("json") || accept.contains("*/*");
    if !protobuf && !json {
        return Err(Status::not_acceptable(
            "only the following media types are accepted: application/json, \
             application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
        ));
    }
    let mut schemas: Map<String, Value> = Map::new();
    let mut paths = Map::new();
    for group in registry.groups() {
        for kind in group.versions.iter().flat_map(|version| &version.kinds) {
            schemas::add(kind, &mut schemas);
            schemas::add_paths(kind, &mut paths, schemas::Dialect::V2);
        }
    }
    let mut definitions = Value::Object(schemas);
    schemas::to_v2(&mut definitions);
    let document = json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": paths,
        "definitions": definitions,
    });
    Ok(if protobuf {
        Answer::bytes(PROTOBUF, protobuf::document(&document))
    } else {
        Answer::json(document)
    })
}

/// The protocol-buffer form as clients ask for it.
const PROTOBUF_WANTED: &[&str] = &[
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
];
/// The protocol-buffer form as it is answered: old clients cannot parse an at sign there.
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
