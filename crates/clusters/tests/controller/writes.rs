//! An operator that stops dead at its nth write, as if the process were killed: the write is
//! done, and neither its answer nor any later write ever is.

use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::Config;
use nico_apiserver::Server;
use nico_apiserver::faults::{Fault, Nth, Rule, RuleHandle, Verb};

/// By which the server knows the operator that stops.
const AGENT: &str = "operator-that-stops";
/// Longer than any test takes.
const NEVER: Duration = Duration::from_secs(3600);
/// What an operator writes. Events do not count: nothing depends on them.
const KINDS: [&str; 4] = [
    "KubernetesCluster",
    "Machine",
    "NixosConfiguration",
    "Secret",
];

/// The writes of the operator that stops.
pub(crate) struct Writes {
    last: RuleHandle,
}

impl Writes {
    /// Lets the operator write so often.
    pub(crate) fn allow(server: &Server, allowed: u64) -> Self {
        let writes = |fault, nth| {
            let rule = Rule::new(fault).verbs(Verb::WRITES).user_agent(AGENT);
            KINDS.into_iter().fold(rule.nth(nth), Rule::resource)
        };
        let (before, after) = (Duration::ZERO, NEVER);
        let unanswered = Fault::Latency { before, after };
        let last = writes(unanswered, Nth::Only(allowed));
        let (before, after) = (NEVER, Duration::ZERO);
        let undone = Fault::Latency { before, after };
        let later = writes(undone, Nth::From(allowed.saturating_add(1)));
        let last = server.faults().add(last);
        server.faults().add(later);
        Self { last }
    }

    /// How many writes there were.
    pub(crate) fn seen(&self) -> u64 {
        self.last.seen()
    }

    /// Waits until the last write that is allowed is done.
    pub(crate) async fn stopped(&self) {
        self.last.hit(1).await.unwrap();
    }
}

/// The configuration of the operator that stops.
pub(crate) fn limited(mut config: Config) -> Config {
    let agent = HeaderValue::from_static(AGENT);
    config.headers.push((USER_AGENT, agent));
    config
}
