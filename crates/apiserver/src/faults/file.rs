//! Rules in a file.

use super::decide::Stage;
use super::rule::{Fault, Nth, Rule, Verb};

/// A file with rules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is no YAML or JSON, or no list of rules.
    #[error("cannot read rules for faults: {0}")]
    Syntax(String),
    /// A rule has no effect, whatever happens.
    #[error("rule {number} for faults can never be hit: {why}")]
    Useless {
        /// Which of the rules, from 1.
        number: usize,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Reads a list of rules, in YAML or JSON:
///
/// ```
/// # use nico_apiserver::faults;
/// let rules = faults::read("
/// - on: {verbs: [update], resources: [configmaps], nth: {first: 2}}
///   fault: {refuse: {with: conflict}}
/// - on: {name: a, events: [DELETED]}
///   fault: dropEvent
/// ").unwrap();
/// assert_eq!(rules.len(), 2);
/// ```
///
/// # Errors
/// If it is something else, or a rule can never be hit.
pub fn read(text: &str) -> Result<Vec<Rule>, ReadError> {
    let rules: Vec<Rule> =
        serde_saphyr::from_str(text).map_err(|error| ReadError::Syntax(error.to_string()))?;
    for (number, rule) in (1..).zip(&rules) {
        if let Some(why) = rule.useless() {
            return Err(ReadError::Useless { number, why });
        }
    }
    Ok(rules)
}

impl Rule {
    /// Why the rule can never be hit, if so.
    fn useless(&self) -> Option<&'static str> {
        let only = |possible: &[Verb]| {
            let verbs = &self.on.verbs;
            verbs.is_empty() || verbs.iter().any(|verb| possible.contains(verb))
        };
        let stage = self.fault.stage();
        if matches!(self.on.nth, Nth::First(0) | Nth::Only(0) | Nth::Every(0)) {
            return Some("nth is counted from 1");
        }
        if stage != Stage::Event && !self.on.events.is_empty() {
            return Some("it names events, and its fault is not about events");
        }
        if stage != Stage::Request && !only(&[Verb::Watch]) {
            return Some("its fault is about watches, and its verbs leave them out");
        }
        if matches!(self.fault, Fault::Stale { .. }) && !only(&[Verb::Get, Verb::List]) {
            return Some("its fault is about get and list, and its verbs leave them out");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::rule::{AsOf, EventType, Refusal, When};
    use super::*;

    #[test]
    fn every_fault_can_be_written_down() {
        let refuse = |with| Fault::Refuse {
            with,
            when: When::Before,
        };
        for (text, fault) in [
            ("refuse: {with: conflict}", refuse(Refusal::Conflict)),
            (
                "refuse: {with: {tooManyRequests: {retryAfter: 3}}}",
                refuse(Refusal::TooManyRequests { retry_after: 3 }),
            ),
            (
                "refuse: {with: internalError}",
                refuse(Refusal::InternalError),
            ),
            (
                "refuse: {with: serviceUnavailable}",
                refuse(Refusal::ServiceUnavailable),
            ),
            ("refuse: {with: timeout}", refuse(Refusal::Timeout)),
            ("reset: {}", Fault::Reset { when: When::Before }),
            ("reset: {when: after}", Fault::Reset { when: When::After }),
            (
                "latency: {before: 200ms, after: 1s}",
                Fault::Latency {
                    before: Duration::from_millis(200),
                    after: Duration::from_secs(1),
                },
            ),
            (
                "stale: {asOf: {behind: 5}, onlyCached: true}",
                Fault::Stale {
                    as_of: AsOf::Behind(5),
                    only_cached: true,
                },
            ),
            (
                "stale: {asOf: {revision: 17}}",
                Fault::Stale {
                    as_of: AsOf::Revision(17),
                    only_cached: false,
                },
            ),
            ("freezeWatch", Fault::FreezeWatch),
            ("endWatch", Fault::EndWatch),
            ("expireWatch", Fault::ExpireWatch),
            ("dropEvent", Fault::DropEvent),
            ("duplicateEvent", Fault::DuplicateEvent),
            ("endAtEvent", Fault::EndAtEvent),
            ("expireAtEvent", Fault::ExpireAtEvent),
        ] {
            let fault_text = match text.contains(':') {
                true => format!("{{{text}}}"),
                false => text.to_owned(),
            };
            let rules = read(&format!("- fault: {fault_text}")).unwrap();
            assert_eq!(rules, [Rule::new(fault)], "{text}");
        }
    }

    #[test]
    fn a_matcher_can_be_written_down_in_yaml_and_json() {
        let yaml = "
- on:
    verbs: [watch]
    resources: [configmaps, Lease.coordination.k8s.io]
    namespace: default
    name: a
    subresource: ''
    user: admin
    userAgent: kubectl/
    events: [ADDED, BOOKMARK]
    nth: {every: 3}
  fault: dropEvent
";
        let rule = Rule::new(Fault::DropEvent)
            .verbs([Verb::Watch])
            .resource("configmaps")
            .resource("Lease.coordination.k8s.io")
            .namespace("default")
            .name("a")
            .subresource("")
            .user("admin")
            .user_agent("kubectl/")
            .events([EventType::Added, EventType::Bookmark])
            .nth(Nth::Every(3));
        assert_eq!(read(yaml).unwrap(), std::slice::from_ref(&rule));
        let json = serde_json::to_string(&[&rule]).unwrap();
        assert_eq!(read(&json).unwrap(), [rule]);
    }

    #[test]
    fn a_mistake_is_an_error_that_says_where() {
        for (text, part) in [
            ("fault: dropEvent", "cannot read rules"),
            ("- on: {verb: [get]}\n  fault: dropEvent", "verb"),
            ("- on: {verbs: [fetch]}\n  fault: dropEvent", "fetch"),
            ("- fault: explode", "explode"),
            ("- fault: {latency: {before: soon}}", "soon"),
            (
                "- fault: dropEvent\n- on: {nth: {first: 0}}\n  fault: dropEvent",
                "rule 2",
            ),
            (
                "- on: {verbs: [get, list]}\n  fault: freezeWatch",
                "about watches",
            ),
            (
                "- on: {verbs: [watch]}\n  fault: {stale: {asOf: {behind: 1}}}",
                "get and list",
            ),
            ("- on: {events: [ADDED]}\n  fault: endWatch", "events"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
