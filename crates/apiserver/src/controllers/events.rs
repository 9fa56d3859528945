//! Events: they go some time after they were last written, as they do where etcd's leases end
//! them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::api::Api;
use crate::storage::{Expected, Revision, StorageError};

use super::follow::{Event, Follower, RETRY, Seen};

/// Events of both groups are kept here.
const EVENTS: &[&str] = &["/events/"];

/// Which write of an event ends when. The time to live is the same for all, so the first to be
/// written is the first to go. A later write of the same event has an entry of its own, and makes
/// the earlier one void.
#[derive(Debug, Default)]
struct Ends(VecDeque<(Instant, Arc<str>, Revision)>);

/// Runs until the server ends. An event that is there at the beginning counts as written then.
pub async fn run(api: Arc<Api>, time_to_live: Duration) {
    let mut follower = Follower::of(api.clone(), EVENTS);
    let mut ends = Ends::default();
    loop {
        let seen = tokio::select! {
            seen = follower.next(false) => seen,
            () = ends.next() => {
                ends.remove_due(&api).await;
                continue;
            }
        };
        let end = Instant::now() + time_to_live;
        match seen {
            None => return,
            Some(Seen::Everything(events)) => ends.restart(&events, end),
            Some(Seen::Changes(events)) => ends.note(&events, end),
        }
    }
}

impl Ends {
    fn note(&mut self, events: &[Event], end: Instant) {
        let written = events.iter().filter(|event| event.is_there());
        self.0
            .extend(written.map(|event| (end, event.key.clone(), event.revision)));
    }

    /// Keeps the ends that are known; what is not there any more has none.
    fn restart(&mut self, events: &[Event], end: Instant) {
        let known: HashMap<(Arc<str>, Revision), Instant> = std::mem::take(&mut self.0)
            .into_iter()
            .map(|(end, key, revision)| ((key, revision), end))
            .collect();
        let mut ends: Vec<_> = events
            .iter()
            .map(|event| {
                let id = (event.key.clone(), event.revision);
                (known.get(&id).copied().unwrap_or(end), id.0, id.1)
            })
            .collect();
        ends.sort_by_key(|(end, ..)| *end);
        self.0 = ends.into();
    }

    /// Waits for the next end; for ever if there is none.
    async fn next(&self) {
        match self.0.front() {
            Some((end, ..)) => tokio::time::sleep_until(*end).await,
            None => std::future::pending().await,
        }
    }

    async fn remove_due(&mut self, api: &Api) {
        let now = Instant::now();
        while let Some((end, key, revision)) = self.0.pop_front() {
            if end > now {
                self.0.push_front((end, key, revision));
                return;
            }
            // If it was written since, that write ends later.
            let expected = Expected::Revision(revision);
            match api.storage.write(&key, expected, None).await {
                Ok(_) | Err(StorageError::Changed) => {}
                Err(error) => {
                    tracing::debug!(%error, %key, "cannot remove an old event");
                    self.0.push_front((now + RETRY, key, revision));
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn missed_changes_do_not_prolong_what_was_known() {
        let mut ends = Ends::default();
        let (first, second) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        let event = |key| Event::new(key, None, Some(&json!({})));
        ends.note(&[event("/events/a"), event("/events/gone")], first);
        ends.restart(&[event("/events/new"), event("/events/a")], second);
        let left: Vec<_> = ends.0.iter().map(|(end, key, _)| (*end, &**key)).collect();
        assert_eq!(left, [(first, "/events/a"), (second, "/events/new")]);
    }

    #[tokio::test]
    async fn a_deletion_has_no_end() {
        let mut ends = Ends::default();
        ends.note(
            &[Event::new("/events/a", Some(&json!({})), None)],
            Instant::now(),
        );
        assert!(ends.0.is_empty());
    }
}
