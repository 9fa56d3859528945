//! Answers in the shapes that Netmaker has: wrapped, bare, plain text, or nothing at all.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// What goes back to the client.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    status: StatusCode,
    media_type: Option<&'static str>,
    location: Option<String>,
    body: String,
}

/// An answer that ends a handler early.
pub(super) type Result<T> = std::result::Result<T, Answer>;

impl Answer {
    /// 200 with the envelope.
    pub(super) fn wrapped(message: impl Into<String>, response: impl Serialize) -> Self {
        let response = serde_json::to_string(&response).unwrap_or_else(|_| "null".to_owned());
        let message = Value::String(message.into());
        let body = format!(r#"{{"Code":200,"Message":{message},"Response":{response}}}"#);
        Self::json(StatusCode::OK, body)
    }

    /// 200 without the envelope, as JSON.
    pub(super) fn bare(value: &Value) -> Self {
        Self::json(StatusCode::OK, value.to_string())
    }

    /// 200 with a list of texts that are JSON already.
    pub(super) fn list<'a>(items: impl Iterator<Item = &'a str>) -> Self {
        let mut body = String::from("[");
        for item in items {
            if body.len() > 1 {
                body.push(',');
            }
            body.push_str(item);
        }
        body.push(']');
        Self::json(StatusCode::OK, body)
    }

    /// 200 with JSON that says it is plain text.
    pub(super) fn labelled_text(value: &Value) -> Self {
        Self::text(value.to_string())
    }

    /// 200 in plain text.
    pub(super) fn text(body: impl Into<String>) -> Self {
        Self {
            status: StatusCode::OK,
            media_type: Some(TEXT),
            location: None,
            body: body.into(),
        }
    }

    /// 200 with nothing.
    pub(super) fn nothing() -> Self {
        Self::empty(StatusCode::OK)
    }

    /// An error in the envelope.
    pub(super) fn error(status: StatusCode, message: impl Into<String>) -> Self {
        let body = json!({"Code": status.as_u16(), "Message": message.into(), "Response": null});
        Self::json(status, body.to_string())
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::error(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn unauthorized(message: impl Into<String>) -> Self {
        Self::error(StatusCode::UNAUTHORIZED, message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::error(StatusCode::FORBIDDEN, message)
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::error(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// The text that Go's router has for a path that nobody serves.
    pub(super) fn unknown_path() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            ..Self::text("404 page not found\n")
        }
    }

    pub(super) fn wrong_method() -> Self {
        Self::empty(StatusCode::METHOD_NOT_ALLOWED)
    }

    pub(super) fn moved(location: String) -> Self {
        Self {
            location: Some(location),
            ..Self::empty(StatusCode::MOVED_PERMANENTLY)
        }
    }

    fn json(status: StatusCode, body: String) -> Self {
        Self {
            status,
            media_type: Some(JSON),
            location: None,
            body,
        }
    }

    fn empty(status: StatusCode) -> Self {
        Self {
            status,
            media_type: None,
            location: None,
            body: String::new(),
        }
    }

    /// Its status and its body.
    #[cfg(test)]
    pub(super) fn shown(self) -> (StatusCode, String) {
        (self.status, self.body)
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if let Some(kind) = self.media_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        if let Some(location) = self.location.and_then(|text| text.parse().ok()) {
            headers.insert(header::LOCATION, location);
        }
        response
    }
}
