//! Gauges that are read from the watch cache when somebody asks.

use std::fmt::{self, Debug};
use std::sync::{Arc, PoisonError, RwLock};

use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use nico_api::kubernetes_cluster::{
    KubernetesClusterStatus, Phase, PlaneStatus, conditions::ROLLING_OUT,
};
use nico_api::{KubernetesCluster, condition};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};

/// Picks one plane of a cluster's status.
type PlaneOf = fn(&KubernetesCluster) -> Option<&PlaneStatus>;

/// Gauges that are read from the watch cache.
#[derive(Clone, Default)]
pub(super) struct Clusters(Arc<RwLock<Option<Store<DeserializeGuard<KubernetesCluster>>>>>);

impl Clusters {
    /// Reads from `store` from now on.
    pub(super) fn read_from(&self, store: Store<DeserializeGuard<KubernetesCluster>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(store);
    }
}

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
        let nodes: Family<Vec<(String, String)>, Gauge> = Family::default();
        for cluster in &clusters {
            let status = cluster.0.as_ref().ok().and_then(|it| it.status.as_ref());
            for (state, count) in status.map(rollout_nodes).unwrap_or_default() {
                let of = vec![
                    label("namespace", &namespace(cluster)),
                    label("cluster", &cluster.name_any()),
                    label("state", state),
                ];
                nodes.get_or_create(&of).set(i64::from(count));
            }
        }
        encode(
            &mut encoder,
            "nico_rollout_nodes",
            "Nodes of the rollout that is under way or was the last, by where they stand",
            &nodes,
        )?;
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

/// The nodes of a rollout by where they stand; together they are all nodes.
fn rollout_nodes(status: &KubernetesClusterStatus) -> Vec<(&'static str, i32)> {
    let Some(rollout) = &status.rollout else {
        return vec![];
    };
    let in_hand = i32::try_from(rollout.current.len()).unwrap_or(i32::MAX);
    let is_failed = condition::find(&status.conditions, ROLLING_OUT)
        .is_some_and(|rolling| rolling.reason == "NodeFailed");
    // A rollout stops at the first node that fails, whether or not that is back.
    let (changing, failed) = match is_failed {
        true => (0, in_hand.max(1)),
        false => (in_hand, 0),
    };
    vec![
        ("updated", rollout.updated),
        ("changing", changing),
        ("failed", failed),
        (
            "waiting",
            rollout.total - rollout.updated - changing - failed,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use nico_api::condition::Truth;
    use nico_api::kubernetes_cluster::RolloutStatus;

    fn status(reason: &str, updated: i32, current: &[&str]) -> KubernetesClusterStatus {
        let mut status = KubernetesClusterStatus {
            rollout: Some(RolloutStatus {
                updated,
                total: 5,
                current: current.iter().map(|name| (*name).to_owned()).collect(),
                ..RolloutStatus::default()
            }),
            ..KubernetesClusterStatus::default()
        };
        let now = crate::fixtures::at(0);
        condition::set(
            &mut status.conditions,
            ROLLING_OUT,
            Truth::True,
            reason,
            "",
            None,
            now,
        );
        status
    }

    #[test]
    fn the_states_of_a_rollout_are_all_its_nodes() {
        let counts = |status| rollout_nodes(&status).into_iter().map(|(_, count)| count);
        for (status, expected) in [
            (status("Updating", 2, &["w-01"]), [2, 1, 0, 2]),
            (status("Finished", 5, &[]), [5, 0, 0, 0]),
            (status("NodeFailed", 1, &["w-02"]), [1, 0, 1, 3]),
            (status("NodeFailed", 1, &[]), [1, 0, 1, 3]),
        ] {
            let counts: Vec<i32> = counts(status).collect();
            assert_eq!(counts, expected);
        }
        assert_eq!(rollout_nodes(&KubernetesClusterStatus::default()), []);
    }
}
