//! From what a machine has to a kubeconfig that works from elsewhere.

use kube::config::Kubeconfig;
use nico_api::Machine;
use nico_api::names::MachineName;
use nico_api::reason::ClusterReason;
use nico_clusters::kubeconfig::retrieve;
use nico_testbed::ControlPlane;

use crate::lab::Kubeconfigs;

fn machine(address: &str) -> (MachineName, Machine) {
    let mut machine = Machine::default();
    machine.spec.ip_address = Some(address.to_owned());
    ("cp-01".parse().unwrap(), machine)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_does_not_name_the_machine_is_checked_by_a_name_that_it_has() {
    let server = ControlPlane::start_everywhere().await.unwrap();
    let hosts = Kubeconfigs::new(server.kubeconfig().to_owned());
    let (name, machine) = machine("127.0.0.2");
    let kubeconfig = retrieve(&hosts, "home", None, &[(name, &machine)])
        .await
        .unwrap();
    let document = Kubeconfig::from_yaml(kubeconfig.text()).unwrap();
    let cluster = document.clusters[0].cluster.as_ref().unwrap();
    let expected = server.url().replace("127.0.0.1", "127.0.0.2");
    assert_eq!(cluster.server.as_deref(), Some(expected.as_str()));
    assert!(cluster.tls_server_name.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubeconfig_of_another_cluster_is_never_taken() {
    let server = ControlPlane::start().await.unwrap();
    let other = ControlPlane::start().await.unwrap();
    let misleading = other.kubeconfig().replace(other.url(), server.url());
    let (name, machine) = machine("127.0.0.1");
    let hosts = Kubeconfigs::new(misleading);
    let error = retrieve(&hosts, "home", None, &[(name, &machine)])
        .await
        .unwrap_err()
        .unwrap();
    assert_eq!(error.reason(), ClusterReason::KubeconfigNotProven);
}
