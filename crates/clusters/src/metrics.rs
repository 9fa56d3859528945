//! Metrics of the cluster layer. Names and labels are part of the API.
//!
//! What can be read from the watch cache is read there when somebody asks, so it can neither
//! drift nor outlive the cluster; what is counted is forgotten with the cluster.

use std::fmt::{self, Debug};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use nico_api::KubernetesCluster;
use nico_api::kubernetes_cluster::{Phase, PlaneStatus};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::action::Action;
use crate::role::Role;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCluster {
    namespace: String,
    cluster: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfError {
    namespace: String,
    cluster: String,
    error_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRole {
    namespace: String,
    cluster: String,
    role: &'static str,
}

type PerCluster<M> = Family<OfCluster, M>;
type Durations = Family<OfCluster, Histogram, fn() -> Histogram>;

/// Error types that [`Metrics::failed`] may be given.
const ERROR_TYPES: [&str; 5] = ["transient", "waiting", "invalid_input", "conflict", "bug"];

/// Metrics of the cluster layer.
#[derive(Clone)]
pub struct Metrics {
    reconcile_duration: Durations,
    reconcile_success: PerCluster<Counter>,
    reconcile_errors: Family<OfError, Counter>,
    configurations_created: Family<OfRole, Counter>,
    configurations_deleted: PerCluster<Counter>,
    kubeconfig_success: PerCluster<Counter>,
    kubeconfig_errors: PerCluster<Counter>,
    machines_selected: Family<OfRole, Gauge>,
    ready_seconds: Histogram,
    clusters: Clusters,
}

impl Metrics {
    /// Registers everything.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reconcile_duration: Family::new_with_constructor(reconcile_durations),
            reconcile_success: Family::default(),
            reconcile_errors: Family::default(),
            configurations_created: Family::default(),
            configurations_deleted: Family::default(),
            kubeconfig_success: Family::default(),
            kubeconfig_errors: Family::default(),
            machines_selected: Family::default(),
            ready_seconds: Histogram::new(exponential_buckets(5.0, 2.0, 10)),
            clusters: Clusters::default(),
        };
        registry.register(
            "nico_cluster_reconcile_duration_seconds",
            "Time that one look at a cluster took",
            metrics.reconcile_duration.clone(),
        );
        registry.register(
            "nico_cluster_reconcile_success",
            "Looks at a cluster that went well",
            metrics.reconcile_success.clone(),
        );
        registry.register(
            "nico_cluster_reconcile_errors",
            "Looks at a cluster that failed",
            metrics.reconcile_errors.clone(),
        );
        registry.register(
            "nico_nixos_configs_created",
            "NixosConfigurations created",
            metrics.configurations_created.clone(),
        );
        registry.register(
            "nico_nixos_configs_deleted",
            "NixosConfigurations deleted",
            metrics.configurations_deleted.clone(),
        );
        registry.register(
            "nico_kubeconfig_generation_success",
            "Kubeconfigs published",
            metrics.kubeconfig_success.clone(),
        );
        registry.register(
            "nico_kubeconfig_generation_errors",
            "Attempts to get a kubeconfig that failed",
            metrics.kubeconfig_errors.clone(),
        );
        registry.register(
            "nico_machines_selected",
            "Machines that a cluster holds",
            metrics.machines_selected.clone(),
        );
        registry.register(
            "nico_cluster_ready_seconds",
            "Time from the creation of a cluster until it was Ready for the first time",
            metrics.ready_seconds.clone(),
        );
        registry.register_collector(Box::new(metrics.clusters.clone()));
        metrics
    }

    /// Reads gauges from `store` from now on.
    pub(crate) fn read_from(&self, store: Store<DeserializeGuard<KubernetesCluster>>) {
        *self
            .clusters
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(store);
    }

    pub(crate) fn succeeded(&self, namespace: &str, cluster: &str, took: Duration) {
        let of = of_cluster(namespace, cluster);
        self.reconcile_duration
            .get_or_create(&of)
            .observe(took.as_secs_f64());
        self.reconcile_success.get_or_create(&of).inc();
    }

    /// `error_type` is the word of an error's category.
    pub(crate) fn failed(&self, namespace: &str, cluster: &str, error_type: &'static str) {
        let of = of_error(namespace, cluster, error_type);
        self.reconcile_errors.get_or_create(&of).inc();
    }

    pub(crate) fn done(&self, namespace: &str, cluster: &str, action: &Action) {
        let of = of_cluster(namespace, cluster);
        match action {
            Action::CreateConfiguration(configuration) => {
                let label = configuration.labels().get(nico_api::labels::ROLE);
                if let Some(role) = label.and_then(|label| Role::from_label(label)) {
                    let of = of_role(namespace, cluster, role);
                    self.configurations_created.get_or_create(&of).inc();
                }
            }
            Action::DeleteConfiguration { .. } => {
                self.configurations_deleted.get_or_create(&of).inc();
            }
            Action::PublishKubeconfig(_) => {
                self.kubeconfig_success.get_or_create(&of).inc();
            }
            _ => {}
        }
    }

    pub(crate) fn kubeconfig_failed(&self, namespace: &str, cluster: &str) {
        let of = of_cluster(namespace, cluster);
        self.kubeconfig_errors.get_or_create(&of).inc();
    }

    pub(crate) fn selected(&self, namespace: &str, cluster: &str, role: Role, machines: usize) {
        let of = of_role(namespace, cluster, role);
        let machines = i64::try_from(machines).unwrap_or(i64::MAX);
        self.machines_selected.get_or_create(&of).set(machines);
    }

    pub(crate) fn became_ready(&self, seconds: f64) {
        self.ready_seconds.observe(seconds);
    }

    /// Drops all series of a cluster that is no more.
    pub(crate) fn forget(&self, namespace: &str, cluster: &str) {
        let of = of_cluster(namespace, cluster);
        self.reconcile_duration.remove(&of);
        self.reconcile_success.remove(&of);
        self.configurations_deleted.remove(&of);
        self.kubeconfig_success.remove(&of);
        self.kubeconfig_errors.remove(&of);
        for role in [Role::ControlPlane, Role::Worker] {
            let of = of_role(namespace, cluster, role);
            self.configurations_created.remove(&of);
            self.machines_selected.remove(&of);
        }
        for error_type in ERROR_TYPES {
            let of = of_error(namespace, cluster, error_type);
            self.reconcile_errors.remove(&of);
        }
    }
}

