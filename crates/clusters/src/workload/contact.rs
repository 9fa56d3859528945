//! How long a new cluster has answered, or has not. Pure.
//!
//! What is asked in vain once may have been a moment's trouble. After a minute nothing is known of
//! the cluster any more, and its first words afterwards are not to be relied on: a Node that went
//! while the API was away is Ready there until the cluster has noticed.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// How long a cluster may be silent before nothing is known of it any more.
pub const SILENCE: SignedDuration = SignedDuration::from_secs(60);

/// How long a cluster must have answered after that before its Nodes are what they say: 50 s are
/// Kubernetes' own patience with a Node of which nothing is heard, and its controllers have to
/// elect a leader before, which takes 17 s.
pub const NOTICING: SignedDuration = SignedDuration::from_secs(90);

/// When a cluster was asked with and without success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    silent_since: Option<Timestamp>,
    back_since: Option<Timestamp>,
}

impl Contact {
    /// Notes an answer. Gives since when the cluster answers again, if it had been silent for so
    /// long that nothing was known of it. A short silence soon after that counts too: the cluster
    /// begins to notice anew.
    pub fn answered(&mut self, now: Timestamp) -> Option<Timestamp> {
        if let Some(since) = self.silent_since.take() {
            let is_long = now.duration_since(since) >= SILENCE;
            let is_soon = |back| since.duration_since(back) < NOTICING;
            if is_long || self.back_since.is_some_and(is_soon) {
                self.back_since = Some(now);
            }
        }
        self.back_since
    }

    /// Notes that there was no answer. Gives since when there is none.
    pub fn failed(&mut self, now: Timestamp) -> Timestamp {
        *self.silent_since.get_or_insert(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::at;

    #[test]
    fn only_the_end_of_a_long_silence_is_a_return() {
        let mut contact = Contact::default();
        assert_eq!(contact.answered(at(0)), None);
        assert_eq!(contact.failed(at(10)), at(10));
        assert_eq!(contact.failed(at(69)), at(10));
        assert_eq!(contact.answered(at(69)), None, "that was not long");
        assert_eq!(contact.failed(at(100)), at(100));
        assert_eq!(contact.answered(at(160)), Some(at(160)));
        assert_eq!(contact.answered(at(200)), Some(at(160)));
    }

    #[test]
    fn a_silence_soon_after_a_return_makes_another_return_of_it() {
        let mut contact = Contact::default();
        contact.failed(at(0));
        assert_eq!(contact.answered(at(100)), Some(at(100)));
        contact.failed(at(189));
        assert_eq!(contact.answered(at(190)), Some(at(190)));
        contact.failed(at(280));
        assert_eq!(
            contact.answered(at(281)),
            Some(at(190)),
            "that was long ago"
        );
    }
}
