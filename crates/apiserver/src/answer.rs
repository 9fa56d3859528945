//! Answers: documents, lists and streams, in the form that the client wants.

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue, VARY, WARNING};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::registry::Kind;
use crate::request::Request;
use crate::request::media::{self, Encoding, Form, Wanted};
use crate::status::Status;
use crate::table;

/// A successful answer.
#[derive(Debug)]
pub enum Answer {
    /// A document that is sent as it is.
    Document {
        /// The code.
        code: StatusCode,
        /// The document.
        value: Value,
    },
    /// An object or a list of a kind; other forms can be asked for.
    Object {
        /// The code.
        code: StatusCode,
        /// The kind.
        kind: std::sync::Arc<Kind>,
        /// The object or list.
        value: Value,
        /// `Warning` headers.
        warnings: Vec<String>,
    },
    /// Something else.
    Raw(Response),
}

impl Answer {
    /// A document with code 200.
    pub fn json(value: Value) -> Self {
        Self::Document {
            code: StatusCode::OK,
            value,
        }
    }

    /// Bytes of a content type, with code 200.
    pub fn bytes(content_type: &'static str, bytes: impl Into<Body>) -> Self {
        let mut response = Response::new(bytes.into());
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self::Raw(response)
    }

    /// Bytes that a client may keep, with code 200. `tag` is their `ETag`.
    pub fn tagged(content_type: &'static str, bytes: impl Into<Body>, tag: &str) -> Self {
        let mut response = Response::new(bytes.into());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(VARY, HeaderValue::from_static("Accept"));
        if let Ok(tag) = HeaderValue::from_str(tag) {
            headers.insert(ETAG, tag);
        }
        Self::Raw(response)
    }

    /// 304: what the client keeps is still so.
    pub fn unchanged(tag: &str) -> Self {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        if let Ok(tag) = HeaderValue::from_str(tag) {
            response.headers_mut().insert(ETAG, tag);
        }
        Self::Raw(response)
    }

    /// The answer, with a warning before all others.
    pub fn with_warning(mut self, warning: String) -> Self {
        match &mut self {
            Self::Object { warnings, .. } => warnings.insert(0, warning),
            Self::Raw(response) => add_warning(response, &warning),
            Self::Document { .. } => {}
        }
        self
    }

    /// The HTTP status code.
    pub fn code(&self) -> StatusCode {
        match self {
            Self::Document { code, .. } | Self::Object { code, .. } => *code,
            Self::Raw(response) => response.status(),
        }
    }

    /// Writes the answer as the client wants it.
    pub fn respond(self, request: &Request) -> Response {
        let wanted = media::negotiate(request.header(&http::header::ACCEPT)).unwrap_or_default();
        match self {
            Self::Document { code, value } => write(code, &value, wanted.encoding),
            Self::Raw(response) => response,
            Self::Object {
                code,
                kind,
                value,
                warnings,
            } => {
                let include = request.query.get("includeObject");
                let mut response = match in_form(&kind, value, wanted, include) {
                    Ok(value) => write(code, &value, wanted.encoding),
                    Err(status) => error(&status),
                };
                for warning in warnings {
                    add_warning(&mut response, &warning);
                }
                response
            }
        }
    }
}

fn add_warning(response: &mut Response, warning: &str) {
    if let Ok(value) = HeaderValue::from_str(&format!("299 - {warning:?}")) {
        response.headers_mut().append(WARNING, value);
    }
}

/// Brings an object or a list into another form.
///
/// # Errors
/// 406 if an object's form was asked for a list or the other way round, 400 for a bad
/// `includeObject`.
fn in_form(
    kind: &Kind,
    value: Value,
    wanted: Wanted,
    include: Option<&str>,
) -> Result<Value, Status> {
    let is_list = value["items"].is_array() && value["kind"] == kind.list_kind.as_str();
    // Answers of other kinds, such as a Status, have no other form.
    if !is_list && value["kind"] != kind.kind.as_str() {
        return Ok(value);
    }
    match wanted.form {
        Form::Object => Ok(value),
        Form::Table => table::render(kind, &value, include, wanted.meta_version),
        Form::Partial if is_list => Err(Status::not_acceptable(format!(
            "you requested PartialObjectMetadata, but the requested object is a list ({})",
            kind.list_kind
        ))),
        Form::Partial => Ok(partial(&value, wanted.meta_version)),
        Form::PartialList if is_list => {
            let items = value["items"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            let items: Vec<Value> = items
                .iter()
                .map(|item| partial(item, wanted.meta_version))
                .collect();
            Ok(json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": format!("meta.k8s.io/{}", wanted.meta_version),
                "metadata": value["metadata"],
                "items": items,
            }))
        }
        Form::PartialList => Err(Status::not_acceptable(
            "you requested PartialObjectMetadataList, but the requested object is not a list",
        )),
    }
}

/// The metadata of an object.
pub fn partial(object: &Value, meta_version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": format!("meta.k8s.io/{meta_version}"),
        "metadata": object["metadata"],
    })
}

/// The answer for an error.
pub fn error(status: &Status) -> Response {
    let mut response = write(status.code, &status.to_value(), Encoding::Json);
    if let Some(seconds) = status.details.retry_after_seconds {
        response
            .headers_mut()
            .insert(http::header::RETRY_AFTER, seconds.into());
    }
    response
}

fn write(code: StatusCode, value: &Value, encoding: Encoding) -> Response {
    let (content_type, text) = match encoding {
        Encoding::Json | Encoding::Protobuf => (
            "application/json",
            serde_json::to_vec(value).expect("a JSON value can be written"),
        ),
        Encoding::Yaml => match serde_saphyr::to_string(value) {
            Ok(text) => ("application/yaml", text.into_bytes()),
            Err(failure) => {
                let status = Status::internal(format!("cannot write YAML: {failure}"));
                return write(status.code, &status.to_value(), Encoding::Json);
            }
        },
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Headers that every answer carries.
pub fn finish(mut response: Response, method: &Method) -> Response {
    let id = uuid::Uuid::new_v4().to_string();
    if let Ok(id) = HeaderValue::from_str(&id) {
        response
            .headers_mut()
            .insert(HeaderName::from_static("audit-id"), id);
    }
    response.headers_mut().insert(
        http::header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    if method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    response
}
