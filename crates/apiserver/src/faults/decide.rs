//! Which faults a request, a watch or an event meets: pure, from the rules and their counters.

use super::rule::{EventType, Fault, Matcher, Rule, Verb, When};

/// What rules are compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    /// What is asked for.
    pub verb: Verb,
    /// The API group; empty for the core group, and for what is no resource.
    pub group: String,
    /// The plural name; empty for what is no resource.
    pub resource: String,
    /// The kind; empty if the server does not know the resource.
    pub kind: String,
    /// The namespace, if there is one.
    pub namespace: Option<String>,
    /// The object, if there is one and its name is known.
    pub name: Option<String>,
    /// The subresource; empty for the object itself.
    pub subresource: String,
    /// Who asks.
    pub user: String,
    /// With which program.
    pub user_agent: String,
    /// Whether it is a read that allows any state, however old.
    pub from_cache: bool,
    /// What kind of event it is, if it is one.
    pub event: Option<EventType>,
}

/// What a fault is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A request of any verb.
    Request,
    /// A watch as a whole.
    Watch,
    /// An event of a watch.
    Event,
}

/// Numbers of a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// How many it would concern.
    pub seen: u64,
    /// How many of them it took.
    pub hits: u64,
}

/// A rule with its place in the order of the rules, and its numbers.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Grows from rule to rule; at least 1.
    pub id: u64,
    /// The rule.
    pub rule: Rule,
    /// Its numbers.
    pub counts: Counts,
}

/// A fault that is to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    /// The rule that says so.
    pub id: u64,
    /// What is to happen.
    pub fault: Fault,
}

/// What the rules behind `after` say about a subject.
///
/// Rules are asked in their order. One that settles the matter, such as an error answer, ends the
/// search; the rules behind it neither see nor count the subject.
pub(crate) fn decide<'a>(
    entries: impl IntoIterator<Item = &'a mut Entry>,
    stage: Stage,
    subject: &Subject,
    after: u64,
) -> Vec<Hit> {
    let mut hits = Vec::new();
    for entry in entries {
        let concerned =
            entry.id > after && entry.rule.fault.stage() == stage && entry.rule.concerns(subject);
        if !concerned {
            continue;
        }
        entry.counts.seen += 1;
        if !entry.rule.on.nth.takes(entry.counts.seen) {
            continue;
        }
        entry.counts.hits += 1;
        hits.push(Hit {
            id: entry.id,
            fault: entry.rule.fault.clone(),
        });
        if entry.rule.fault.settles() {
            break;
        }
    }
    hits
}

impl Fault {
    /// What the fault is done to.
    pub(crate) fn stage(&self) -> Stage {
        match self {
            Self::Latency { .. }
            | Self::Refuse { .. }
            | Self::Reset { .. }
            | Self::Stale { .. } => Stage::Request,
            Self::FreezeWatch | Self::EndWatch | Self::ExpireWatch => Stage::Watch,
            Self::DropEvent | Self::DuplicateEvent | Self::EndAtEvent | Self::ExpireAtEvent => {
                Stage::Event
            }
        }
    }

    /// Whether the request is handled before anything of it comes.
    pub(crate) fn comes_after(&self) -> bool {
        match self {
            Self::Refuse { when, .. } | Self::Reset { when } => *when == When::After,
            Self::Latency { before, .. } => before.is_zero(),
            _ => false,
        }
    }

    /// Whether nothing can be added to it.
    fn settles(&self) -> bool {
        !matches!(self, Self::Latency { .. } | Self::Stale { .. })
    }
}

impl Rule {
    /// Whether the rule is about the subject, and its fault can be done to it.
    fn concerns(&self, subject: &Subject) -> bool {
        let possible = match &self.fault {
            Fault::Stale { only_cached, .. } => {
                matches!(subject.verb, Verb::Get | Verb::List)
                    && !subject.resource.is_empty()
                    && (subject.from_cache || !only_cached)
            }
            fault => fault.stage() == Stage::Request || subject.verb == Verb::Watch,
        };
        possible && self.on.matches(subject)
    }
}

impl Matcher {
    fn matches(&self, subject: &Subject) -> bool {
        let same = |wanted: &Option<String>, found: Option<&str>| {
            wanted.is_none() || wanted.as_deref() == found
        };
        let event = match subject.event {
            None => true,
            Some(EventType::Bookmark) if self.events.is_empty() => false,
            Some(event) => self.events.is_empty() || self.events.contains(&event),
        };
        event
            && (self.verbs.is_empty() || self.verbs.contains(&subject.verb))
            && (self.resources.is_empty() || self.resources.iter().any(|r| subject.is_about(r)))
            && same(&self.namespace, subject.namespace.as_deref())
            && same(&self.name, subject.name.as_deref())
            && same(&self.subresource, Some(&subject.subresource))
            && same(&self.user, Some(&subject.user))
            && self
                .user_agent
                .as_ref()
                .is_none_or(|prefix| subject.user_agent.starts_with(prefix))
    }
}

