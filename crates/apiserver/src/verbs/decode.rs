//! From a document to an object of a kind.

use serde_json::Value;

use crate::objects;
use crate::registry::{Kind, Source};
use crate::request::Request;
use crate::request::body::{self, Document};
use crate::request::media;
use crate::request::options::FieldValidation;
use crate::status::{Cause, Status};

/// An object, and what to warn of.
#[derive(Debug)]
pub struct Decoded {
    /// The object, with defaults.
    pub object: Value,
    /// Texts of `Warning` headers.
    pub warnings: Vec<String>,
}

/// Why a document is not an object of a kind.
#[derive(Debug)]
pub enum Refusal {
    /// A value has the wrong type.
    Type(String),
    /// Unknown or duplicate fields, and those are not allowed.
    Strict(String),
}

/// Parses a body and decodes it.
///
/// # Errors
/// 400 or 415.
pub fn body(
    kind: &Kind,
    request: &Request,
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let encoding = media::object_encoding(request.header(&http::header::CONTENT_TYPE))?;
    let document = parse(kind, &request.body, encoding)?;
    check_type(kind, &document.value)?;
    object(kind, document, validation).map_err(|refusal| {
        let (Refusal::Type(why) | Refusal::Strict(why)) = refusal;
        Status::bad_request(format!(
            "{0} in version {1:?} cannot be handled as a {0}: {why}",
            kind.kind, kind.version
        ))
    })
}

/// Parses a body that must be a JSON or YAML object.
///
/// # Errors
/// 400.
pub fn parse(kind: &Kind, bytes: &[u8], encoding: media::Encoding) -> Result<Document, Status> {
    let unrecognized = |why: String| {
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): {why}",
            kind.kind
        ))
    };
    let document = body::parse(bytes, encoding)
        .map_err(|error| unrecognized(format!("couldn't get version/kind; {error}")))?;
    if !document.value.is_object() {
        let why = "couldn't get version/kind; json parse error: the document is not an object";
        return Err(unrecognized(why.to_owned()));
    }
    if kind.custom().is_some()
        && document.value["kind"]
            .as_str()
            .unwrap_or_default()
            .is_empty()
    {
        return Err(unrecognized("Object 'Kind' is missing".to_owned()));
    }
    Ok(document)
}

/// Whether `apiVersion` and `kind` are those of the path; built-in kinds may leave them out.
fn check_type(kind: &Kind, value: &Value) -> Result<(), Status> {
    let given_kind = value["kind"].as_str().unwrap_or(&kind.kind);
    let expected = kind.api_version();
    let given = value["apiVersion"].as_str();
    if kind.custom().is_some() && given.unwrap_or_default() != expected {
        return Err(Status::bad_request(format!(
            "the API version in the data ({}) does not match the expected API version ({expected})",
            given.unwrap_or_default()
        )));
    }
    let given = given.unwrap_or(&expected);
    if given_kind != kind.kind && kind.custom().is_some() {
        let name = value["metadata"]["name"].as_str().unwrap_or_default();
        let causes = vec![wrong_kind(kind, given_kind)];
        return Err(Status::invalid(kind.kind_name(), name, causes));
    }
    if given_kind != kind.kind {
        return Err(Status::bad_request(format!(
            "{given_kind} in version {given:?} cannot be handled as a {}: unknown conversion",
            kind.kind
        )));
    }
    if given != expected {
        return Err(Status::bad_request(format!(
            "{0} in version {given:?} cannot be handled as a {0}: no kind {0:?} is registered for \
             version {given:?}",
            kind.kind
        )));
    }
    Ok(())
}

/// What is said about a custom resource that claims to be of another kind.
pub fn wrong_kind(kind: &Kind, given: &str) -> Cause {
    Cause::invalid("kind", &given.into(), format!("must be {}", kind.kind))
}

/// Decodes a document: checks types, drops unknown fields, sets defaults.
///
/// # Errors
/// Wrong types, or unknown fields in strict validation.
pub fn object(
    kind: &Kind,
    document: Document,
    validation: FieldValidation,
) -> Result<Decoded, Refusal> {
    let mut object = document.value;
    let mut unknown = match &kind.source {
        Source::BuiltIn(built_in) => built_in.decode(&mut object).map_err(Refusal::Type)?.unknown,
        Source::Custom(custom) => {
            let mut metadata = object["metadata"].take();
            if metadata.is_null() {
                metadata = Value::Object(serde_json::Map::new());
            }
            let decoded = objects::decode_metadata(&mut metadata).map_err(Refusal::Type)?;
            let mut unknown: Vec<String> = decoded
                .unknown
                .iter()
                .map(|path| format!("metadata.{path}"))
                .collect();
            object["metadata"] = metadata;
            if let Some(schema) = &custom.schema {
                unknown.extend(schema.prune(&mut object));
                schema.apply_defaults(&mut object);
            }
            unknown
        }
    };
    object["kind"] = kind.kind.as_str().into();
    object["apiVersion"] = kind.api_version().into();
    if !object["metadata"].is_object() {
        object["metadata"] = Value::Object(serde_json::Map::new());
    }
    objects::apply_defaults(kind, &mut object);
    let repeated = objects::drop_repeated_owners(&mut object["metadata"]);
    let mut problems: Vec<String> = unknown
        .drain(..)
        .map(|path| format!("unknown field {path:?}"))
        .collect();
    problems.extend(
        document
            .duplicates
            .iter()
            .map(|path| format!("duplicate field {path:?}")),
    );
    match validation {
        FieldValidation::Ignore => problems.clear(),
        FieldValidation::Warn => {}
        FieldValidation::Strict if problems.is_empty() => {}
        FieldValidation::Strict => {
            let why = format!("strict decoding error: {}", problems.join(", "));
            return Err(Refusal::Strict(why));
        }
    }
    problems.extend(repeated);
    Ok(Decoded {
        object,
        warnings: problems,
    })
}
