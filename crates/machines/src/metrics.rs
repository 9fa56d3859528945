//! Metrics of the machine layer.

use std::time::Duration;

use nico_runtime::category::Category;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::configuration::metrics::ConfigurationMetrics;
use crate::machine::MachineMetrics;

/// All metrics of the layer. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    pub(crate) machines: MachineMetrics,
    pub(crate) configurations: ConfigurationMetrics,
    pub(crate) reconcile: ReconcileMetrics,
}

impl Metrics {
    /// Makes the metrics and registers them.
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            machines: MachineMetrics::register(registry),
            configurations: ConfigurationMetrics::register(registry),
            reconcile: ReconcileMetrics::register(registry),
        }
    }
}

/// What all controllers of the layer count alike.
#[derive(Clone)]
pub(crate) struct ReconcileMetrics {
    seconds: Family<KindLabel, Histogram, fn() -> Histogram>,
    errors: Family<ErrorLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    kind: &'static str,
    namespace: String,
    error_type: &'static str,
}

impl ReconcileMetrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            seconds: Family::new_with_constructor(seconds),
            errors: Family::default(),
        };
        registry.register(
            "nio_reconcile_duration_seconds",
            "Time of one reconcile",
            metrics.seconds.clone(),
        );
        registry.register(
            "nio_reconcile_errors",
            "Reconciles that could not be finished",
            metrics.errors.clone(),
        );
        metrics
    }

    /// Notes how long a reconcile of an object of this kind took.
    pub(crate) fn observe(&self, kind: &'static str, took: Duration) {
        self.seconds
            .get_or_create(&KindLabel { kind })
            .observe(took.as_secs_f64());
    }

    /// Counts a reconcile that could not be finished.
    pub(crate) fn failed(&self, kind: &'static str, namespace: &str, category: Category) {
        let labels = ErrorLabels {
            kind,
            namespace: namespace.to_owned(),
            error_type: category.as_str(),
        };
        self.errors.get_or_create(&labels).inc();
    }
}

/// From 10 ms, a probe of a host nearby, to an hour, the longest apply.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.0, 19))
}
