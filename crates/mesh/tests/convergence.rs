//! The controller against a Kubernetes API and a Netmaker that both change all the time, fail, and
//! lose their leader: when the trouble ends there is exactly what should be, and nobody else's rule
//! was touched.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::Method;
use nico_mesh::Metrics;
use nico_runtime::leader::Fence;
use nico_sandbox::netmaker::{Fault, FaultRule, Rule, Seen};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use support::lab::{Is, Lab, MARK, cidrs, wanted};
use support::{PASSWORD, USER};
use tokio_util::sync::CancellationToken;

fn foreign(network: &str, range: &str, description: &str) -> Value {
    json!({"name": "x pods (1/1)", "network": network, "description": description, "range": range, "nodes": {}})
}

/// D1: a Node that came before its host waited for ever.
#[tokio::test]
async fn d01_a_node_that_comes_before_its_host_gets_its_rules() {
    let lab = Lab::start().await;
    let running = tokio::spawn(nico_mesh::run(
        lab.context(CancellationToken::new()),
        lab.parts(Fence::open()),
    ));
    lab.add_node("w-1", &cidrs(1, false)).await;
    lab.eventually("a pass", |lab| {
        lab.netmaker
            .seen()
            .iter()
            .any(|seen| seen.path == "/api/v1/egress")
    })
    .await;
    lab.netmaker.add_host("w-1", &["net"]);
    lab.eventually("the rule", |lab| lab.ours().len() == 1)
        .await;
    running.abort();
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_is_no_success() {
    let lab = Lab::start().await;
    lab.netmaker.add_host("w-1", &["net"]);
    lab.add_node("w-1", &cidrs(1, false)).await;
    let mut registry = Registry::default();
    let mut parts = lab.parts(Fence::open());
    parts.settings.dry_run = true;
    parts.metrics = Metrics::register(&mut registry);
    let context = lab.context(CancellationToken::new());
    let running = tokio::spawn(nico_mesh::run(context, parts));
    let page = || {
        let mut page = String::new();
        encode(&mut page, &registry).unwrap();
        page
    };
    let missing = "kaput_not_rules{network=\"net\",state=\"missing\"} 1\n";
    lab.eventually("two passes that miss the rule", |_| {
        let page = page();
        page.contains(missing)
            && !page.contains("pass_duration_seconds_count 0\n")
            && !page.contains("pass_duration_seconds_count 1\n")
    })
    .await;
    let page = page();
    let never = "kaput_not_last_success_timestamp_seconds 0\n";
    assert!(page.contains(never), "{page}");
    assert!(lab.ours().is_empty());
    running.abort();
}

/// D6: answers that are lost leave no duplicates.
#[tokio::test]
async fn d06_lost_answers_leave_no_duplicates() {
    let lab = Lab::start().await;
    for fault in [Fault::SilentAfter, Fault::Truncated, Fault::SilentAfter] {
        let rule = FaultRule::new("/api/v1/egress", fault)
            .on(Method::POST)
            .times(1);
        lab.netmaker.faults().add(rule);
    }
    for number in 1..=3 {
        lab.netmaker.add_host(&format!("w-{number}"), &["net"]);
        lab.add_node(&format!("w-{number}"), &cidrs(number, false))
            .await;
    }
    let running = tokio::spawn(nico_mesh::run(
        lab.context(CancellationToken::new()),
        lab.parts(Fence::open()),
    ));
    lab.eventually("three rules after three lost answers", |lab| {
        lab.netmaker.faults().pending() == 0 && lab.ours().len() == 3
    })
    .await;
    running.abort();
}

/// D18: a server that cannot be reached at the start is waited for.
#[tokio::test]
async fn d18_an_outage_at_the_start_is_waited_for() {
    let lab = Lab::start().await;
    lab.netmaker
        .faults()
        .add(FaultRule::new("/", Fault::bad_gateway()).times(4));
    lab.netmaker.add_host("w-1", &["net"]);
    lab.add_node("w-1", &cidrs(1, false)).await;
    let running = tokio::spawn(nico_mesh::run(
        lab.context(CancellationToken::new()),
        lab.parts(Fence::open()),
    ));
    lab.eventually("the rule", |lab| lab.ours().len() == 1)
        .await;
    running.abort();
}

/// The bodies are those that the Go program sends.
#[tokio::test]
async fn rules_that_the_go_program_wrote_are_taken_over_without_a_write() {
    let lab = Lab::start().await;
    let host = lab.netmaker.add_host("w-1", &["net"]);
    let member = lab.netmaker.nodes(&host, "net").remove(0);
    for (index, range) in ["10.42.1.0/24", "fd00:42:1::/64"].iter().enumerate() {
        let body = json!({
            "name": format!("w-1 pods ({}/2)", index + 1),
            "network": "net",
            "description": format!("Managed by kaput-not (DO NOT EDIT): cluster=test index={index}"),
            "range": range,
            "nat": false,
            "nodes": {&member: 500},
            "status": true,
        });
        lab.netmaker.add_rule(USER, &body).unwrap();
    }
    lab.add_node("w-1", &cidrs(1, true)).await;
    let running = lab.run(&CancellationToken::new());
    lab.eventually("some passes", |lab| passes(lab) >= 4).await;
    assert!(!lab.netmaker.seen().iter().any(Seen::is_write));
    assert_eq!(lab.ours(), wanted("net", "w-1", &member, &cidrs(1, true)));
    running.abort();
}

fn passes(lab: &Lab) -> usize {
    let seen = lab.netmaker.seen();
    let lists = seen.iter().filter(|seen| seen.path == "/api/v1/egress");
    // There are two networks.
    lists.count() / 2
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let lab = Lab::start().await;
    lab.netmaker.add_host("w-1", &["net"]);
    lab.add_node("w-1", &cidrs(1, false)).await;
    let mut parts = lab.parts(Fence::open());
    parts.settings.dry_run = true;
    let running = tokio::spawn(nico_mesh::run(lab.context(CancellationToken::new()), parts));
    lab.eventually("some passes", |lab| passes(lab) >= 2).await;
    assert!(!lab.netmaker.seen().iter().any(Seen::is_write));
    running.abort();
}

/// The state that the trouble is made in.
struct Story {
    random: StdRng,
    nodes: BTreeMap<String, Vec<String>>,
    /// Every host that ever was, with its name.
    hosts: Vec<(String, String)>,
}

impl Story {
    fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            nodes: BTreeMap::new(),
            hosts: Vec::new(),
        }
    }

    fn some<T: Clone>(&mut self, items: &[T]) -> Option<T> {
        let count = items.len();
        (count > 0).then(|| items[self.random.random_range(0..count)].clone())
    }

    async fn step(&mut self, lab: &Lab) {
        let number = self.random.random_range(1..8_usize);
        let name = format!("w-{number}");
        let dual = self.random.random_bool(0.5);
        match self.random.random_range(0..12) {
            0 | 1 if !self.nodes.contains_key(&name) => {
                lab.add_node(&name, &cidrs(number, dual)).await;
                self.nodes.insert(name, cidrs(number, dual));
            }
            2 if self.nodes.len() > 1 && self.nodes.remove(&name).is_some() => {
                lab.remove_node(&name).await;
            }
            3 | 4 => {
                let networks: &[&str] = if dual { &["net", "other"] } else { &["net"] };
                let host = lab.netmaker.add_host(&name, networks);
                self.hosts.push((host, name));
            }
            5 => {
                if let Some((host, _)) = self.some(&self.hosts.clone()) {
                    lab.netmaker.remove_host(&host);
                }
            }
            6 => {
                if let Some((host, _)) = self.some(&self.hosts.clone()) {
                    lab.netmaker.rename_host(&host, &name);
                }
            }
            7 => {
                if let Some((host, _)) = self.some(&self.hosts.clone()) {
                    lab.netmaker.leave(&host, "net", dual);
                    lab.netmaker.join(&host, "net");
                }
            }
            8 => {
                let ours: Vec<Rule> = lab
                    .rules()
                    .into_iter()
                    .filter(|rule| rule.description.starts_with(MARK))
                    .collect();
                if let Some(rule) = self.some(&ours) {
                    self.edit(lab, &rule.id);
                }
            }
            9 => {
                if let Some((host, _)) = self.some(&self.hosts.clone()) {
                    lab.netmaker.set_online(&host, dual);
                }
            }
            10 => self.fault(lab),
            _ => lab.netmaker.end_tokens(),
        }
    }

    fn edit(&mut self, lab: &Lab, id: &str) {
        match self.random.random_range(0..6) {
            0 => lab.netmaker.remove_rule(id),
            1 => lab
                .netmaker
                .edit_rule(id, |rule| rule.range = "10.99.0.0/16".to_owned()),
            2 => lab.netmaker.edit_rule(id, |rule| rule.nodes.clear()),
            3 => lab
                .netmaker
                .edit_rule(id, |rule| rule.name = "by hand".to_owned()),
            4 => lab.netmaker.edit_rule(id, |rule| rule.nat = true),
            _ => {
                let copy = lab.rules().into_iter().find(|rule| rule.id == id);
                if let Some(rule) = copy {
                    let body = json!({"name": rule.name, "network": rule.network, "description": rule.description,
                        "range": rule.range, "nodes": rule.nodes});
                    lab.netmaker.add_rule(USER, &body);
                }
            }
        }
    }

    fn fault(&mut self, lab: &Lab) {
        let faults = [
            Fault::bad_gateway(),
            Fault::Truncated,
            Fault::SilentAfter,
            Fault::SilentBefore,
            Fault::html(200),
            Fault::unknown_path(),
            Fault::json("[]"),
            Fault::TokensEnd,
            Fault::AnswerAfter {
                status: 500,
                media_type: "application/json",
                body: "{}".to_owned(),
            },
        ];
        let paths = [
            "/api/hosts",
            "/api/nodes",
            "/api/networks",
            "/api/v1/egress",
            "/api/users",
        ];
        let fault = self.some(&faults).unwrap_or(Fault::Truncated);
        let path = self.some(&paths).unwrap_or("/");
        lab.netmaker
            .faults()
            .add(FaultRule::new(path, fault).times(1));
    }

    /// Ends the trouble: every Node has one host, and that is in a network.
    fn settle(&mut self, lab: &Lab) -> Vec<Is> {
        lab.netmaker.faults().clear();
        for (host, _) in &self.hosts {
            lab.netmaker.remove_host(host);
        }
        let mut all = Vec::new();
        for (name, cidrs) in &self.nodes {
            let host = lab.netmaker.add_host(name, &["net", "other"]);
            for network in ["net", "other"] {
                let member = lab.netmaker.nodes(&host, network).remove(0);
                all.extend(wanted(network, name, &member, cidrs));
            }
        }
        all.sort();
        all
    }
}

