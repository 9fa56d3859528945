//! Watches: streams of events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::stream;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::answer::{self, Answer};
use crate::api::{self, Api, Scope};
use crate::metrics::Running;
use crate::registry::Kind;
use crate::request::media::{self, Form};
use crate::request::options::ListOptions;
use crate::status::Status;
use crate::storage::{Change, Revision, StorageError, Stored};
use crate::table;

use super::list::Selection;

/// How often clients that want bookmarks get one.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// How long before its end a watch sends a last bookmark, if it lasts that long.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
/// How long a watch lasts if the client does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1800);
/// How many bytes of events are sent in one piece; one TLS record has no more.
const PIECE: usize = 16 * 1024;
/// How long a watch waits for more events after it had to send several in one piece. Encrypting,
/// sending and receiving a piece costs as much as many events in it. As long as events come one by
/// one, each is sent at once.
const PIECE_INTERVAL: Duration = Duration::from_millis(2);

/// A watch between two events.
struct Watch {
    api: Arc<Api>,
    kind: Arc<Kind>,
    prefix: String,
    selection: Selection,
    wanted: media::Wanted,
    include: Option<String>,
    /// Table events tell their columns only once.
    columns_sent: bool,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    /// Everything up to here has been sent.
    revision: Revision,
    ready: VecDeque<Bytes>,
    /// When to look for changes again.
    next_piece: Instant,
    ended: bool,
    /// Counts the watch as open.
    _running: Running,
}

/// Opens a watch.
pub async fn watch(
    scope: &Scope<'_>,
    options: ListOptions,
    selection: Selection,
) -> Result<Answer, Status> {
    let wanted = media::negotiate(scope.request.header(&http::header::ACCEPT))?;
    let now = Instant::now();
    let deadline = now
        + options
            .timeout_seconds
            .map_or(DEFAULT_TIMEOUT, Duration::from_secs)
            .min(
                // Far enough for everybody, and it cannot overflow.
                Duration::from_secs(365 * 86400),
            );
    let mut watch = Watch {
        api: scope.api.clone(),
        kind: scope.kind.clone(),
        prefix: scope.kind.collection_prefix(scope.namespace()),
        selection,
        wanted,
        include: scope.request.query.get("includeObject").map(str::to_owned),
        columns_sent: false,
        bookmarks: options.bookmarks,
        next_bookmark: bookmark_after(now, deadline),
        deadline,
        revision: 0,
        ready: VecDeque::new(),
        next_piece: now,
        ended: false,
        _running: scope.api.metrics.watch(&scope.path, &scope.kind),
    };
    watch.begin(&options).await?;
    let lines = stream::unfold(watch, |mut watch| async move {
        let lines = watch.next().await?;
        Some((Ok::<_, Infallible>(lines), watch))
    });
    Ok(Answer::bytes("application/json", Body::from_stream(lines)))
}

impl Watch {
    /// Finds where to begin, and prepares the initial events.
    async fn begin(&mut self, options: &ListOptions) -> Result<(), Status> {
        let from_now = options.resource_version.unwrap_or_default() == 0;
        let initial = options.send_initial_events.unwrap_or(from_now);
        if !initial && !from_now {
            self.revision = options.resource_version.unwrap_or_default();
            return Ok(());
        }
        let storage = &self.api.storage;
        if !initial {
            self.revision = storage
                .revision()
                .await
                .map_err(|error| api::storage_failed(&error))?;
            return Ok(());
        }
        let page = storage
            .list(&self.prefix, None, None, None)
            .await
            .map_err(|error| api::storage_failed(&error))?;
        if let Some(wanted) = options
            .resource_version
            .filter(|wanted| *wanted > page.revision)
        {
            return Err(Status::too_large_resource_version(wanted, page.revision));
        }
        for stored in &page.entries {
            let object = api::decode(&self.kind, stored)?;
            if self.selection.matches(&object) {
                self.push("ADDED", object);
            }
        }
        self.revision = page.revision;
        if options.send_initial_events == Some(true) && self.bookmarks {
            self.bookmark(true);
        }
        Ok(())
    }

