//! Faults on purpose: what a client must survive, when and as often as a test wants it.
//!
//! A [`Rule`] says which requests, watches or events it looks for, which of those it takes, and
//! what happens to them. Rules are added and removed while the server runs; each counts what it
//! has hit, so that a test can tell that its fault was really met:
//!
//! ```
//! # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
//! use nico_apiserver::faults::{Nth, Refusal, Rule, Verb};
//!
//! let server = nico_apiserver::Server::builder().start().await?;
//! let conflicts = server.faults().add(
//!     Rule::refuse(Refusal::Conflict)
//!         .verbs([Verb::Update, Verb::Patch])
//!         .resource("configmaps")
//!         .nth(Nth::First(2)),
//! );
//! // … a client writes ConfigMaps …
//! assert_eq!(conflicts.hits(), 0);
//! server.faults().clear();
//! # Ok(())
//! # }
//! ```
//!
//! The decisions are pure ([`decide`]). The effects are at the edge: around the handling of a
//! request ([`serve`]), between a watch and the connection ([`stream`]), between a request and
//! the storage ([`past`]).

mod decide;
mod file;
mod past;
mod rule;
mod serve;
mod stream;
mod subject;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use decide::{Counts, Entry, Hit, Stage, Subject};

pub use file::{ReadError, read};
pub(crate) use past::Window;
pub use rule::{AsOf, EventType, Fault, Matcher, Nth, Refusal, Rule, Verb, When};

/// The rules of a server. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    rules: Mutex<Vec<Slot>>,
    /// How many rules there are, to be read without the lock.
    count: AtomicUsize,
    last_id: AtomicU64,
    /// Tells open watches that rules came or went.
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Slot {
    entry: Entry,
    /// How many of its hits have yet to come, because their requests are still being handled.
    to_come: u64,
    published: watch::Sender<Counts>,
}

impl Slot {
    fn publish(&self) {
        let Counts { seen, hits } = self.entry.counts;
        let hits = hits - self.to_come;
        self.published.send_if_modified(|published| {
            let before = std::mem::replace(published, Counts { seen, hits });
            before != *published
        });
    }
}

/// A rule that was added. Dropping this leaves the rule as it is.
#[derive(Clone, Debug)]
pub struct RuleHandle {
    id: u64,
    faults: Faults,
    counts: watch::Receiver<Counts>,
}

/// A rule was removed before it was hit as often as somebody waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rule was removed after {hits} hits")]
pub struct RuleRemoved {
    /// How often it was hit.
    pub hits: u64,
}

impl Faults {
    /// Adds a rule behind all others. Rules are asked in their order; one that settles a request
    /// or event, which every fault but latency and stale reads does, hides it from those behind.
    pub fn add(&self, rule: Rule) -> RuleHandle {
        let published = watch::Sender::new(Counts::default());
        let counts = published.subscribe();
        let mut id = 0;
        self.change(|rules| {
            // Under the lock, so that the numbers are in the order of the rules.
            id = self.shared.last_id.fetch_add(1, Ordering::Relaxed) + 1;
            let entry = Entry {
                id,
                rule,
                counts: Counts::default(),
            };
            rules.push(Slot {
                entry,
                to_come: 0,
                published,
            });
        });
        RuleHandle {
            id,
            faults: self.clone(),
            counts,
        }
    }

    /// Puts these rules in the place of all others.
    pub fn replace(&self, rules: impl IntoIterator<Item = Rule>) {
        self.clear();
        for rule in rules {
            self.add(rule);
        }
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.change(Vec::clear);
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.shared
            .rules
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Slot>)) {
        let mut rules = self.rules();
        change(&mut rules);
        self.shared.count.store(rules.len(), Ordering::Release);
        drop(rules);
        self.shared.changed.send_replace(());
    }

    fn are_none(&self) -> bool {
        self.shared.count.load(Ordering::Acquire) == 0
    }

    fn is_there(&self, id: u64) -> bool {
        self.rules().iter().any(|slot| slot.entry.id == id)
    }

    /// What the rules behind `after` say, and counts it.
    fn decide(&self, stage: Stage, subject: &Subject, after: u64) -> Vec<Hit> {
        if self.are_none() {
            return Vec::new();
        }
        decide_and_count(&mut self.rules(), stage, subject, after)
    }

    /// Counts a hit that comes now that its request has been handled.
    fn has_come(&self, id: u64) {
        let mut rules = self.rules();
        if let Some(slot) = rules.iter_mut().find(|slot| slot.entry.id == id) {
            slot.to_come -= 1;
            slot.publish();
        }
    }

    /// What the rules behind `judged` say about a watch as a whole, and counts it. `judged`
    /// becomes the last one that has seen the watch.
    fn judge_watch(&self, watch: &Subject, judged: &mut u64) -> Option<Hit> {
        let mut rules = self.rules();
        let hits = decide_and_count(&mut rules, Stage::Watch, watch, *judged);
        let hit = hits.into_iter().next();
        let last = rules.last().map(|slot| slot.entry.id);
        if let Some(seen) = hit.as_ref().map(|hit| hit.id).or(last) {
            *judged = seen.max(*judged);
        }
        hit
    }
}

