//! The newest changes, which one watch of etcd brings and all watches of clients read.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::storage::{Change, Changes, Revision, StorageError};

/// Changes in the order of their revisions. There are gaps: others write to etcd as well.
#[derive(Debug)]
pub struct Window {
    state: Mutex<State>,
    moved: watch::Sender<()>,
    limit: usize,
}

#[derive(Debug)]
struct State {
    /// Every change after this revision is there, up to the newest.
    oldest: Revision,
    newest: Revision,
    changes: VecDeque<Arc<Change>>,
}

impl Window {
    /// An empty window behind a revision that remembers this many changes.
    pub fn new(start: Revision, limit: usize) -> Self {
        Self {
            state: Mutex::new(State {
                oldest: start,
                newest: start,
                changes: VecDeque::new(),
            }),
            moved: watch::Sender::new(()),
            limit,
        }
    }

    /// The revision of the newest change.
    pub fn newest(&self) -> Revision {
        self.lock().newest
    }

    /// Adds changes that follow those that are there.
    pub fn add(&self, changes: impl Iterator<Item = Change>) {
        let mut state = self.lock();
        for change in changes {
            state.newest = state.newest.max(change.revision);
            state.changes.push_back(Arc::new(change));
        }
        while state.changes.len() > self.limit {
            if let Some(forgotten) = state.changes.pop_front() {
                state.oldest = forgotten.revision;
            }
        }
        drop(state);
        self.moved.send_replace(());
    }

    /// Begins anew behind a revision: what happened before it was missed.
    pub fn reset(&self, start: Revision) {
        let mut state = self.lock();
        *state = State {
            oldest: start,
            newest: start,
            changes: VecDeque::new(),
        };
        drop(state);
        self.moved.send_replace(());
    }

    /// Waits until there is something newer than `after`, then returns it.
    ///
    /// # Errors
    /// [`StorageError::Compacted`].
    pub async fn changes(&self, prefix: &str, after: Revision) -> Result<Changes, StorageError> {
        let mut moved = self.moved.subscribe();
        loop {
            if let Some(changes) = self.lock().after(prefix, after)? {
                return Ok(changes);
            }
            // The sender lives as long as self, so waiting cannot fail.
            moved.changed().await.ok();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn after(&self, prefix: &str, after: Revision) -> Result<Option<Changes>, StorageError> {
        if after < self.oldest {
            return Err(StorageError::Compacted {
                oldest: self.oldest,
            });
        }
        if after >= self.newest {
            return Ok(None);
        }
        let known = self.changes.partition_point(|c| c.revision <= after);
        let changes = self.changes.range(known..);
        Ok(Some(Changes {
            changes: changes
                .filter(|change| change.key.starts_with(prefix))
                .cloned()
                .collect(),
            revision: self.newest,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, revision: Revision) -> Change {
        Change {
            key: key.into(),
            revision,
            before: None,
            after: None,
        }
    }

    #[tokio::test]
    async fn gaps_between_revisions_lose_nothing() {
        let window = Window::new(10, 8);
        window.add([change("x/a", 13), change("y/a", 17), change("x/b", 20)].into_iter());
        let seen = window.changes("x/", 13).await.unwrap();
        let revisions: Vec<_> = seen.changes.iter().map(|c| c.revision).collect();
        assert_eq!((revisions, seen.revision), (vec![20], 20));
    }

    #[tokio::test]
    async fn what_was_forgotten_or_missed_is_compacted() {
        let window = Window::new(10, 1);
        window.add([change("a", 13), change("b", 17)].into_iter());
        let compacted = window.changes("", 12).await;
        assert!(matches!(
            compacted,
            Err(StorageError::Compacted { oldest: 13 })
        ));
        assert_eq!(window.changes("", 13).await.unwrap().changes.len(), 1);
        window.reset(30);
        assert!(window.changes("", 17).await.is_err());
    }
}
