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

    /// What an earlier run left; its history is gone.
    pub(super) fn restored(revision: Option<Revision>, entries: Vec<Stored>) -> Self {
        let memory = Self::default();
        let mut state = memory.lock();
        state.revision = revision.unwrap_or(FIRST);
        memory.newest.send_replace(state.revision);
        state.entries = entries
            .into_iter()
            .map(|entry| (entry.key.clone(), entry))
            .collect();
        drop(state);
        memory
    }

    /// The revision of the newest write.
    pub(super) fn newest(&self) -> Revision {
        self.lock().revision
    }

    /// What a write of a key must expect at the moment.
    pub(super) fn found(&self, key: &str) -> Expected {
        self.lock().found(key)
    }

    /// [`Storage::write`], which never waits here.
    pub(super) fn write_now(
        &self,
        key: &str,
        expected: Expected,
        value: Option<Bytes>,
    ) -> Result<Revision, StorageError> {
        let mut state = self.lock();
        if state.found(key) != expected {
            return Err(StorageError::Changed);
        }
        let before = state.entries.get(key).cloned();
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

    fn found(&self, key: &str) -> Expected {
        self.entries
            .get(key)
            .map_or(Expected::Absent, |entry| Expected::Revision(entry.revision))
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
        limit: Option<usize>,
    ) -> Result<Page, StorageError> {
        let limit = limit.unwrap_or(usize::MAX);
        let state = self.lock();
        let Some(at) = at.filter(|at| *at != state.revision) else {
            let mut range = state.range(prefix, after);
            let entries = range.by_ref().take(limit).cloned().collect();
            return Ok(Page {
                entries,
                revision: state.revision,
                remaining: range.count(),
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
        let remaining = entries.len().saturating_sub(limit);
        Ok(Page {
            entries: entries.into_values().take(limit).collect(),
            revision: at,
            remaining,
        })
    }

    async fn write(
        &self,
        key: &str,
        expected: Expected,
        value: Option<Bytes>,
    ) -> Result<Revision, StorageError> {
        self.write_now(key, expected, value)
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
}
