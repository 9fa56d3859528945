//! GET of a collection.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::api::{self, Scope};
use crate::registry::Kind;
use crate::request::field_selector::FieldSelector;
use crate::request::label_selector::LabelSelector;
use crate::request::options::{ListOptions, VersionMatch};
use crate::status::Status;
use crate::storage::{Revision, StorageError};

use super::watch;

/// How many objects are read at once, at least, to find those that a selector wants.
const SELECTED_PAGE: usize = 500;

/// Which objects of a collection are wanted.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// By labels.
    pub labels: LabelSelector,
    /// By fields.
    pub fields: FieldSelector,
}

impl Selection {
    /// Reads the selectors.
    ///
    /// # Errors
    /// 400.
    pub fn read(options: &ListOptions, kind: &Kind) -> Result<Self, Status> {
        Ok(Self {
            labels: LabelSelector::parse(&options.labels)?,
            fields: FieldSelector::parse(&options.fields, kind)?,
        })
    }

    /// Whether everything is wanted.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether an object is wanted.
    pub fn matches(&self, object: &Value) -> bool {
        self.labels.matches(&object["metadata"]["labels"]) && self.fields.matches(object)
    }
}

/// Where a list goes on.
#[derive(Debug, Deserialize)]
struct Continue {
    /// The revision of the first part; none to go on with what is there now.
    rv: Option<Revision>,
    /// The last key of the previous part.
    start: String,
}

impl Continue {
    fn encode(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(json!({"rv": self.rv, "start": self.start}).to_string())
    }
}

/// Lists, or watches if the options or the path say so.
pub async fn list_or_watch(scope: &Scope<'_>) -> Result<Answer, Status> {
    let options = ListOptions::read(&scope.request.query, scope.path.watch)?;
    let mut selection = Selection::read(&options, &scope.kind)?;
    if let Some(name) = &scope.path.name {
        selection.fields = selection.fields.and(FieldSelector::name(name));
    }
    if options.watch {
        return watch::watch(scope, options, selection).await;
    }
    list(scope, &options, &selection).await
}

async fn list(
    scope: &Scope<'_>,
    options: &ListOptions,
    selection: &Selection,
) -> Result<Answer, Status> {
    let kind = &scope.kind;
    let (at, after) = start(scope, options).await?;
    let prefix = kind.collection_prefix(scope.namespace());
    let mut items = Vec::new();
    let (mut at, mut after) = (at, after);
    // With a selector, few of many may be wanted.
    let size = options.limit.map(|limit| {
        if selection.is_empty() {
            limit
        } else {
            limit.max(SELECTED_PAGE)
        }
    });
    let (revision, remaining) = loop {
        let page = scope
            .api
            .storage
            .list(&prefix, after.as_deref(), at, size)
            .await
            .map_err(|error| match (error, after.take()) {
                (StorageError::Compacted { .. }, Some(after)) => expired(after),
                (error, _) => api::storage_failed(&error),
            })?;
        let full = |items: &[Value]| options.limit.is_some_and(|limit| items.len() >= limit);
        let mut entries = page.entries.iter();
        while let Some(stored) = (!full(&items)).then(|| entries.next()).flatten() {
            let object = api::decode(kind, stored)?;
            if selection.matches(&object) {
                items.push(object);
            }
            after = Some(stored.key.to_string());
        }
        if full(&items) || page.remaining == 0 {
            break (page.revision, page.remaining + entries.len());
        }
        at = Some(page.revision);
    };
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    match after {
        Some(start) if remaining > 0 => {
            let token = Continue {
                rv: Some(revision),
                start,
            };
            metadata["continue"] = token.encode().into();
            if selection.is_empty() {
                metadata["remainingItemCount"] = remaining.into();
            }
        }
        _ if kind.custom().is_some() => metadata["continue"] = "".into(),
        _ => {}
    }
    Ok(Answer::Object {
        code: StatusCode::OK,
        kind: kind.clone(),
        value: document(kind, &metadata, items),
        warnings: Vec::new(),
    })
}

/// The first part of a list is too long ago. The client may go on with what is there now.
fn expired(start: String) -> Status {
    let mut status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can \
         start a new list without the continue parameter, or use the continue token in this \
         response to retrieve the remainder of the results. Continuing with the provided token \
         results in an inconsistent list - objects that were created, modified, or deleted \
         between the time the first chunk was returned and now may show up in the list.",
    );
    status.details.continue_from = Continue { rv: None, start }.encode();
    status
}

/// A list. Items of built-in kinds do not repeat their type.
pub fn document(kind: &Kind, metadata: &Value, mut items: Vec<Value>) -> Value {
    if kind.custom().is_none() {
        for item in &mut items {
            if let Some(map) = item.as_object_mut() {
                map.shift_remove("kind");
                map.shift_remove("apiVersion");
            }
        }
    }
    json!({
        "kind": kind.list_kind,
        "apiVersion": kind.api_version(),
        "metadata": metadata,
        "items": items,
    })
}

/// The revision and the key at which to begin.
async fn start(
    scope: &Scope<'_>,
    options: &ListOptions,
) -> Result<(Option<Revision>, Option<String>), Status> {
    if let Some(token) = &options.continue_from {
        let invalid =
            || Status::bad_request("invalid continue token: continue key is not valid".to_owned());
        let bytes = BASE64_URL_SAFE_NO_PAD
            .decode(token)
            .map_err(|_| invalid())?;
        let token: Continue = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
        return Ok((token.rv, Some(token.start)));
    }
    let Some(version) = options.resource_version.filter(|version| *version != 0) else {
        return Ok((None, None));
    };
    // A page at a version without a match is meant exactly, from before there was a match.
    let exact = options.version_match == Some(VersionMatch::Exact)
        || options.version_match.is_none() && options.limit.is_some();
    if exact {
        return Ok((Some(version), None));
    }
    let current = scope
        .api
        .storage
        .revision()
        .await
        .map_err(|error| api::storage_failed(&error))?;
    if version > current {
        return Err(Status::too_large_resource_version(version, current));
    }
    Ok((None, None))
}