fn reconcile_durations() -> Histogram {
    Histogram::new(exponential_buckets(0.005, 2.0, 12))
}

fn of_cluster(namespace: &str, cluster: &str) -> OfCluster {
    OfCluster {
        namespace: namespace.to_owned(),
        cluster: cluster.to_owned(),
    }
}

fn of_error(namespace: &str, cluster: &str, error_type: &'static str) -> OfError {
    OfError {
        namespace: namespace.to_owned(),
        cluster: cluster.to_owned(),
        error_type,
    }
}

fn of_role(namespace: &str, cluster: &str, role: Role) -> OfRole {
    OfRole {
        namespace: namespace.to_owned(),
        cluster: cluster.to_owned(),
        role: role.as_str(),
    }
}

/// Picks one plane of a cluster's status.
type PlaneOf = fn(&KubernetesCluster) -> Option<&PlaneStatus>;

/// Gauges that are read from the watch cache.
#[derive(Clone, Default)]
struct Clusters(Arc<RwLock<Option<Store<DeserializeGuard<KubernetesCluster>>>>>);

impl Debug for Clusters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clusters")
    }
}

impl Collector for Clusters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let store = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(store) = store else {
            return Ok(());
        };
        let clusters = store.state();
        let namespace =
            |cluster: &DeserializeGuard<KubernetesCluster>| cluster.namespace().unwrap_or_default();

        let totals: Family<Vec<(String, String)>, Gauge> = Family::default();
        let phases: Family<Vec<(String, String)>, Gauge> = Family::default();
        for cluster in &clusters {
            let of = label("namespace", &namespace(cluster));
            totals.get_or_create(&vec![of.clone()]).inc();
            if let Some(phase) = phase(cluster) {
                let of_phase = vec![of, label("phase", &format!("{phase:?}"))];
                phases.get_or_create(&of_phase).inc();
            }
        }
        encode(&mut encoder, "nico_clusters_total", "Clusters", &totals)?;
        encode(
            &mut encoder,
            "nico_clusters_by_phase",
            "Clusters in each phase",
            &phases,
        )?;
        let planes: [(&str, &str, PlaneOf); 2] = [
            (
                "nico_cluster_control_plane_nodes",
                "Control-plane machines of a cluster",
                |cluster| cluster.status.as_ref()?.control_plane.as_ref(),
            ),
            (
                "nico_cluster_worker_nodes",
                "Workers of a cluster",
                |cluster| cluster.status.as_ref()?.data_plane.as_ref(),
            ),
        ];
        for (name, help, plane) in planes {
            let nodes: Family<Vec<(String, String)>, Gauge> = Family::default();
            for cluster in &clusters {
                let Some(plane) = cluster.0.as_ref().ok().and_then(plane) else {
                    continue;
                };
                for (status, count) in [("ready", plane.ready), ("total", plane.total)] {
                    let of = vec![
                        label("namespace", &namespace(cluster)),
                        label("cluster", &cluster.name_any()),
                        label("status", status),
                    ];
                    nodes.get_or_create(&of).set(i64::from(count));
                }
            }
            encode(&mut encoder, name, help, &nodes)?;
        }
        let version = ConstGauge::new(1_i64);
        let mut info = encoder.encode_descriptor(
            "nico_operator_info",
            "Version of the operator",
            None,
            version.metric_type(),
        )?;
        let labels = [("version", env!("CARGO_PKG_VERSION"))];
        version.encode(info.encode_family(&labels)?)
    }
}

fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    family: &Family<Vec<(String, String)>, Gauge>,
) -> Result<(), fmt::Error> {
    let metric = encoder.encode_descriptor(name, help, None, family.metric_type())?;
    family.encode(metric)
}

fn label(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn phase(cluster: &DeserializeGuard<KubernetesCluster>) -> Option<Phase> {
    cluster.0.as_ref().ok()?.status.as_ref()?.phase
}
