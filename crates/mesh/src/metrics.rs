//! Metrics of the mesh.

use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::names::NetworkName;
use crate::plan::{NodeState, Plan, RuleState};

/// All metrics. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    nodes: Family<StateLabel, Gauge>,
    rules: Family<RuleLabels, Gauge>,
    writes: Family<WriteLabels, Counter>,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histogram,
    pass_seconds: Histogram,
    last_success: Gauge,
    leader: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    network: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    verb: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    endpoint: &'static str,
    code: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::register(&mut Registry::default())
    }
}

impl Metrics {
    /// Makes the metrics and registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            nodes: Family::default(),
            rules: Family::default(),
            writes: Family::default(),
            requests: Family::default(),
            request_seconds: Histogram::new(exponential_buckets(0.005, 2.0, 13)),
            pass_seconds: Histogram::new(exponential_buckets(0.01, 2.0, 14)),
            last_success: Gauge::default(),
            leader: Gauge::default(),
        };
        registry.register(
            "kaput_not_nodes",
            "Nodes of Kubernetes by how they stand in the mesh",
            metrics.nodes.clone(),
        );
        registry.register(
            "kaput_not_rules",
            "Egress rules by network and by how the last pass found them",
            metrics.rules.clone(),
        );
        registry.register(
            "kaput_not_writes",
            "Writes of egress rules by what came of them",
            metrics.writes.clone(),
        );
        registry.register(
            "kaput_not_api_requests",
            "Requests to Netmaker by the code of the answer; none where there was no answer",
            metrics.requests.clone(),
        );
        registry.register(
            "kaput_not_api_request_duration_seconds",
            "Time until Netmaker begins to answer",
            metrics.request_seconds.clone(),
        );
        registry.register(
            "kaput_not_pass_duration_seconds",
            "Time of a pass: look, plan, write",
            metrics.pass_seconds.clone(),
        );
        registry.register(
            "kaput_not_last_success_timestamp_seconds",
            "When a pass last ended with every rule as it should be",
            metrics.last_success.clone(),
        );
        registry.register(
            "kaput_not_leader",
            "Whether this process leads",
            metrics.leader.clone(),
        );
        metrics
    }

    pub(crate) fn request(&self, endpoint: &'static str, code: Option<u16>, took: Duration) {
        let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        let labels = RequestLabels { endpoint, code };
        self.requests.get_or_create(&labels).inc();
        self.request_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn write(&self, verb: &'static str, result: &'static str) {
        self.writes
            .get_or_create(&WriteLabels { verb, result })
            .inc();
    }

    pub(crate) fn pass(&self, took: Duration) {
        self.pass_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn succeeded(&self, now: Timestamp) {
        self.last_success.set(now.as_second());
    }

    /// Says whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Shows what a pass found.
    pub(crate) fn show(&self, plan: &Plan) {
        for state in NodeState::ALL {
            let count = plan.nodes.values().filter(|found| **found == state).count();
            let label = StateLabel {
                state: state.as_str(),
            };
            self.nodes.get_or_create(&label).set(gauge(count));
        }
        for (network, counts) in &plan.rules {
            for state in RuleState::ALL {
                self.rule(network, state, counts.of(state));
            }
        }
    }

    fn rule(&self, network: &NetworkName, state: RuleState, count: usize) {
        let labels = RuleLabels {
            network: network.to_string(),
            state: state.as_str(),
        };
        self.rules.get_or_create(&labels).set(gauge(count));
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
