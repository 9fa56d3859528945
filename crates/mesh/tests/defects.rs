//! Defects of the Go program, by their numbers, as far as they need a server. All 28:
//!
//! | Defect | Where it is tested |
//! |---|---|
//! | D1, D6, D18 | `convergence.rs`; D6 in `plan/tests.rs` too |
//! | D2, D12, D13, D16, D17, D25, D26 | here |
//! | D3, D4, D5, D7, D15, D20, D21, D22, D27, D28 | `plan/tests.rs` |
//! | D8, D9, D10 | `client.rs`; D9 in `netmaker/settings.rs` too |
//! | D11 | `ownership.rs` |
//! | D14 | `plan/tests/doubt.rs` |
//! | D19 | `controller.rs` |
//! | D23, D24 | of the chart: `e2e/tests/mesh_chart.rs` |

mod support;

use std::time::Duration;

use futures::FutureExt;
use http::Method;
use nico_mesh::ownership::Cluster;
use nico_mesh::{Mesh, Settings};
use nico_runtime::leader::Fence;
use nico_sandbox::netmaker::{Fault, FaultRule, Seen};
use serde_json::json;
use support::lab::{Lab, cidrs, wanted};
use support::{USER, client, server};
use tokio_util::sync::CancellationToken;

const EGRESS: &str = "/api/v1/egress";

/// D2: what was edited or removed in Netmaker stayed so.
#[tokio::test]
async fn d02_what_was_changed_by_hand_is_repaired() {
    let lab = Lab::start().await;
    let host = lab.netmaker.add_host("w-1", &["net"]);
    let member = lab.netmaker.nodes(&host, "net").remove(0);
    let running = lab.run(&CancellationToken::new());
    lab.add_node("w-1", &cidrs(1, true)).await;
    let both = wanted("net", "w-1", &member, &cidrs(1, true));
    lab.eventually("the rules of a new Node", |lab| lab.ours() == both)
        .await;
    let edited = lab.rules().remove(0).id;
    lab.netmaker.edit_rule(&edited, |rule| rule.status = false);
    lab.eventually("a rule that is on again", |lab| lab.ours() == both)
        .await;
    let kept = lab.rules().iter().any(|rule| rule.id == edited);
    assert!(kept, "the rule kept its id");
    lab.netmaker.remove_rule(&edited);
    lab.eventually("a rule that was removed by hand", |lab| lab.ours() == both)
        .await;
    running.abort();
}

/// D12: a deletion that failed was not tried again.
#[tokio::test]
async fn d12_a_node_that_goes_takes_its_rules_along_though_netmaker_fails() {
    let lab = Lab::start().await;
    let running = lab.run(&CancellationToken::new());
    for number in 1..=2 {
        lab.netmaker.add_host(&format!("w-{number}"), &["net"]);
        lab.add_node(&format!("w-{number}"), &cidrs(number, false))
            .await;
    }
    lab.eventually("the rules of two Nodes", |lab| lab.ours().len() == 2)
        .await;
    for fault in [Fault::bad_gateway(), Fault::html(403)] {
        let rule = FaultRule::new(EGRESS, fault).on(Method::DELETE).times(1);
        lab.netmaker.faults().add(rule);
    }
    lab.remove_node("w-1").await;
    lab.eventually("no rule of a Node that is gone", |lab| {
        lab.netmaker.faults().pending() == 0 && lab.ours().len() == 1
    })
    .await;
    running.abort();
}

/// D13: a deletion ran beside the work, which it stalled and which it outlived.
#[tokio::test]
async fn d13_a_deletion_that_hangs_neither_stalls_the_rest_nor_outlives_the_end() {
    let lab = Lab::start().await;
    let shutdown = CancellationToken::new();
    let running = lab.run(&shutdown);
    for number in 1..=3 {
        lab.netmaker.add_host(&format!("w-{number}"), &["net"]);
    }
    for number in 1..=2 {
        lab.add_node(&format!("w-{number}"), &cidrs(number, false))
            .await;
    }
    lab.eventually("the rules of two Nodes", |lab| lab.ours().len() == 2)
        .await;
    let hangs = FaultRule::new(EGRESS, Fault::SilentBefore).on(Method::DELETE);
    lab.netmaker.faults().add(hangs);
    lab.remove_node("w-1").await;
    lab.eventually("a deletion", |lab| deletions(lab) > 0).await;
    // Each attempt hangs, and still the rule of a new Node is made.
    lab.add_node("w-3", &cidrs(3, false)).await;
    lab.eventually("the rule of a new Node", |lab| lab.ours().len() == 3)
        .await;
    shutdown.cancel();
    running.await.unwrap();
    lab.netmaker.faults().clear();
    let before = lab.netmaker.seen().len();
    tokio::task::yield_now().await;
    assert_eq!(
        lab.netmaker.seen().len(),
        before,
        "nothing comes after the end"
    );
    assert_eq!(lab.ours().len(), 3);
}