impl Subject {
    /// Whether `resource` names the subject's plural or kind, with or without the group.
    fn is_about(&self, resource: &str) -> bool {
        let named = |name: &str| {
            !name.is_empty()
                && resource.strip_prefix(name).is_some_and(|group| {
                    group.is_empty() || group.strip_prefix('.') == Some(&self.group)
                })
        };
        named(&self.resource) || named(&self.kind)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::rule::{AsOf, Nth, Refusal};
    use super::*;

    const CONFLICT: Fault = Fault::Refuse {
        with: Refusal::Conflict,
        when: When::Before,
    };

    fn subject() -> Subject {
        Subject {
            verb: Verb::Update,
            group: "coordination.k8s.io".to_owned(),
            resource: "leases".to_owned(),
            kind: "Lease".to_owned(),
            namespace: Some("default".to_owned()),
            name: Some("a".to_owned()),
            subresource: String::new(),
            user: "someone".to_owned(),
            user_agent: "nico/0.1.0".to_owned(),
            from_cache: false,
            event: None,
        }
    }

    fn entries(rules: impl IntoIterator<Item = Rule>) -> Vec<Entry> {
        let entry = |(id, rule)| Entry {
            id,
            rule,
            counts: Counts::default(),
        };
        (1..).zip(rules).map(entry).collect()
    }

    /// The numbers of those that a rule takes of `count` that match it.
    fn taken(nth: Nth, count: u64) -> Vec<u64> {
        let mut entries = entries([Rule::new(CONFLICT).nth(nth)]);
        (1..=count)
            .filter(|_| !decide(&mut entries, Stage::Request, &subject(), 0).is_empty())
            .collect()
    }

    #[test]
    fn a_rule_takes_those_that_its_nth_names() {
        for (nth, expected) in [
            (Nth::All, &[1, 2, 3, 4, 5, 6][..]),
            (Nth::First(2), &[1, 2]),
            (Nth::First(0), &[]),
            (Nth::Only(3), &[3]),
            (Nth::Only(0), &[]),
            (Nth::Every(2), &[2, 4, 6]),
            (Nth::Every(1), &[1, 2, 3, 4, 5, 6]),
            (Nth::Every(0), &[]),
            (Nth::From(5), &[5, 6]),
            (Nth::From(0), &[1, 2, 3, 4, 5, 6]),
        ] {
            assert_eq!(taken(nth, 6), expected, "{nth:?}");
        }
    }

    #[test]
    fn what_a_matcher_leaves_out_matches_and_what_it_names_must_be_so() {
        let rule = || Rule::new(CONFLICT);
        for (rule, matches) in [
            (rule(), true),
            (rule().verbs([Verb::Patch, Verb::Update]), true),
            (rule().verbs([Verb::Patch]), false),
            (rule().resource("leases"), true),
            (rule().resource("leases.coordination.k8s.io"), true),
            (rule().resource("leases.other.k8s.io"), false),
            (rule().resource("Lease"), true),
            (rule().resource("Lease.coordination.k8s.io"), true),
            (rule().resource("pods").resource("Lease"), true),
            (rule().resource("pods"), false),
            (rule().resource("leasesx"), false),
            (rule().resource(""), false),
            (rule().namespace("default"), true),
            (rule().namespace("other"), false),
            (rule().name("a"), true),
            (rule().name("b"), false),
            (rule().subresource(""), true),
            (rule().subresource("status"), false),
            (rule().user("someone"), true),
            (rule().user("some"), false),
            (rule().user_agent("nico/"), true),
            (rule().user_agent("kubectl"), false),
            (
                rule().verbs([Verb::Update]).resource("leases").name("b"),
                false,
            ),
        ] {
            assert_eq!(rule.concerns(&subject()), matches, "{rule:?}");
        }
    }

    #[test]
    fn a_name_that_is_not_known_is_no_name() {
        let subject = Subject {
            name: None,
            ..subject()
        };
        assert!(!Rule::new(CONFLICT).name("a").concerns(&subject));
    }

    #[test]
    fn bookmarks_must_be_asked_for() {
        let event = |event| Subject {
            verb: Verb::Watch,
            event: Some(event),
            ..subject()
        };
        let drop = || Rule::new(Fault::DropEvent);
        assert!(drop().concerns(&event(EventType::Added)));
        assert!(!drop().concerns(&event(EventType::Bookmark)));
        let deleted = drop().events([EventType::Deleted]);
        assert!(deleted.concerns(&event(EventType::Deleted)));
        assert!(!deleted.concerns(&event(EventType::Added)));
        let bookmarks = drop().events([EventType::Bookmark]);
        assert!(bookmarks.concerns(&event(EventType::Bookmark)));
    }

    #[test]
    fn only_reads_are_stale_and_some_only_if_they_allow_it() {
        let stale = |only_cached| {
            Rule::new(Fault::Stale {
                as_of: AsOf::Behind(1),
                only_cached,
            })
        };
        let with = |verb, from_cache| Subject {
            verb,
            from_cache,
            ..subject()
        };
        assert!(stale(false).concerns(&with(Verb::Get, false)));
        assert!(!stale(true).concerns(&with(Verb::List, false)));
        assert!(stale(true).concerns(&with(Verb::List, true)));
        assert!(!stale(false).concerns(&with(Verb::Update, false)));
        assert!(!stale(true).concerns(&with(Verb::Watch, true)));
        let discovery = Subject {
            resource: String::new(),
            ..with(Verb::Get, false)
        };
        assert!(!stale(false).concerns(&discovery));
    }

    #[test]
    fn a_fault_is_met_at_its_own_stage_only() {
        let watch = Subject {
            verb: Verb::Watch,
            ..subject()
        };
        let rules = || [CONFLICT, Fault::FreezeWatch, Fault::DropEvent].map(Rule::new);
        for (stage, fault) in [
            (Stage::Request, CONFLICT),
            (Stage::Watch, Fault::FreezeWatch),
            (Stage::Event, Fault::DropEvent),
        ] {
            let hits = decide(&mut entries(rules()), stage, &watch, 0);
            assert_eq!(hits.len(), 1);
            assert_eq!(hits[0].fault, fault);
            let update = decide(&mut entries(rules()), stage, &subject(), 0);
            assert_eq!(update.is_empty(), stage != Stage::Request, "{stage:?}");
        }
    }

    #[test]
    fn latency_adds_up_until_a_rule_settles_the_request_and_hides_it_from_the_rest() {
        let latency = || {
            Rule::new(Fault::Latency {
                before: std::time::Duration::from_millis(1),
                after: std::time::Duration::ZERO,
            })
        };
        let mut entries = entries([
            latency(),
            latency(),
            Rule::reset(When::After).nth(Nth::First(1)),
            Rule::new(CONFLICT).nth(Nth::First(1)),
            latency(),
        ]);
        let mut ids = || -> Vec<u64> {
            let hits = decide(&mut entries, Stage::Request, &subject(), 0);
            hits.iter().map(|hit| hit.id).collect()
        };
        assert_eq!(ids(), [1, 2, 3]);
        assert_eq!(ids(), [1, 2, 4]);
        assert_eq!(ids(), [1, 2, 5]);
    }

    #[test]
    fn a_watch_is_shown_to_a_rule_once() {
        let watch = Subject {
            verb: Verb::Watch,
            ..subject()
        };
        let mut entries = entries([Rule::new(Fault::EndWatch), Rule::new(Fault::FreezeWatch)]);
        let hits = decide(&mut entries, Stage::Watch, &watch, 1);
        assert_eq!(hits.len(), 1);
        assert_eq!(hits[0].id, 2);
        assert_eq!(entries[0].counts, Counts::default());
    }

    fn any_nth() -> impl Strategy<Value = Nth> {
        prop_oneof![
            Just(Nth::All),
            (0..9_u64).prop_map(Nth::First),
            (0..9_u64).prop_map(Nth::Only),
            (0..9_u64).prop_map(Nth::Every),
            (0..9_u64).prop_map(Nth::From),
        ]
    }

    proptest! {
        #[test]
        fn every_request_is_taken_by_the_first_rule_that_wants_it_and_counted_by_those_that_saw_it(
            nths in prop::collection::vec(any_nth(), 1..5),
            strangers in prop::collection::vec(any::<bool>(), 0..30),
        ) {
            let mut entries = entries(nths.iter().map(|nth| {
                Rule::new(CONFLICT).resource("leases").nth(*nth)
            }));
            let mut seen = vec![0_u64; nths.len()];
            let mut hits = vec![0_u64; nths.len()];
            for stranger in strangers {
                let mut subject = subject();
                if stranger {
                    subject.resource = "pods".to_owned();
                    subject.kind = "Pod".to_owned();
                    prop_assert!(decide(&mut entries, Stage::Request, &subject, 0).is_empty());
                    continue;
                }
                let mut expected = None;
                for (index, nth) in nths.iter().enumerate() {
                    seen[index] += 1;
                    if nth.takes(seen[index]) {
                        hits[index] += 1;
                        expected = Some(entries[index].id);
                        break;
                    }
                }
                let found = decide(&mut entries, Stage::Request, &subject, 0);
                prop_assert_eq!(found.first().map(|hit| hit.id), expected);
                prop_assert!(found.len() <= 1);
            }
            for (index, entry) in entries.iter().enumerate() {
                prop_assert_eq!(entry.counts, Counts { seen: seen[index], hits: hits[index] });
            }
        }

        #[test]
        fn of_any_count_the_first_and_those_after_them_are_all(split in 0..50_u64, count in 0..100) {
            let takes = |nth: Nth| (1..=count as u64).filter(move |number| nth.takes(*number)).count();
            let parts = takes(Nth::First(split)) + takes(Nth::From(split + 1));
            prop_assert_eq!(parts, takes(Nth::All));
        }

        #[test]
        fn every_nth_comes_once_in_each_run_of_that_length(step in 1..20_u64, start in 1..1000_u64) {
            let run = start..start + step;
            prop_assert_eq!(run.filter(|number| Nth::Every(step).takes(*number)).count(), 1);
        }
    }
}
