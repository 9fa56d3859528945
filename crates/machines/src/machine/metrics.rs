//! Numbers about machines and the sessions to them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::reflector::Store;
use nico_api::Machine;
use nico_api::reason::MachineReason;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::controller::Guarded;

/// The objects that the controller watches, as soon as it does.
type Watched = Arc<OnceLock<Store<Guarded>>>;

/// Counters and gauges of the Machine controller. Cheap to clone.
#[derive(Clone)]
pub struct MachineMetrics {
    connections: Family<ConnectionLabels, Counter>,
    connection_seconds: Histogram,
    watched: Watched,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabels {
    namespace: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NamespaceLabel {
    namespace: String,
}

impl MachineMetrics {
    /// Makes the metrics and registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            connections: Family::default(),
            // From 5 ms, a host in the same rack, to 40 s, which no probe takes.
            connection_seconds: Histogram::new(exponential_buckets(0.005, 2.0, 14)),
            watched: Watched::default(),
        };
        registry.register(
            "nio_ssh_connections",
            "Probes of machines by outcome: a reason of the condition Reachable",
            metrics.connections.clone(),
        );
        registry.register(
            "nio_ssh_connection_duration_seconds",
            "Time of one probe of a machine, waiting for its turn included",
            metrics.connection_seconds.clone(),
        );
        registry.register_collector(Box::new(Machines(Arc::clone(&metrics.watched))));
        metrics
    }

    /// Lets the gauges read the watch cache.
    pub(super) fn watch(&self, store: Store<Guarded>) {
        // The controller runs once in a process: a second store would be a second controller.
        let _ = self.watched.set(store);
    }

    /// Counts a probe.
    pub(crate) fn connected(&self, namespace: &str, result: MachineReason, took: Duration) {
        let labels = ConnectionLabels {
            namespace: namespace.to_owned(),
            result: result.as_str(),
        };
        self.connections.get_or_create(&labels).inc();
        self.connection_seconds.observe(took.as_secs_f64());
    }

    /// Drops the series of a namespace without machines.
    pub(super) fn forget(&self, namespace: &str) {
        for reason in MachineReason::ALL {
            let labels = ConnectionLabels {
                namespace: namespace.to_owned(),
                result: reason.as_str(),
            };
            self.connections.remove(&labels);
        }
    }
}

/// The gauges that count objects, computed when they are asked for: nothing to get out of step,
/// and nothing left of objects that are gone.
struct Machines(Watched);

impl fmt::Debug for Machines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Machines")
    }
}

impl Collector for Machines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let guarded = self.0.get().map(Store::state).unwrap_or_default();
        let machines: Vec<&Machine> = guarded
            .iter()
            .filter_map(|guarded| guarded.0.as_ref().ok())
            .collect();
        type Counts = fn(&Machine) -> bool;
        let gauges: [(&str, &str, Counts); 3] = [
            ("nio_machines_total", "Machines", |_| true),
            (
                "nio_machines_discoverable",
                "Machines that answered over SSH lately",
                Machine::is_discoverable,
            ),
            (
                "nio_machines_with_configuration",
                "Machines with a NixosConfiguration on them",
                Machine::has_configuration,
            ),
        ];
        for (name, help, counts) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (namespace, count) in by_namespace(&machines, counts) {
                let labels = NamespaceLabel { namespace };
                ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// How many machines of each namespace count; namespaces whose machines do not are there with 0.
fn by_namespace(machines: &[&Machine], counts: fn(&Machine) -> bool) -> BTreeMap<String, i64> {
    let mut numbers = BTreeMap::new();
    for machine in machines {
        let number: &mut i64 = numbers
            .entry(machine.namespace().unwrap_or_default())
            .or_default();
        *number += i64::from(counts(machine));
    }
    numbers
}
