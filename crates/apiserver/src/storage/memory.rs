//! A storage in memory with a bounded history.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::{Change, Changes, Expected, Page, Revision, Storage, StorageError, Stored};

/// How many changes are kept unless told otherwise.
const HISTORY: usize = 8192;

/// How many bytes of old values are kept for the sake of the history alone: large objects that
/// change often would need far more memory than what is stored.
const HISTORY_BYTES: usize = 48 * 1024 * 1024;

/// The revision of an empty storage. Not 0: that means "any version" in list and watch requests.
const FIRST: Revision = 1;

/// Keeps everything in memory; gone when dropped.
#[derive(Debug)]
pub struct Memory {
    state: Mutex<State>,
    newest: watch::Sender<Revision>,
    history_limit: usize,
}

#[derive(Debug)]
struct State {
    revision: Revision,
    entries: BTreeMap<Arc<str>, Stored>,
    /// Changes in the order of their revisions, without gaps.
    history: VecDeque<Arc<Change>>,
    /// The bytes of the values before the remembered changes; those after are stored anyway, or
    /// are the values before later changes.
    history_bytes: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self::with_history(HISTORY)
    }
}

impl Memory {
    /// An empty storage that remembers this many changes for watches and old reads.
    pub fn with_history(limit: usize) -> Self {
        let state = State {
            revision: FIRST,
            entries: BTreeMap::new(),
            history: VecDeque::new(),
            history_bytes: 0,
        };
        Self {
            state: Mutex::new(state),
            newest: watch::Sender::new(FIRST),
            history_limit: limit,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The oldest revision that can still be read: that before the first remembered change.
    fn oldest(&self) -> Revision {
        self.history
            .front()
            .map_or(self.revision, |change| change.revision - 1)
    }

    /// Adds a change to the history, and forgets the oldest ones if it is too much.
    fn remember(&mut self, change: Change, limit: usize) {
        self.history_bytes += bytes_before(&change);
        self.history.push_back(Arc::new(change));
        while (self.history.len() > limit || self.history_bytes > HISTORY_BYTES)
            && let Some(forgotten) = self.history.pop_front()
        {
            self.history_bytes -= bytes_before(&forgotten);
        }
    }

    fn check_reach(&self, revision: Revision) -> Result<(), StorageError> {
        if revision > self.revision {
            return Err(StorageError::Future {
                wanted: revision,
                current: self.revision,
            });
        }
        if revision < self.oldest() {
            return Err(StorageError::Compacted {
                oldest: self.oldest(),
            });
        }
        Ok(())
    }

    /// The changes after a revision that is within reach.
    fn since(&self, after: Revision) -> impl DoubleEndedIterator<Item = &Arc<Change>> {
        let known = usize::try_from(after - self.oldest()).unwrap_or(usize::MAX);
        self.history.range(known.min(self.history.len())..)
    }

    fn range(&self, prefix: &str, after: Option<&str>) -> impl Iterator<Item = &Stored> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.entries
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(_, stored)| stored)
    }
}

fn bytes_before(change: &Change) -> usize {
    change
        .before
        .as_ref()
        .map_or(0, |before| before.value.len())
}

#[async_trait]
impl Storage for Memory {
    async fn revision(&self) -> Result<Revision, StorageError> {
        Ok(self.lock().revision)
    }

    async fn get(&self, key: &str) -> Result<Option<Stored>, StorageError> {
        Ok(self.lock().entries.get(key).cloned())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        at: Option<Revision>,
    ) -> Result<Page, StorageError> {
        let state = self.lock();
        let Some(at) = at.filter(|at| *at != state.revision) else {
            let entries = state.range(prefix, after).cloned().collect();
            return Ok(Page {
                entries,
                revision: state.revision,
            });
        };
        state.check_reach(at)?;
        let mut entries: BTreeMap<Arc<str>, Stored> = state
            .range(prefix, after)
            .map(|entry| (entry.key.clone(), entry.clone()))
            .collect();
        let wanted = |key: &str| key.starts_with(prefix) && after.is_none_or(|after| key > after);
        for change in state.since(at).rev().filter(|change| wanted(&change.key)) {
            match &change.before {
                Some(before) => entries.insert(change.key.clone(), before.clone()),
                None => entries.remove(&change.key),
            };
        }
        Ok(Page {
            entries: entries.into_values().collect(),
            revision: at,
        })
    }

    async fn write(
        &self,
        key: &str,
        expected: Expected,
        value: Option<Bytes>,
    ) -> Result<Revision, StorageError> {
        let mut state = self.lock();
        let before = state.entries.get(key).cloned();
        let found = before
            .as_ref()
            .map_or(Expected::Absent, |b| Expected::Revision(b.revision));
        if found != expected {
            return Err(StorageError::Changed);
        }
        state.revision += 1;
        let revision = state.revision;
        let key: Arc<str> = before
            .as_ref()
            .map_or_else(|| key.into(), |b| b.key.clone());
        match &value {
            Some(value) => {
                let stored = Stored {
                    key: key.clone(),
                    value: value.clone(),
                    revision,
                };
                state.entries.insert(key.clone(), stored);
            }
            None => {
                state.entries.remove(&key);
            }
        }
        let change = Change {
            key,
            revision,
            before,
            after: value,
        };
        state.remember(change, self.history_limit);
        drop(state);
        // Two writers may get here in either order; watchers must never see the number fall.
        self.newest.send_if_modified(|newest| {
            let newer = *newest < revision;
            *newest = revision.max(*newest);
            newer
        });
        Ok(revision)
    }

