use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::{reflector, watcher};
use nico_api::kubernetes_cluster::{Phase, PlaneStatus, RolloutStatus};
use prometheus_client::encoding::text::encode;

use super::*;
use crate::fixtures::{World, at};

/// What a look at a cluster of every kind leaves behind, and what is left when it is gone.
fn exported(is_gone: bool) -> String {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let world = World::of_one_control_plane_and_one_worker().applied();
    let mut cluster = world.observed.cluster.clone();
    let status = cluster.status.get_or_insert_default();
    status.phase = Some(Phase::Ready);
    status.data_plane = Some(PlaneStatus {
        total: 1,
        ..PlaneStatus::default()
    });
    status.rollout = Some(RolloutStatus {
        total: 2,
        started_at: Some(Time(at(10))),
        ..RolloutStatus::default()
    });
    let (store, mut writer) = reflector::store();
    writer.apply_watcher_event(&watcher::Event::Apply(DeserializeGuard(
        Ok(cluster.clone()),
    )));
    metrics.read_from(store);

    let (namespace, name) = ("default", "home");
    metrics.succeeded(namespace, name, Duration::from_millis(5));
    for error_type in ERROR_TYPES {
        metrics.failed(namespace, name, error_type);
    }
    for configuration in world.observed.configurations.values() {
        let created = Action::CreateConfiguration(Box::new(configuration.clone()));
        metrics.done(namespace, name, &created);
    }
    let deleted = Action::DeleteConfiguration {
        machine: "w-01".parse().unwrap(),
        name: "home-w-01".to_owned(),
        uid: String::new(),
    };
    metrics.done(namespace, name, &deleted);
    metrics
        .kubeconfig_success
        .get_or_create(&of_cluster(namespace, name))
        .inc();
    metrics.kubeconfig_failed(namespace, name);
    metrics.kubeconfig_ends(namespace, name, Some(at(100)));
    for role in [Role::ControlPlane, Role::Worker] {
        metrics.selected(namespace, name, role, 1);
    }
    let mut status = cluster.status.clone().unwrap();
    let chosen = std::mem::take(&mut status.selected_data_plane_machines);
    metrics.searched(namespace, name, &status, at(100));
    status.selected_data_plane_machines = chosen;
    metrics.searched(namespace, name, &status, at(130));
    metrics.became_ready(60.0);
    for outcome in Outcome::ALL {
        let end = RolloutEnd {
            outcome: *outcome,
            finished_after: (*outcome == Outcome::Finished).then_some(90.0),
        };
        metrics.rollout_ended(namespace, name, &end);
    }
    if is_gone {
        writer.apply_watcher_event(&watcher::Event::Delete(DeserializeGuard(Ok(cluster))));
        metrics.forget(namespace, name);
    }
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    text
}

/// Type and labels of each metric, by its name as it is asked for.
type Page = BTreeMap<String, (String, Vec<String>)>;

fn page_of(text: &str) -> Page {
    let mut page = Page::new();
    let mut name = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (base, kind) = rest.split_once(' ').unwrap();
            let suffix = if kind == "counter" { "_total" } else { "" };
            name = format!("{base}{suffix}");
            page.insert(name.clone(), (kind.to_owned(), vec![]));
        } else if let Some((_, rest)) = line.split_once('{') {
            let labels = rest.split('}').next().unwrap_or_default().split(',');
            let labels = labels.filter_map(|label| label.split('=').next());
            let labels = labels.filter(|label| *label != "le");
            page.get_mut(&name).unwrap().1 = labels.map(str::to_owned).collect();
        }
    }
    page
}

fn documented() -> Page {
    include_str!("../../../../docs/metrics.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `nico_"))
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let labels = cells[2].split(',').map(str::trim);
            let labels = labels.filter(|label| !label.is_empty());
            let entry = (cells[1].to_owned(), labels.map(str::to_owned).collect());
            (format!("nico_{}", cells[0].trim_end_matches('`')), entry)
        })
        .collect()
}

#[test]
fn the_page_about_metrics_names_what_is_exported_and_nothing_else() {
    assert_eq!(page_of(&exported(false)), documented());
}

/// The names of the reference, which dashboards use, and what the specification adds to them.
#[test]
fn every_name_that_was_promised_is_there() {
    let page = page_of(&exported(false));
    for name in [
        "clusters_total",
        "clusters_by_phase",
        "cluster_control_plane_nodes",
        "cluster_worker_nodes",
        "cluster_reconcile_duration_seconds",
        "cluster_reconcile_success_total",
        "cluster_reconcile_errors_total",
        "nixos_configs_created_total",
        "nixos_configs_deleted_total",
        "kubeconfig_generation_success_total",
        "kubeconfig_generation_errors_total",
        "machine_selection_duration_seconds",
        "machines_selected",
        "operator_info",
        "cluster_ready_seconds",
        "rollout_duration_seconds",
        "rollout_nodes",
        "rollouts_total",
    ] {
        assert!(page.contains_key(&format!("nico_{name}")), "nico_{name}");
    }
}

#[test]
fn the_series_of_a_cluster_go_with_it() {
    assert!(exported(false).contains("cluster=\"home\""));
    let left = exported(true);
    assert!(!left.contains("cluster=\"home\""), "{left}");
}

#[test]
fn a_search_lasts_from_the_first_look_that_finds_machines_wanting() {
    let text = exported(false);
    let line = "nico_machine_selection_duration_seconds_sum{namespace=\"default\",cluster=\"home\",role=\"worker\"} 30.0";
    assert!(text.contains(line), "{text}");
}
