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
    unfinished: Family<ErrorLabels, Counter>,
    errors: Family<ErrorLabels, Counter>,
    invalid: Family<ObjectLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ObjectLabels {
    kind: &'static str,
    namespace: String,
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
            unfinished: Family::default(),
            errors: Family::default(),
            invalid: Family::default(),
        };
        registry.register(
            "nio_errors",
            "Errors of any kind: with machines, repositories, builds and the Kubernetes API",
            metrics.errors.clone(),
        );
        registry.register(
            "nio_validation_errors",
            "Looks at objects whose spec cannot be used as it is",
            metrics.invalid.clone(),
        );
        registry.register(
            "nio_reconcile_duration_seconds",
            "Time of one reconcile",
            metrics.seconds.clone(),
        );
        registry.register(
            "nio_reconcile_errors",
            "Reconciles that could not be finished",
            metrics.unfinished.clone(),
        );
        metrics
    }

    /// Notes how long a reconcile of an object of this kind took.
    pub(crate) fn observe(&self, kind: &'static str, took: Duration) {
        self.seconds
            .get_or_create(&KindLabel { kind })
            .observe(took.as_secs_f64());
    }

    /// Counts a reconcile that could not be finished, which is an error too.
    pub(crate) fn failed(&self, kind: &'static str, namespace: &str, category: Category) {
        let labels = ErrorLabels::new(kind, namespace, category);
        self.unfinished.get_or_create(&labels).inc();
        self.error(kind, namespace, category);
    }

    /// Counts an error with an object, or with what it stands for.
    pub(crate) fn error(&self, kind: &'static str, namespace: &str, category: Category) {
        let labels = ErrorLabels::new(kind, namespace, category);
        self.errors.get_or_create(&labels).inc();
    }

    /// Counts a look at an object whose spec cannot be used as it is, which is an error too.
    pub(crate) fn invalid(&self, kind: &'static str, namespace: &str) {
        let labels = ObjectLabels {
            kind,
            namespace: namespace.to_owned(),
        };
        self.invalid.get_or_create(&labels).inc();
        self.error(kind, namespace, Category::InvalidInput);
    }

    /// Drops the series of a namespace without objects of this kind.
    pub(crate) fn forget(&self, kind: &'static str, namespace: &str) {
        for category in Category::ALL {
            let labels = ErrorLabels::new(kind, namespace, category);
            self.unfinished.remove(&labels);
            self.errors.remove(&labels);
        }
        self.invalid.remove(&ObjectLabels {
            kind,
            namespace: namespace.to_owned(),
        });
    }
}

impl ErrorLabels {
    fn new(kind: &'static str, namespace: &str, category: Category) -> Self {
        Self {
            kind,
            namespace: namespace.to_owned(),
            error_type: category.as_str(),
        }
    }
}

/// From 10 ms, a probe of a host nearby, to an hour, the longest apply.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.0, 19))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use nico_api::reason::MachineReason;
    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::configuration::metrics::BuildType;

    /// Name, type and labels of every metric, counters with the suffix of their samples.
    type Page = BTreeMap<String, (String, BTreeSet<String>)>;

    /// What is exported once everything has happened. Gauges have no labels before there are
    /// objects.
    fn exported() -> Page {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let second = Duration::from_secs(1);
        metrics
            .machines
            .connected("default", MachineReason::Connected, second);
        let configurations = &metrics.configurations;
        configurations.looked_up(true);
        configurations.fetched(true, second);
        configurations.built(BuildType::Copy, true, second);
        configurations.applied("default", "m");
        configurations.failed("default", "m", "BuildFailed");
        configurations.retried("default");
        configurations.stalled("default");
        metrics.reconcile.observe("Machine", second);
        let category = Category::Transient;
        metrics.reconcile.failed("Machine", "default", category);
        metrics.reconcile.invalid("Machine", "default");
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();

        let mut page = Page::new();
        for line in text.lines() {
            if let Some((name, kind)) = line
                .strip_prefix("# TYPE ")
                .and_then(|line| line.split_once(' '))
            {
                let suffix = if kind == "counter" { "_total" } else { "" };
                let entry = (kind.to_owned(), BTreeSet::new());
                page.insert(format!("{name}{suffix}"), entry);
            } else if let Some((name, rest)) = line.split_once('{') {
                let labels = rest.split('}').next().unwrap_or_default();
                let name = name.trim_end_matches("_bucket");
                if let Some((_, known)) = page.get_mut(name) {
                    let names = labels
                        .split(',')
                        .filter_map(|label| label.split('=').next());
                    known.extend(names.filter(|name| *name != "le").map(str::to_owned));
                }
            }
        }
        page
    }

    fn documented() -> Page {
        include_str!("../../../docs/metrics.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| `nio_"))
            .map(|row| {
                let cells: Vec<&str> = row.split('|').map(str::trim).collect();
                let name = cells[0].trim_end_matches('`');
                let labels = cells[2].split(',').map(str::trim);
                let labels = labels.filter(|label| !label.is_empty());
                let entry = (cells[1].to_owned(), labels.map(str::to_owned).collect());
                (format!("nio_{name}"), entry)
            })
            .collect()
    }

    #[test]
    fn the_page_about_metrics_names_what_is_exported_and_nothing_else() {
        let (exported, documented) = (exported(), documented());
        let names = |page: &Page| page.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&exported), names(&documented));
        for (name, (kind, labels)) in &exported {
            let (documented_kind, documented_labels) = &documented[name];
            assert_eq!(kind, documented_kind, "{name}");
            if kind != "gauge" {
                assert_eq!(labels, documented_labels, "{name}");
            }
        }
    }

    /// The names of the reference, which dashboards use.
    #[test]
    fn every_name_that_was_promised_is_there() {
        let exported = exported();
        for name in [
            "machines_total",
            "machines_discoverable",
            "machines_with_configuration",
            "configurations_total",
            "configurations_applied_total",
            "configurations_failed_total",
            "reconcile_duration_seconds",
            "reconcile_errors_total",
            "ssh_connections_total",
            "ssh_connection_duration_seconds",
            "git_clones_total",
            "git_clone_duration_seconds",
            "nixos_builds_total",
            "nixos_build_duration_seconds",
            "retries_total",
            "retries_exhausted_total",
            "errors_total",
            "validation_errors_total",
        ] {
            assert!(exported.contains_key(&format!("nio_{name}")), "nio_{name}");
        }
    }
}