    async fn changes(&self, prefix: &str, after: Revision) -> Result<Changes, StorageError> {
        let mut newest = self.newest.subscribe();
        // The sender lives as long as self, so waiting cannot fail.
        let _ = newest.wait_for(|newest| *newest > after).await;
        let state = self.lock();
        state.check_reach(after)?;
        let changes = state
            .since(after)
            .filter(|change| change.key.starts_with(prefix))
            .cloned()
            .collect();
        Ok(Changes {
            changes,
            revision: state.revision,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(value.as_bytes()))
    }

    fn show(entries: &[Stored]) -> Vec<String> {
        let show = |e: &Stored| format!("{}={}", e.key, String::from_utf8_lossy(&e.value));
        entries.iter().map(show).collect()
    }

    #[tokio::test]
    async fn a_write_that_expects_something_else_is_refused() {
        let storage = Memory::default();
        let first = storage
            .write("a", Expected::Absent, text("1"))
            .await
            .unwrap();
        for wrong in [Expected::Absent, Expected::Revision(first + 1)] {
            let refused = storage.write("a", wrong, text("2")).await;
            assert!(matches!(refused, Err(StorageError::Changed)), "{wrong:?}");
        }
        storage
            .write("a", Expected::Revision(first), None)
            .await
            .unwrap();
        assert!(storage.get("a").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn an_old_revision_shows_the_entries_of_that_time() {
        let storage = Memory::default();
        let a = storage
            .write("x/a", Expected::Absent, text("1"))
            .await
            .unwrap();
        let b = storage
            .write("x/b", Expected::Absent, text("1"))
            .await
            .unwrap();
        storage
            .write("x/a", Expected::Revision(a), text("2"))
            .await
            .unwrap();
        storage
            .write("x/b", Expected::Revision(b), None)
            .await
            .unwrap();
        let at = |revision| storage.list("x/", None, Some(revision));
        assert_eq!(show(&at(a).await.unwrap().entries), ["x/a=1"]);
        assert_eq!(show(&at(b).await.unwrap().entries), ["x/a=1", "x/b=1"]);
        assert_eq!(
            show(&storage.list("x/", None, None).await.unwrap().entries),
            ["x/a=2"]
        );
        assert!(matches!(at(99).await, Err(StorageError::Future { .. })));
    }

    #[tokio::test]
    async fn a_range_begins_behind_the_given_key_and_ends_with_the_prefix() {
        let storage = Memory::default();
        for key in ["w/z", "x/a", "x/b", "x/c", "y/a"] {
            storage
                .write(key, Expected::Absent, text("1"))
                .await
                .unwrap();
        }
        let page = storage.list("x/", Some("x/a"), None).await.unwrap();
        assert_eq!(show(&page.entries), ["x/b=1", "x/c=1"]);
    }

    #[tokio::test]
    async fn changes_come_in_order_and_only_for_the_prefix() {
        let storage = Memory::default();
        let start = storage.revision().await.unwrap();
        for key in ["x/a", "y/a", "x/b"] {
            storage
                .write(key, Expected::Absent, text("1"))
                .await
                .unwrap();
        }
        let seen = storage.changes("x/", start).await.unwrap();
        let keys: Vec<&str> = seen.changes.iter().map(|change| &*change.key).collect();
        assert_eq!(keys, ["x/a", "x/b"]);
        assert_eq!(seen.revision, storage.revision().await.unwrap());
    }

    #[tokio::test]
    async fn large_old_values_fall_out_of_the_history_sooner() {
        let storage = Memory::default();
        let large = "x".repeat(HISTORY_BYTES / 4);
        let mut expected = Expected::Absent;
        for _ in 0..7 {
            let written = storage.write("a", expected, text(&large)).await;
            expected = Expected::Revision(written.unwrap());
        }
        let kept = storage.lock().history.len();
        assert_eq!(kept, 4);
        assert!(storage.lock().history_bytes <= HISTORY_BYTES);
        let gone = storage.changes("", FIRST).await;
        assert!(matches!(gone, Err(StorageError::Compacted { .. })));
    }

    #[tokio::test]
    async fn what_fell_out_of_the_history_is_compacted() {
        let storage = Memory::with_history(2);
        let start = storage.revision().await.unwrap();
        for key in ["a", "b", "c"] {
            storage
                .write(key, Expected::Absent, text("1"))
                .await
                .unwrap();
        }
        let watch = storage.changes("", start).await;
        assert!(matches!(watch, Err(StorageError::Compacted { oldest }) if oldest == start + 1));
        assert_eq!(
            storage.changes("", start + 1).await.unwrap().changes.len(),
            2
        );
        let list = storage.list("", None, Some(start)).await;
        assert!(matches!(list, Err(StorageError::Compacted { .. })));
    }
}
