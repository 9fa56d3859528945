//! Following the changes of the storage from its beginning.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::api::Api;
use crate::storage::{Change, Revision, StorageError, Stored};

/// How long to wait before a storage that failed is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// What happened to a key.
#[derive(Debug)]
pub struct Event {
    /// The key.
    pub key: Arc<str>,
    /// What was there.
    pub before: Option<Value>,
    /// What is there.
    pub after: Option<Value>,
}

/// Follows all keys with a prefix.
#[derive(Debug)]
pub struct Follower {
    api: Arc<Api>,
    prefix: String,
    seen: Option<Revision>,
}

/// What a follower sees next.
#[derive(Debug)]
pub enum Seen {
    /// Everything there is: at the beginning, and after changes were missed.
    Everything(Vec<Event>),
    /// What changed.
    Changes(Vec<Event>),
}

impl Follower {
    /// Begins with everything there is.
    pub fn new(api: Arc<Api>, prefix: &str) -> Self {
        Self {
            api,
            prefix: prefix.to_owned(),
            seen: None,
        }
    }

    /// Waits for what comes next; none when the server ends.
    pub async fn next(&mut self) -> Option<Seen> {
        loop {
            let shutdown = self.api.shutdown.clone();
            let step = tokio::select! {
                () = shutdown.cancelled() => return None,
                step = self.step() => step,
            };
            match step {
                Ok(seen) => return Some(seen),
                Err(StorageError::Compacted { .. }) => self.seen = None,
                Err(error) => {
                    tracing::debug!(%error, "a controller cannot read the storage");
                    self.seen = None;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Seen, StorageError> {
        let storage = &self.api.storage;
        let Some(seen) = self.seen else {
            let page = storage.list(&self.prefix, None, None).await?;
            self.seen = Some(page.revision);
            return Ok(Seen::Everything(
                page.entries.iter().map(existing).collect(),
            ));
        };
        let changes = storage.changes(&self.prefix, seen).await?;
        self.seen = Some(changes.revision);
        Ok(Seen::Changes(
            changes
                .changes
                .iter()
                .map(|change| changed(change))
                .collect(),
        ))
    }
}

fn existing(stored: &Stored) -> Event {
    Event {
        key: stored.key.clone(),
        before: None,
        after: parse(&stored.value),
    }
}

fn changed(change: &Change) -> Event {
    Event {
        key: change.key.clone(),
        before: change
            .before
            .as_ref()
            .and_then(|before| parse(&before.value)),
        after: change.after.as_ref().and_then(|after| parse(after)),
    }
}

fn parse(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes).ok()
}