    /// The next lines; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let several = self.ready.len() > 1;
            if let Some(lines) = take_lines(&mut self.ready) {
                if several {
                    self.next_piece = Instant::now() + PIECE_INTERVAL;
                }
                return Some(lines);
            }
            if self.ended {
                return None;
            }
            let storage = self.api.storage.clone();
            let bookmarks = self.bookmarks;
            let changes = async {
                sleep_until(self.next_piece).await;
                storage.changes(&self.prefix, self.revision).await
            };
            tokio::select! {
                () = self.api.shutdown.cancelled() => return None,
                () = sleep_until(self.deadline) => return None,
                () = sleep_until(self.next_bookmark), if bookmarks => {
                    self.bookmark(false);
                    self.next_bookmark = bookmark_after(Instant::now(), self.deadline);
                }
                changes = changes => match changes {
                    Ok(changes) => {
                        for change in &changes.changes {
                            if !self.ended {
                                self.change(change);
                            }
                        }
                        self.revision = changes.revision;
                    }
                    Err(error) => self.fail(&error),
                },
            }
        }
    }

    /// Turns a change into the event that it is for this selection.
    fn change(&mut self, change: &Change) {
        if self.selection.is_empty() && self.wanted.form != Form::Table {
            return self.shared_change(change);
        }
        let at = |value: &Bytes| Stored {
            key: change.key.clone(),
            value: value.clone(),
            revision: change.revision,
        };
        // What left the selection is shown as it was, with the version of the write.
        let before = change.before.as_ref().map(|before| at(&before.value));
        let after = change.after.as_ref().map(at);
        let selected = |stored: Option<Stored>| {
            let object = stored.map(|stored| api::decode(&self.kind, &stored));
            let matches = |object: &Value| self.selection.matches(object);
            object.transpose().map(|object| object.filter(matches))
        };
        match (selected(before), selected(after)) {
            (Err(status), _) | (_, Err(status)) => self.error(&status),
            (Ok(None), Ok(Some(object))) => self.push("ADDED", object),
            (Ok(Some(_)), Ok(Some(object))) => self.push("MODIFIED", object),
            (Ok(Some(object)), Ok(None)) => self.push("DELETED", object),
            (Ok(None), Ok(None)) => {}
        }
    }

    /// The event of a change for those who want everything: the same for all of them.
    fn shared_change(&mut self, change: &Change) {
        let (event, value) = match (&change.before, &change.after) {
            (None, Some(after)) => ("ADDED", after),
            (Some(_), Some(after)) => ("MODIFIED", after),
            (Some(before), None) => ("DELETED", &before.value),
            (None, None) => return,
        };
        let stored = Stored {
            key: change.key.clone(),
            value: value.clone(),
            revision: change.revision,
        };
        let write = || {
            let object = api::decode(&self.kind, &stored).ok()?;
            let object = match self.wanted.form {
                Form::Partial | Form::PartialList => {
                    answer::partial(&object, self.wanted.meta_version)
                }
                Form::Object | Form::Table => object,
            };
            Some(line(event, &object))
        };
        let lines = &self.api.event_lines;
        match lines.get(change, &self.kind, self.wanted, write) {
            Some(line) => self.ready.push_back(line),
            None => {
                if let Err(status) = api::decode(&self.kind, &stored) {
                    self.error(&status);
                }
            }
        }
    }

    fn push(&mut self, event: &str, object: Value) {
        let object = match self.wanted.form {
            Form::Object => object,
            Form::Partial | Form::PartialList => answer::partial(&object, self.wanted.meta_version),
            Form::Table => {
                let version = self.wanted.meta_version;
                match table::render(&self.kind, &object, self.include.as_deref(), version) {
                    Ok(mut table) => {
                        if std::mem::replace(&mut self.columns_sent, true) {
                            table["columnDefinitions"] = Value::Null;
                        }
                        table
                    }
                    Err(status) => return self.error(&status),
                }
            }
        };
        self.line(event, &object);
    }

    fn bookmark(&mut self, end_of_initial_events: bool) {
        let mut metadata = json!({"resourceVersion": self.revision.to_string()});
        if end_of_initial_events {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let (kind, version) = match self.wanted.form {
            Form::Object => (self.kind.kind.as_str(), self.kind.api_version()),
            Form::Partial | Form::PartialList => (
                "PartialObjectMetadata",
                format!("meta.k8s.io/{}", self.wanted.meta_version),
            ),
            Form::Table => ("Table", format!("meta.k8s.io/{}", self.wanted.meta_version)),
        };
        let mut object = json!({"kind": kind, "apiVersion": version, "metadata": metadata});
        if self.wanted.form == Form::Table {
            object["columnDefinitions"] = Value::Null;
            object["rows"] = json!([]);
        }
        self.line("BOOKMARK", &object);
    }

    fn fail(&mut self, error: &StorageError) {
        let status = match error {
            StorageError::Compacted { oldest } => Status::expired(format!(
                "too old resource version: {} ({oldest})",
                self.revision
            )),
            error => api::storage_failed(error),
        };
        self.error(&status);
    }

    fn error(&mut self, status: &Status) {
        self.line("ERROR", &status.to_value());
        self.ended = true;
    }

    fn line(&mut self, event: &str, object: &Value) {
        self.ready.push_back(line(event, object));
    }
}

/// When the bookmark after `now` is due: now and then, and shortly before the end.
fn bookmark_after(now: Instant, deadline: Instant) -> Instant {
    let regular = now + BOOKMARK_INTERVAL;
    match deadline.checked_sub(LAST_BOOKMARK) {
        Some(last) if last > now => regular.min(last),
        _ => regular,
    }
}

/// The lines that are ready, as many as go well into one piece: every piece that is sent costs
/// more than copying some.
fn take_lines(ready: &mut VecDeque<Bytes>) -> Option<Bytes> {
    let first = ready.pop_front()?;
    let fits = |next: &Bytes, length: usize| length + next.len() <= PIECE;
    if ready.front().is_none_or(|next| !fits(next, first.len())) {
        return Some(first);
    }
    let mut piece = BytesMut::with_capacity(PIECE);
    piece.extend_from_slice(&first);
    while let Some(next) = ready.pop_front_if(|next| fits(next, piece.len())) {
        piece.extend_from_slice(&next);
    }
    Some(piece.freeze())
}

/// An event as it is sent.
fn line(event: &str, object: &Value) -> Bytes {
    #[derive(Serialize)]
    struct Event<'a> {
        #[serde(rename = "type")]
        event: &'a str,
        object: &'a Value,
    }
    let event = Event { event, object };
    let mut line = serde_json::to_vec(&event).expect("a JSON value can be written");
    line.push(b'\n');
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_ends_with_one_bookmark_if_it_lasts_long_enough() {
        let now = Instant::now();
        let after = |seconds: u64| bookmark_after(now, now + Duration::from_secs(seconds)) - now;
        assert_eq!(after(600), BOOKMARK_INTERVAL);
        assert_eq!(after(30), Duration::from_secs(28));
        assert_eq!(after(2), BOOKMARK_INTERVAL);
        let last = now + Duration::from_secs(28);
        let deadline = now + Duration::from_secs(30);
        assert!(bookmark_after(last, deadline) > deadline);
    }
}
