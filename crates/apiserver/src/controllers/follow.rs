//! Following the changes of the storage from its beginning.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::api::Api;
use crate::storage::{Change, Revision, StorageError, Stored};

/// How long to wait before what failed is tried again.
pub const RETRY: Duration = Duration::from_millis(500);

/// What happened to a key. Values are parsed by those who need them, as far as they need them.
#[derive(Debug)]
pub struct Event {
    /// The key.
    pub key: Arc<str>,
    /// The revision of the write.
    pub revision: Revision,
    before: Option<Bytes>,
    after: Option<Bytes>,
}

impl Event {
    /// What was there.
    pub fn before<T: DeserializeOwned>(&self) -> Option<T> {
        parse(self.before.as_ref())
    }

    /// What is there.
    pub fn after<T: DeserializeOwned>(&self) -> Option<T> {
        parse(self.after.as_ref())
    }

    /// Whether the key has a value now.
    pub fn is_there(&self) -> bool {
        self.after.is_some()
    }

    /// An event for tests.
    #[cfg(test)]
    pub fn new(
        key: &str,
        before: Option<&serde_json::Value>,
        after: Option<&serde_json::Value>,
    ) -> Self {
        let bytes = |value: &serde_json::Value| value.to_string().into();
        Self {
            key: key.into(),
            revision: 1,
            before: before.map(bytes),
            after: after.map(bytes),
        }
    }
}

fn parse<T: DeserializeOwned>(bytes: Option<&Bytes>) -> Option<T> {
    serde_json::from_slice(bytes?).ok()
}

/// What a follower sees next.
#[derive(Debug)]
pub enum Seen {
    /// Everything there is: at the beginning, and after changes were missed.
    Everything(Vec<Event>),
    /// What changed; nothing, if it is only time to try again.
    Changes(Vec<Event>),
}

/// Follows all keys, or those that begin with one of some prefixes.
#[derive(Debug)]
pub struct Follower {
    api: Arc<Api>,
    prefixes: &'static [&'static str],
    seen: Option<Revision>,
}

impl Follower {
    /// Follows all keys. Begins with everything there is.
    pub fn new(api: Arc<Api>) -> Self {
        Self::of(api, &[""])
    }

    /// Follows the keys with these prefixes, of which none begins with another. Begins with
    /// everything there is.
    pub fn of(api: Arc<Api>, prefixes: &'static [&'static str]) -> Self {
        Self {
            api,
            prefixes,
            seen: None,
        }
    }

    /// Waits for what comes next, but not long if something is to be tried again; none when the
    /// server ends. Cancelling loses nothing.
    pub async fn next(&mut self, try_again: bool) -> Option<Seen> {
        loop {
            let shutdown = self.api.shutdown.clone();
            let step = tokio::select! {
                () = shutdown.cancelled() => return None,
                () = tokio::time::sleep(RETRY), if try_again => Ok(Seen::Changes(Vec::new())),
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
        let Some(mut seen) = self.seen else {
            let mut at = None;
            let mut events = Vec::new();
            for prefix in self.prefixes {
                let page = storage.list(prefix, None, at, None).await?;
                at = Some(page.revision);
                events.extend(page.entries.iter().map(existing));
            }
            self.seen = at;
            return Ok(Seen::Everything(events));
        };
        let common = match self.prefixes {
            [prefix] => prefix,
            _ => "",
        };
        loop {
            let changes = storage.changes(common, seen).await?;
            seen = changes.revision;
            self.seen = Some(seen);
            let wanted = |key: &str| self.prefixes.iter().any(|prefix| key.starts_with(prefix));
            let events: Vec<Event> = changes
                .changes
                .iter()
                .filter(|change| wanted(&change.key))
                .map(|change| changed(change))
                .collect();
            if !events.is_empty() {
                return Ok(Seen::Changes(events));
            }
        }
    }
}

fn existing(stored: &Stored) -> Event {
    Event {
        key: stored.key.clone(),
        revision: stored.revision,
        before: None,
        after: Some(stored.value.clone()),
    }
}

fn changed(change: &Change) -> Event {
    Event {
        key: change.key.clone(),
        revision: change.revision,
        before: change.before.as_ref().map(|before| before.value.clone()),
        after: change.after.clone(),
    }
}
