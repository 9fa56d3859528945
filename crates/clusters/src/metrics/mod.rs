//! Metrics of the cluster layer. Names and labels are part of the API.
//!
//! What can be read from the watch cache is read there when somebody asks, so it can neither
//! drift nor outlive the cluster; what is counted is forgotten with the cluster.

mod gauges;
mod searches;
#[cfg(test)]
mod tests;

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use nico_api::KubernetesCluster;
use nico_api::kubernetes_cluster::KubernetesClusterStatus;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::action::Action;
use crate::role::Role;
use crate::transitions::{Outcome, RolloutEnd};

use gauges::Clusters;
use searches::Searches;

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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    namespace: String,
    cluster: String,
    outcome: &'static str,
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
    kubeconfig_end: PerCluster<Gauge>,
    machines_selected: Family<OfRole, Gauge>,
    selection_duration: Family<OfRole, Histogram, fn() -> Histogram>,
    searches: Searches,
    ready_seconds: Histogram,
    rollout_duration: Histogram,
    rollouts: Family<OfOutcome, Counter>,
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
            kubeconfig_end: Family::default(),
            machines_selected: Family::default(),
            selection_duration: Family::new_with_constructor(selection_durations),
            searches: Searches::default(),
            ready_seconds: Histogram::new(exponential_buckets(5.0, 2.0, 10)),
            rollout_duration: Histogram::new(exponential_buckets(15.0, 2.0, 12)),
            rollouts: Family::default(),
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
            "Kubeconfigs published, for the first time or in the place of another",
            metrics.kubeconfig_success.clone(),
        );
        registry.register(
            "nico_kubeconfig_generation_errors",
            "Attempts to get a kubeconfig that failed",
            metrics.kubeconfig_errors.clone(),
        );
        registry.register(
            "nico_kubeconfig_expiry_timestamp_seconds",
            "When the client certificate of the published kubeconfig ends, as Unix time",
            metrics.kubeconfig_end.clone(),
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
        registry.register(
            "nico_machine_selection_duration_seconds",
            "Time from the first look that found machines wanting until all were claimed",
            metrics.selection_duration.clone(),
        );
        registry.register(
            "nico_rollout_duration_seconds",
            "Time from the beginning of a rollout until every node ran its target",
            metrics.rollout_duration.clone(),
        );
        registry.register(
            "nico_rollouts",
            "Rollouts that ended, by how",
            metrics.rollouts.clone(),
        );
        registry.register_collector(Box::new(metrics.clusters.clone()));
        metrics
    }

    /// Reads gauges from `store` from now on.
    pub(crate) fn read_from(&self, store: Store<DeserializeGuard<KubernetesCluster>>) {
        self.clusters.read_from(store);
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
            Action::PublishKubeconfig(_) | Action::RenewKubeconfig { .. } => {
                self.kubeconfig_success.get_or_create(&of).inc();
            }
            _ => {}
        }
    }

    pub(crate) fn kubeconfig_failed(&self, namespace: &str, cluster: &str) {
        let of = of_cluster(namespace, cluster);
        self.kubeconfig_errors.get_or_create(&of).inc();
    }

    /// `end` is when the client certificate of the published kubeconfig ends, if it has one.
    pub(crate) fn kubeconfig_ends(&self, namespace: &str, cluster: &str, end: Option<Timestamp>) {
        let of = of_cluster(namespace, cluster);
        match end {
            Some(end) => {
                self.kubeconfig_end.get_or_create(&of).set(end.as_second());
            }
            None => {
                self.kubeconfig_end.remove(&of);
            }
        }
    }

    pub(crate) fn selected(&self, namespace: &str, cluster: &str, role: Role, machines: usize) {
        let of = of_role(namespace, cluster, role);
        let machines = i64::try_from(machines).unwrap_or(i64::MAX);
        self.machines_selected.get_or_create(&of).set(machines);
    }

    pub(crate) fn became_ready(&self, seconds: f64) {
        self.ready_seconds.observe(seconds);
    }

    /// Notes whether a plane has all its machines, to know how long it was without.
    pub(crate) fn searched(
        &self,
        namespace: &str,
        cluster: &str,
        status: &KubernetesClusterStatus,
        now: Timestamp,
    ) {
        for (role, plane, selected) in [
            (
                Role::ControlPlane,
                &status.control_plane,
                &status.selected_control_plane_machines,
            ),
            (
                Role::Worker,
                &status.data_plane,
                &status.selected_data_plane_machines,
            ),
        ] {
            let wanted = plane.as_ref().map_or(0, |plane| plane.total);
            let is_complete = i32::try_from(selected.len()).is_ok_and(|held| held >= wanted);
            let of = of_role(namespace, cluster, role);
            if let Some(seconds) = self.searches.note(&of, is_complete, now) {
                self.selection_duration.get_or_create(&of).observe(seconds);
            }
        }
    }

    pub(crate) fn rollout_ended(&self, namespace: &str, cluster: &str, end: &RolloutEnd) {
        let of = of_outcome(namespace, cluster, end.outcome.as_str());
        self.rollouts.get_or_create(&of).inc();
        if let Some(seconds) = end.finished_after {
            self.rollout_duration.observe(seconds);
        }
    }

    /// Drops all series of a cluster that is no more.
    pub(crate) fn forget(&self, namespace: &str, cluster: &str) {
        let of = of_cluster(namespace, cluster);
        self.reconcile_duration.remove(&of);
        self.reconcile_success.remove(&of);
        self.configurations_deleted.remove(&of);
        self.kubeconfig_success.remove(&of);
        self.kubeconfig_errors.remove(&of);
        self.kubeconfig_end.remove(&of);
        for role in [Role::ControlPlane, Role::Worker] {
            let of = of_role(namespace, cluster, role);
            self.configurations_created.remove(&of);
            self.machines_selected.remove(&of);
            self.selection_duration.remove(&of);
            self.searches.forget(&of);
        }
        for outcome in Outcome::ALL {
            let of = of_outcome(namespace, cluster, outcome.as_str());
            self.rollouts.remove(&of);
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

fn selection_durations() -> Histogram {
    Histogram::new(exponential_buckets(0.05, 3.0, 12))
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

fn of_outcome(namespace: &str, cluster: &str, outcome: &'static str) -> OfOutcome {
    OfOutcome {
        namespace: namespace.to_owned(),
        cluster: cluster.to_owned(),
        outcome,
    }
}
