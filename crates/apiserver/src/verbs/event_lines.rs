//! Events as they are sent, made once and shared by all watches that send the same.
//!
//! Most watches of a collection want everything in it. For them an event is the same bytes, so
//! it is decoded and written once, by the first that gets to it, whatever storage it comes from.

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use crate::registry::Kind;
use crate::request::media::Wanted;
use crate::storage::{Change, Revision};

/// How many bytes of events are kept. Watches that are further behind make theirs themselves.
const LIMIT: usize = 8 * 1024 * 1024;
/// What keeping an event costs beside its bytes, roughly.
const OVERHEAD: usize = 256;

/// What an event shows: the write, in which version of the kind, in which form. A storage may
/// write several keys at one revision. The kind counts as the thing it is: when a definition
/// changes, its kinds are made anew.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    revision: Revision,
    key: Arc<str>,
    kind_address: usize,
    wanted: Wanted,
}

impl Hash for Key {
    /// The revision alone tells nearly all events apart.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.revision.hash(state);
    }
}

/// Recent events as they are sent.
#[derive(Debug, Default)]
pub struct EventLines(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    lines: HashMap<Key, Line>,
    /// What was made, in that order, and its cost.
    made: VecDeque<(Key, usize)>,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Line {
    /// Keeps the address in the key from being used again.
    _kind: Arc<Kind>,
    text: Arc<OnceLock<Option<Bytes>>>,
}

impl EventLines {
    /// The line of an event; `write` makes it if nobody has yet. None if it cannot be made.
    pub fn get(
        &self,
        change: &Change,
        kind: &Arc<Kind>,
        wanted: Wanted,
        write: impl FnOnce() -> Option<Bytes>,
    ) -> Option<Bytes> {
        let key = Key {
            revision: change.revision,
            key: change.key.clone(),
            kind_address: Arc::as_ptr(kind) as usize,
            wanted,
        };
        let text = self.lock().entry(&key, kind);
        let mut length = None;
        // Others who want the same line wait for it here, and not for the lock.
        let line = text.get_or_init(|| {
            let line = write();
            length = Some(line.as_ref().map_or(0, Bytes::len));
            line
        });
        if let Some(length) = length {
            self.lock().keep(key, length + OVERHEAD);
        }
        line.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    fn entry(&mut self, key: &Key, kind: &Arc<Kind>) -> Arc<OnceLock<Option<Bytes>>> {
        if let Some(line) = self.lines.get(key) {
            return line.text.clone();
        }
        let line = Line {
            _kind: kind.clone(),
            text: Arc::default(),
        };
        let text = line.text.clone();
        self.lines.insert(key.clone(), line);
        text
    }

    /// Counts a line that was made, and forgets the oldest ones if it is too much.
    fn keep(&mut self, key: Key, cost: usize) {
        self.made.push_back((key, cost));
        self.bytes += cost;
        while self.bytes > LIMIT
            && let Some((oldest, cost)) = self.made.pop_front()
        {
            self.lines.remove(&oldest);
            self.bytes -= cost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    fn line(lines: &EventLines, revision: Revision, key: &str, text: &str) -> Option<Bytes> {
        let kind = Registry::new().find("", "v1", "pods").unwrap();
        let change = Change {
            key: key.into(),
            revision,
            before: None,
            after: None,
        };
        let write = || Some(Bytes::copy_from_slice(text.as_bytes()));
        lines.get(&change, &kind, Wanted::default(), write)
    }

    #[test]
    fn a_line_is_made_once() {
        let lines = EventLines::default();
        assert_eq!(line(&lines, 7, "a", "first").unwrap(), "first");
        assert_eq!(line(&lines, 7, "a", "again").unwrap(), "first");
        assert_eq!(line(&lines, 7, "b", "other").unwrap(), "other");
        assert_eq!(line(&lines, 8, "a", "next").unwrap(), "next");
    }

    #[test]
    fn old_lines_are_forgotten_when_there_are_too_many() {
        let lines = EventLines::default();
        let large = "x".repeat(LIMIT / 4);
        for revision in 0..8 {
            line(&lines, revision, "a", &large);
        }
        assert_eq!(line(&lines, 7, "a", "new").unwrap().len(), large.len());
        assert_eq!(line(&lines, 0, "a", "new").unwrap(), "new");
        assert!(lines.lock().bytes <= LIMIT);
    }
}