async fn trouble(seed: u64) {
    let lab = Lab::start().await;
    lab.netmaker.add_account("somebody", PASSWORD);
    for (network, range, text) in [
        ("net", "10.42.1.0/24", "mine"),
        (
            "net",
            "10.42.2.0/24",
            "Managed by kaput-not (DO NOT EDIT): index=0",
        ),
        (
            "other",
            "10.42.3.0/24",
            "Managed by kaput-not (DO NOT EDIT): cluster=test2 index=0",
        ),
        ("other", "0.0.0.0/0", ""),
    ] {
        lab.netmaker
            .add_rule("somebody", &foreign(network, range, text))
            .unwrap();
    }
    let others = lab.others();
    assert_eq!(others.len(), 4);

    let mut story = Story::new(seed);
    lab.add_node("w-9", &cidrs(9, false)).await;
    story.nodes.insert("w-9".to_owned(), cidrs(9, false));
    let mut replicas = vec![lab.replica("first"), lab.replica("second")];
    for step in 0..40 {
        story.step(&lab).await;
        if step % 10 == 9 {
            // Killed: it frees no Lease and ends no write.
            let killed = replicas.remove(0);
            killed.abort();
            replicas.push(lab.replica(&format!("replica-{step}")));
        }
        let pause = story.random.random_range(0..60);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    let all = story.settle(&lab);
    lab.eventually(&format!("what should be, with seed {seed}"), |lab| {
        lab.ours() == all
    })
    .await;
    assert_eq!(lab.others(), others, "seed {seed}");
    let names: BTreeSet<String> = lab.rules().into_iter().map(|rule| rule.id).collect();
    assert_eq!(names.len(), all.len() + others.len());
    for replica in replicas {
        replica.abort();
    }
}

macro_rules! seeds {
    ($($name:ident: $seed:expr),*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            trouble($seed).await;
        })*
    };
}

mod whatever_happens {
    use super::trouble;

    seeds!(it_ends_as_it_should_1: 1, it_ends_as_it_should_2: 2, it_ends_as_it_should_3: 3, it_ends_as_it_should_4: 4);
}
