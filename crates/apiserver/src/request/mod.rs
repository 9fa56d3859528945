//! Requests: what a path, a query, the headers and the body ask for.

pub mod body;
pub mod field_selector;
pub mod label_selector;
pub mod media;
pub mod options;
pub mod path;
mod protobuf;
mod selectable_field;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, Method};

/// Who sends a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user's name.
    pub user: String,
    /// What tells this user from others of the same name, before and after; empty if nothing does.
    pub uid: String,
    /// The user's groups.
    pub groups: Vec<String>,
    /// What else the credentials say.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// A request, read completely.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path, still encoded.
    pub path: String,
    /// The decoded query.
    pub query: options::Query,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, may be empty.
    pub body: bytes::Bytes,
    /// Who sends it.
    pub identity: Arc<Identity>,
}

impl Request {
    /// A header's text.
    pub fn header(&self, name: &http::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The field manager of writes that name none: the user agent's product.
    pub fn default_manager(&self) -> String {
        let agent = self.header(&http::header::USER_AGENT).unwrap_or_default();
        let product = agent.split(['/', ' ']).next().unwrap_or_default();
        let printable = |c: &char| !c.is_control();
        match product
            .chars()
            .filter(printable)
            .take(128)
            .collect::<String>()
        {
            empty if empty.is_empty() => "unknown".to_owned(),
            name => name,
        }
    }
}
