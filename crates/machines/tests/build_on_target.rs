//! A real host that builds its own system, from a derivation that was evaluated elsewhere.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use nico_api::nixos_configuration::conditions::BUILT;
use nico_machines::configuration::BuildOn;
use serde_json::json;
use support::lab::Lab;
use support::message;

#[tokio::test(flavor = "multi_thread")]
async fn a_host_builds_its_own_system_and_says_why_it_cannot() {
    let Some(lab) = Lab::start().await else {
        return;
    };
    let cluster = &lab.cluster;
    let _operator = cluster.operator_with(|settings| {
        settings.configurations.build_on = BuildOn::Target;
    });
    cluster.configuration("web", "m", json!({})).await;
    let status = cluster.reason("web", "Applied").await.status.unwrap();
    let system = status.system_path.unwrap();
    assert_eq!(lab.on_host("readlink -f /run/current-system"), system);
    assert_eq!(lab.activations(), ["one"]);
    let on_operator = cluster.base_path().join("store").join(&system[1..]);
    assert!(!on_operator.exists(), "the operator built {system}");

    let path = cluster.repository.path().join("hosts/flake.nix");
    let flake = std::fs::read_to_string(path).unwrap();
    let broken = flake.replace("/bin/chmod +x", "echo no such luck >&2; exit 1 #");
    cluster.repository.write("hosts/flake.nix", &broken);
    cluster.repository.commit();
    let failed = cluster.reason("web", "BuildFailed").await;
    let said = message(&failed, BUILT);
    assert!(said.contains("no such luck"), "{said}");
    assert_eq!(lab.activations().len(), 1);
}
