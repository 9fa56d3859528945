//! Conditions as the Kubernetes API conventions describe them.
//!
//! <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties>

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// Messages are cut to this many bytes; the API server refuses more than 32,768.
const MAX_MESSAGE_BYTES: usize = 4096;

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be told.
    Unknown,
}

impl Truth {
    /// The word that stands in `status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// Sets the condition of type `kind`, keeping its place and, unless `truth` differs from what
/// was there, its `lastTransitionTime`. A new condition is added at the end.
pub fn set(
    conditions: &mut Vec<Condition>,
    kind: &str,
    truth: Truth,
    reason: impl AsRef<str>,
    message: impl Into<String>,
    observed_generation: Option<i64>,
    now: Timestamp,
) {
    let mut condition = Condition {
        type_: kind.to_owned(),
        status: truth.as_str().to_owned(),
        reason: reason.as_ref().to_owned(),
        message: shorten(message.into()),
        observed_generation,
        last_transition_time: Time(now),
    };
    match conditions.iter_mut().find(|present| present.type_ == kind) {
        Some(present) => {
            if present.status == condition.status {
                condition.last_transition_time = present.last_transition_time.clone();
            }
            *present = condition;
        }
        None => conditions.push(condition),
    }
}

/// Takes the condition of type `kind` away; nothing happens when it is not there.
pub fn remove(conditions: &mut Vec<Condition>, kind: &str) {
    conditions.retain(|condition| condition.type_ != kind);
}

/// The condition of type `kind`.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether the condition of type `kind` is there and holds.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == "True")
}

fn shorten(message: String) -> String {
    if message.len() <= MAX_MESSAGE_BYTES {
        return message;
    }
    let mut end = MAX_MESSAGE_BYTES - '…'.len_utf8();
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_transition_time_stays_while_the_status_stays() {
        let mut conditions = vec![];
        set(
            &mut conditions,
            "Ready",
            Truth::False,
            "Waiting",
            "for one",
            Some(1),
            at(10),
        );
        set(
            &mut conditions,
            "Ready",
            Truth::False,
            "Building",
            "the system",
            Some(2),
            at(20),
        );
        assert_eq!(conditions.len(), 1);
        assert_eq!(conditions[0].last_transition_time.0, at(10));
        assert_eq!(conditions[0].reason, "Building");
        assert_eq!(conditions[0].observed_generation, Some(2));
    }

    #[test]
    fn the_transition_time_moves_when_the_status_changes() {
        let mut conditions = vec![];
        set(
            &mut conditions,
            "Ready",
            Truth::False,
            "Waiting",
            "",
            None,
            at(10),
        );
        set(
            &mut conditions,
            "Ready",
            Truth::from(true),
            "Applied",
            "",
            None,
            at(20),
        );
        assert_eq!(conditions[0].last_transition_time.0, at(20));
        assert!(is_true(&conditions, "Ready"));
    }

    #[test]
    fn conditions_of_other_types_are_left_alone() {
        let mut conditions = vec![];
        set(
            &mut conditions,
            "Built",
            Truth::True,
            "Built",
            "",
            None,
            at(1),
        );
        set(
            &mut conditions,
            "Ready",
            Truth::Unknown,
            "Unknown",
            "",
            None,
            at(2),
        );
        remove(&mut conditions, "Ready");
        assert_eq!(find(&conditions, "Ready"), None);
        assert!(is_true(&conditions, "Built"));
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let mut conditions = vec![];
        set(
            &mut conditions,
            "Ready",
            Truth::False,
            "Failed",
            "ü".repeat(5000),
            None,
            at(1),
        );
        assert!(conditions[0].message.len() <= MAX_MESSAGE_BYTES);
        assert!(conditions[0].message.ends_with("ü…"));
    }
}
