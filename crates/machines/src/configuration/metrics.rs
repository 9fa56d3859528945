//! Numbers about configurations, repositories and builds.
//!
//! Gauges that follow objects are computed from the watch cache when the page is read; what is
//! counted here are things that happened.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::reflector::Store;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// The objects that the controller watches, as soon as it does.
pub(super) type Watched = Arc<OnceLock<Store<super::Guarded>>>;

/// Counters and histograms of the configuration controller. Cheap to clone.
#[derive(Clone)]
pub struct ConfigurationMetrics {
    lookups: Family<ResultLabel, Counter>,
    fetches: Family<ResultLabel, Counter>,
    fetch_seconds: Histogram,
    builds: Family<BuildLabels, Counter>,
    build_seconds: Family<BuildTypeLabel, Histogram, fn() -> Histogram>,
    applied: Family<MachineLabels, Counter>,
    failed: Family<FailureLabels, Counter>,
    retries: Family<NamespaceLabel, Counter>,
    exhausted: Family<NamespaceLabel, Counter>,
    watched: Watched,
}

/// What a program of Nix was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildType {
    /// Evaluate a flake output.
    Evaluate,
    /// Build a derivation.
    Build,
    /// Copy a closure.
    Copy,
    /// Install a machine from scratch.
    Install,
}

impl BuildType {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Evaluate => "evaluate",
            Self::Build => "build",
            Self::Copy => "copy",
            Self::Install => "install",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    build_type: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildTypeLabel {
    build_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MachineLabels {
    namespace: String,
    machine: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    namespace: String,
    machine: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NamespaceLabel {
    namespace: String,
}

impl ConfigurationMetrics {
    /// Makes the metrics and registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            lookups: Family::default(),
            fetches: Family::default(),
            fetch_seconds: seconds(),
            builds: Family::default(),
            build_seconds: Family::new_with_constructor(seconds as fn() -> Histogram),
            applied: Family::default(),
            failed: Family::default(),
            retries: Family::default(),
            exhausted: Family::default(),
            watched: Watched::default(),
        };
        registry.register(
            "nio_git_lookups",
            "Questions to Git servers which commit a reference means",
            metrics.lookups.clone(),
        );
        registry.register(
            "nio_git_clones",
            "Fetches from Git repositories",
            metrics.fetches.clone(),
        );
        registry.register(
            "nio_git_clone_duration_seconds",
            "Time of one fetch from a Git repository",
            metrics.fetch_seconds.clone(),
        );
        registry.register(
            "nio_nixos_builds",
            "Evaluations, builds and copies",
            metrics.builds.clone(),
        );
        registry.register(
            "nio_nixos_build_duration_seconds",
            "Time of one evaluation, build or copy",
            metrics.build_seconds.clone(),
        );
        registry.register(
            "nio_configurations_applied",
            "Configurations that were applied and confirmed",
            metrics.applied.clone(),
        );
        registry.register(
            "nio_configurations_failed",
            "Attempts to apply a configuration that failed",
            metrics.failed.clone(),
        );
        registry.register(
            "nio_retries",
            "Attempts after a failed one",
            metrics.retries.clone(),
        );
        registry.register(
            "nio_retries_exhausted",
            "Configurations that are not tried again before a change",
            metrics.exhausted.clone(),
        );
        registry.register_collector(Box::new(Configurations(Arc::clone(&metrics.watched))));
        metrics
    }

    /// Lets the gauges read the watch cache.
    pub(super) fn watch(&self, store: Store<super::Guarded>) {
        // Only the first run of the controller in a process is counted; there is no second.
        let _ = self.watched.set(store);
    }

    /// Counts a question to a Git server which commit a reference means.
    pub(crate) fn looked_up(&self, succeeded: bool) {
        let result = outcome(succeeded);
        self.lookups.get_or_create(&ResultLabel { result }).inc();
    }

    /// Counts a fetch from a Git repository.
    pub(crate) fn fetched(&self, succeeded: bool, took: Duration) {
        let result = outcome(succeeded);
        self.fetches.get_or_create(&ResultLabel { result }).inc();
        self.fetch_seconds.observe(took.as_secs_f64());
    }

    /// Counts an evaluation, a build or a copy.
    pub(crate) fn built(&self, build_type: BuildType, succeeded: bool, took: Duration) {
        let build_type = build_type.as_str();
        let result = outcome(succeeded);
        self.builds
            .get_or_create(&BuildLabels { build_type, result })
            .inc();
        self.build_seconds
            .get_or_create(&BuildTypeLabel { build_type })
            .observe(took.as_secs_f64());
    }

    /// Counts a configuration that was applied and confirmed.
    pub(crate) fn applied(&self, namespace: &str, machine: &str) {
        self.applied
            .get_or_create(&MachineLabels {
                namespace: namespace.to_owned(),
                machine: machine.to_owned(),
            })
            .inc();
    }

    /// Counts an attempt that failed.
    pub(crate) fn failed(&self, namespace: &str, machine: &str, reason: &'static str) {
        self.failed
            .get_or_create(&FailureLabels {
                namespace: namespace.to_owned(),
                machine: machine.to_owned(),
                reason,
            })
            .inc();
    }

    /// Counts an attempt after a failed one.
    pub(crate) fn retried(&self, namespace: &str) {
        self.retries.get_or_create(&in_namespace(namespace)).inc();
    }

    /// Counts a configuration that is not tried again before a change.
    pub(crate) fn stalled(&self, namespace: &str) {
        self.exhausted.get_or_create(&in_namespace(namespace)).inc();
    }

    /// Drops the series of a namespace without configurations.
    pub(super) fn forget_namespace(&self, namespace: &str) {
        self.retries.remove(&in_namespace(namespace));
        self.exhausted.remove(&in_namespace(namespace));
    }

    /// Drops the series of a machine that no configuration names any more.
    pub(super) fn forget(&self, namespace: &str, machine: &str) {
        self.applied.remove(&MachineLabels {
            namespace: namespace.to_owned(),
            machine: machine.to_owned(),
        });
        for reason in nico_api::reason::ConfigurationReason::ALL {
            self.failed.remove(&FailureLabels {
                namespace: namespace.to_owned(),
                machine: machine.to_owned(),
                reason: reason.as_str(),
            });
        }
    }
}

fn in_namespace(namespace: &str) -> NamespaceLabel {
    NamespaceLabel {
        namespace: namespace.to_owned(),
    }
}

const fn outcome(succeeded: bool) -> &'static str {
    if succeeded { "success" } else { "failure" }
}

/// From 50 ms, a trivial evaluation, to half an hour, a build from source.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.05, 2.0, 16))
}

/// `nio_configurations_total`, computed when it is asked for.
struct Configurations(Watched);

impl fmt::Debug for Configurations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Configurations")
    }
}

impl Collector for Configurations {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let configurations = self.0.get().map(Store::state).unwrap_or_default();
        let mut count: BTreeMap<String, u64> = BTreeMap::new();
        for configuration in configurations {
            *count
                .entry(configuration.namespace().unwrap_or_default())
                .or_default() += 1;
        }
        let mut descriptor = encoder.encode_descriptor(
            "nio_configurations_total",
            "NixosConfigurations in a namespace",
            None,
            MetricType::Gauge,
        )?;
        for (namespace, number) in count {
            let labels = NamespaceLabel { namespace };
            ConstGauge::new(number).encode(descriptor.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
