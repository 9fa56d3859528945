//! An operator that stops dead at its nth write, as if the process were killed: the write is
//! done, and neither its answer nor any later write ever is.

use std::time::Duration;

use nico_apiserver::Server;
use nico_apiserver::faults::{Fault, Nth, Rule, RuleHandle, Verb};

/// The user of an operator that stops, by which the servers know it.
pub(crate) const USER: &str = "operator-that-stops";
/// Longer than any test takes.
const NEVER: Duration = Duration::from_secs(3600);
/// What an operator writes. Events do not count: nothing depends on them.
const KINDS: [&str; 6] = [
    "KubernetesCluster",
    "Machine",
    "NixosConfiguration",
    "Secret",
    "Node",
    "Pod",
];

/// A server that an operator writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Management,
    NewCluster,
}

/// The write after which an operator stops: its nth to a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CrashPoint {
    pub(crate) side: Side,
    pub(crate) write: u64,
}

impl CrashPoint {
    /// No write that is ever reached.
    pub(crate) const NEVER: Self = Self {
        side: Side::Management,
        write: u64::MAX,
    };
}

/// The writes of the operator that stops.
pub(crate) struct Writes {
    at: CrashPoint,
    management: Rules,
    new_cluster: Rules,
}

impl Writes {
    /// Lets the operator write until it comes to `at`.
    pub(crate) fn until<'a>(at: CrashPoint, server: impl Fn(Side) -> &'a Server) -> Self {
        let rules = |side| {
            let allowed = if side == at.side { at.write } else { u64::MAX };
            Rules::allow(server(side), allowed)
        };
        Self {
            at,
            management: rules(Side::Management),
            new_cluster: rules(Side::NewCluster),
        }
    }

    /// How many writes to a server there were.
    pub(crate) fn seen(&self, side: Side) -> u64 {
        self.rules(side).last.seen()
    }

    /// Waits until the last write that is allowed is done.
    pub(crate) async fn stopped(&self) {
        self.rules(self.at.side).last.hit(1).await.unwrap();
    }

    /// Lets the user write as it likes: its operator is no more, and the next one goes on with
    /// the kubeconfig that it published.
    pub(crate) fn lift(&self) {
        for rules in [&self.management, &self.new_cluster] {
            rules.last.remove();
            rules.later.remove();
        }
    }

    fn rules(&self, side: Side) -> &Rules {
        match side {
            Side::Management => &self.management,
            Side::NewCluster => &self.new_cluster,
        }
    }
}

/// What stops the operator on one server.
struct Rules {
    /// The last write that is allowed is done and never answered.
    last: RuleHandle,
    /// Later ones are never done.
    later: RuleHandle,
}

impl Rules {
    fn allow(server: &Server, allowed: u64) -> Self {
        let add = |before, after, nth| {
            let rule = Rule::new(Fault::Latency { before, after });
            let rule = rule.verbs(Verb::WRITES).user(USER).nth(nth);
            server
                .faults()
                .add(KINDS.into_iter().fold(rule, Rule::resource))
        };
        Self {
            last: add(Duration::ZERO, NEVER, Nth::Only(allowed)),
            later: add(NEVER, Duration::ZERO, Nth::From(allowed.saturating_add(1))),
        }
    }
}