fn deletions(lab: &Lab) -> usize {
    let seen = lab.netmaker.seen();
    seen.iter()
        .filter(|seen| seen.method == Method::DELETE)
        .count()
}

/// D16: after each write all rules were read anew.
#[tokio::test]
async fn d16_a_cold_start_is_one_login_four_lists_and_the_writes() {
    let lab = Lab::start().await;
    for number in 1..=40 {
        let name = format!("w-{number}");
        lab.netmaker.add_host(&name, &["net"]);
        lab.add_node(&name, &cidrs(number, false)).await;
    }
    // The other network would need a fifth list.
    lab.netmaker.remove_network("other");
    let shutdown = CancellationToken::new();
    let context = lab.context(shutdown.clone());
    let mut parts = lab.parts(Fence::open());
    parts.settings.resync = Duration::from_secs(3600);
    let running = tokio::spawn(nico_mesh::run(context, parts));
    lab.eventually("all rules", |lab| lab.ours().len() == 40)
        .await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
    let seen = lab.netmaker.seen();
    let (writes, reads): (Vec<Seen>, Vec<Seen>) = seen.into_iter().partition(Seen::is_write);
    assert_eq!(writes.len(), 40);
    let mut reads: Vec<String> = reads.into_iter().map(|seen| seen.path).collect();
    reads.sort();
    assert_eq!(
        reads,
        [
            "/api/hosts",
            "/api/networks",
            "/api/nodes",
            "/api/users/adm/authenticate",
            EGRESS,
        ]
    );
}

/// D17: one list that came slowly kept all others waiting.
#[tokio::test]
async fn d17_a_list_that_hangs_keeps_no_other_waiting() {
    let server = server().await;
    let netmaker = client(&server);
    assert_eq!(netmaker.networks().await.unwrap().len(), 1);
    let hangs = FaultRule::new("/api/hosts", Fault::SilentBefore).times(1);
    server.faults().add(hangs);
    let mut hosts = Box::pin(netmaker.hosts());
    let others = async {
        let members = netmaker.members().await.unwrap();
        let rules = netmaker.rules(&"net".into(), &Cluster::default()).await;
        members.len() + rules.unwrap().len()
    };
    tokio::select! {
        hosts = &mut hosts => panic!("a list that hangs ended first: {hosts:?}"),
        found = others => assert_eq!(found, 0),
    }
    assert!(hosts.now_or_never().is_none(), "it still hangs");
}

/// D25: the documentation named a route that is not there.
#[tokio::test]
async fn d25_the_routes_in_the_documentation_are_there() {
    let server = server().await;
    let text = include_str!("../../../docs/mesh.md");
    let quoted = text.split('`').skip(1).step_by(2);
    let routes: Vec<(&str, &str)> = quoted
        .filter_map(|text| text.split_once(' '))
        .filter(|(_, path)| path.starts_with("/api/"))
        .collect();
    assert!(!routes.is_empty());
    for (method, path) in routes {
        let mut stream = tokio::net::TcpStream::connect(server.address())
            .await
            .unwrap();
        let request = format!("{method} {path} HTTP/1.0\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer)
            .await
            .unwrap();
        // Netmaker knows who may call only of routes that are there.
        assert!(answer.contains(" 401 "), "{method} {path}: {answer}");
    }
}

/// D26: nothing took the rules away when the program was uninstalled.
#[tokio::test]
async fn d26_cleaning_up_removes_the_rules_of_this_cluster_and_no_other() {
    let server = server().await;
    let rule = |description: &str| {
        json!({"name": "w-1 pods (1/1)", "network": "net", "description": description,
            "range": "10.42.1.0/24", "nodes": {}})
    };
    let marked = |pairs: &str| rule(&format!("Managed by kaput-not (DO NOT EDIT): {pairs}"));
    for pairs in [
        "cluster=test index=0",
        "index=1 cluster=test",
        "cluster=test",
    ] {
        server.add_rule(USER, &marked(pairs)).unwrap();
    }
    for body in [
        marked("index=0"),
        marked("cluster=test2 index=0"),
        rule("cluster=test index=0"),
    ] {
        server.add_rule(USER, &body).unwrap();
    }
    let settings = Settings {
        cluster: Cluster::new("test").unwrap(),
        ..Settings::default()
    };
    let mesh = Mesh::new(client(&server), settings);
    let rules = mesh.rules().await.unwrap();
    assert_eq!(rules.len(), 3);
    let removed = mesh.remove(rules).await;
    assert_eq!((removed.gone, removed.failed.len()), (3, 0));
    assert_eq!(server.rules("net").len(), 3);
    assert!(mesh.rules().await.unwrap().is_empty());
}
