//! Where a machine stands in a rollout.

use k8s_openapi::jiff::Timestamp;

use super::super::readiness::{ConfigurationState, Member};

/// Where a machine stands in a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing was ever on it: it is not part of a change.
    Joining,
    /// Its configuration is being taken off.
    Leaving,
    /// Its configuration asks for something else than what is wanted.
    Outdated,
    /// The wanted revision is on its way to it; the machine runs what it ran.
    Staging,
    /// The wanted revision is on it and waits for its turn.
    Staged,
    /// Pods are being moved away from it.
    Draining,
    /// The wanted revision is being activated.
    Changing {
        /// Since when.
        since: Timestamp,
    },
    /// It runs the wanted revision and its Node is Ready, which is not noted yet.
    Arrived,
    /// It runs the wanted revision, as far as this rollout is concerned.
    Current,
    /// This rollout failed on it.
    Failed {
        /// Whether it does its work again, with what it ran before.
        is_back: bool,
    },
}

impl Stage {
    /// Whether the machine was taken in hand and is not back.
    pub fn is_in_hand(self) -> bool {
        matches!(
            self,
            Self::Draining
                | Self::Changing { .. }
                | Self::Arrived
                | Self::Failed { is_back: false }
        )
    }

    /// Whether the machine runs something and is to run something else, or was about to.
    pub fn is_part_of_a_change(self) -> bool {
        !matches!(self, Self::Joining | Self::Leaving | Self::Current)
    }
}

/// Where a machine stands in the rollout `attempt`.
pub fn of(member: &Member, attempt: &str) -> Stage {
    let is_failed = member
        .marks
        .failure
        .as_ref()
        .is_some_and(|failure| failure.attempt == attempt);
    let drain = member.seen.as_ref().and_then(|seen| seen.drain.as_ref());
    let is_draining = drain.is_some_and(|drain| drain.attempt == attempt);
    match &member.configuration {
        ConfigurationState::Absent | ConfigurationState::New(_) => Stage::Joining,
        ConfigurationState::Removing => Stage::Leaving,
        _ if is_failed => Stage::Failed {
            is_back: member.is_ready(),
        },
        _ if !member.updated => Stage::Outdated,
        ConfigurationState::Staging(_) => Stage::Staging,
        ConfigurationState::Staged(_) if is_draining => Stage::Draining,
        ConfigurationState::Staged(_) => Stage::Staged,
        ConfigurationState::Behind(_) | ConfigurationState::Applied => {
            match member.marks.changing_since {
                None => Stage::Current,
                Some(_) if member.is_current() => Stage::Arrived,
                Some(since) => Stage::Changing { since },
            }
        }
    }
}