fn decide_and_count(rules: &mut [Slot], stage: Stage, subject: &Subject, after: u64) -> Vec<Hit> {
    let entries = rules.iter_mut().map(|slot| &mut slot.entry);
    let hits = decide::decide(entries, stage, subject, after);
    for Hit { id, fault } in &hits {
        let Subject { verb, resource, .. } = subject;
        let name = subject.name.as_deref().unwrap_or_default();
        tracing::info!(
            rule = id,
            ?fault,
            ?verb,
            resource,
            name,
            "a fault on purpose"
        );
    }
    for slot in rules {
        let comes_after = |hit: &&Hit| hit.id == slot.entry.id && hit.fault.comes_after();
        slot.to_come += hits.iter().filter(comes_after).count() as u64;
        slot.publish();
    }
    hits
}

impl RuleHandle {
    /// How many requests, watches or events the rule has taken. A fault that comes after a
    /// request is counted when it comes: what was asked for is done then.
    pub fn hits(&self) -> u64 {
        self.counts.borrow().hits
    }

    /// How many it has looked at that match it, taken or not.
    pub fn seen(&self) -> u64 {
        self.counts.borrow().seen
    }

    /// Waits until the rule was hit so often.
    ///
    /// # Errors
    /// If it is removed before.
    pub async fn hit(&self, times: u64) -> Result<(), RuleRemoved> {
        let mut counts = self.counts.clone();
        let reached = counts.wait_for(|counts| counts.hits >= times).await.is_ok();
        if reached {
            return Ok(());
        }
        Err(RuleRemoved { hits: self.hits() })
    }

    /// Removes the rule; its numbers stay as they are.
    pub fn remove(&self) {
        let id = self.id;
        self.faults
            .change(|rules| rules.retain(|slot| slot.entry.id != id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Subject {
        Subject {
            verb: Verb::Get,
            group: String::new(),
            resource: "nodes".to_owned(),
            kind: "Node".to_owned(),
            namespace: None,
            name: None,
            subresource: String::new(),
            user: String::new(),
            user_agent: String::new(),
            from_cache: false,
            event: None,
        }
    }

    #[tokio::test]
    async fn hits_can_be_waited_for_and_stay_when_the_rule_is_gone() {
        let faults = Faults::default();
        let handle = faults.add(Rule::reset(When::Before).nth(Nth::Only(2)));
        let meet = || faults.decide(Stage::Request, &request(), 0).len();
        assert_eq!(meet(), 0);
        let waiting = tokio::spawn({
            let handle = handle.clone();
            async move { handle.hit(1).await }
        });
        assert_eq!(meet(), 1);
        waiting.await.unwrap().unwrap();
        handle.remove();
        assert_eq!(meet(), 0);
        assert_eq!((handle.seen(), handle.hits()), (2, 1));
        assert_eq!(handle.hit(1).await, Ok(()));
        assert_eq!(handle.hit(2).await, Err(RuleRemoved { hits: 1 }));
    }

    #[test]
    fn a_fault_that_comes_after_a_request_is_counted_when_it_comes() {
        let faults = Faults::default();
        let handle = faults.add(Rule::reset(When::After).nth(Nth::First(1)));
        let hits = faults.decide(Stage::Request, &request(), 0);
        assert_eq!((handle.seen(), handle.hits()), (1, 0));
        // Meanwhile the rule has been used up.
        assert_eq!(faults.decide(Stage::Request, &request(), 0), []);
        assert_eq!((handle.seen(), handle.hits()), (2, 0));
        faults.has_come(hits[0].id);
        assert_eq!((handle.seen(), handle.hits()), (2, 1));
    }

    #[test]
    fn a_watch_that_a_rule_has_settled_is_shown_to_the_rules_behind_it_later() {
        let faults = Faults::default();
        let watch = Subject {
            verb: Verb::Watch,
            ..request()
        };
        let freeze = faults.add(Rule::new(Fault::FreezeWatch));
        let end = faults.add(Rule::new(Fault::EndWatch));
        let mut judged = 0;
        let frozen = faults.judge_watch(&watch, &mut judged);
        assert_eq!(frozen.map(|hit| hit.fault), Some(Fault::FreezeWatch));
        freeze.remove();
        let ended = faults.judge_watch(&watch, &mut judged);
        assert_eq!(ended.map(|hit| hit.fault), Some(Fault::EndWatch));
        assert_eq!(faults.judge_watch(&watch, &mut judged), None);
        assert_eq!((freeze.hits(), end.hits()), (1, 1));
    }
}
