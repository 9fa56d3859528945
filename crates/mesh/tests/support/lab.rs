//! A cluster and a Netmaker for one test, and the controller between them.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use nico_mesh::ownership::Cluster;
use nico_mesh::{Metrics, Parts, Settings, Share};
use nico_runtime::context::Context;
use nico_runtime::events::Events;
use nico_runtime::leader::{Candidate, Fence, Timing};
use nico_runtime::server::Readiness;
use nico_sandbox::netmaker::{NetmakerServer, Rule};
use nico_testbed::ControlPlane;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{server, settings};

pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
/// Fast enough for a test: a Lease lasts whole seconds.
const TIMING: Timing = Timing {
    lease: Duration::from_secs(1),
    renew_deadline: Duration::from_millis(700),
    retry: Duration::from_millis(100),
};
pub(crate) const MARK: &str = "Managed by kaput-not (DO NOT EDIT): cluster=test ";

pub(crate) struct Lab {
    _control_plane: ControlPlane,
    pub(crate) client: Client,
    pub(crate) netmaker: NetmakerServer,
}

/// What a rule of ours is, without its id.
pub(crate) type Is = (
    String,
    String,
    String,
    String,
    BTreeMap<String, i64>,
    bool,
    bool,
);

impl Lab {
    pub(crate) async fn start() -> Self {
        let control_plane = ControlPlane::start().await.expect("it works");
        let client = control_plane.client().await.expect("it works");
        let netmaker = server().await;
        netmaker.add_network("other", "10.101.0.0/16");
        Self {
            _control_plane: control_plane,
            client,
            netmaker,
        }
    }

    pub(crate) fn parts(&self, fence: Fence) -> Parts {
        let client = settings(&self.netmaker, Duration::from_secs(2));
        Parts {
            netmaker: nico_mesh::netmaker::Netmaker::new(&client, Metrics::default())
                .expect("it works"),
            settings: Settings {
                cluster: Cluster::new("test").expect("it works"),
                resync: Duration::from_millis(500),
                max_deletes: Share::ALL,
                ..Settings::default()
            },
            fence,
            metrics: Metrics::default(),
            readiness: Readiness::default(),
        }
    }

    pub(crate) fn context(&self, shutdown: CancellationToken) -> Context {
        Context {
            client: self.client.clone(),
            events: Events::new(self.client.clone(), "kaput-not"),
            shutdown,
            namespace: "default".to_owned(),
        }
    }

    /// A process that wants to lead, leads, and begins anew when it lost its Lease.
    pub(crate) fn replica(&self, identity: &str) -> JoinHandle<()> {
        let candidate = Candidate::new(
            self.client.clone(),
            "default",
            "kaput-not",
            identity,
            TIMING,
        );
        let context = self.context(CancellationToken::new());
        let client = settings(&self.netmaker, Duration::from_secs(2));
        let mesh = self.parts(Fence::open()).settings;
        tokio::spawn(async move {
            loop {
                let Some(leadership) = candidate.clone().lead(&context.shutdown).await else {
                    return;
                };
                let parts = Parts {
                    netmaker: nico_mesh::netmaker::Netmaker::new(&client, Metrics::default())
                        .expect("it works"),
                    settings: mesh.clone(),
                    fence: leadership.fence(),
                    metrics: Metrics::default(),
                    readiness: Readiness::default(),
                };
                tokio::select! {
                    () = leadership.lost().cancelled_owned() => {}
                    _ = nico_mesh::run(context.clone(), parts) => {}
                }
            }
        })
    }

    /// Begins to keep the rules, alone. Ends at `shutdown`.
    pub(crate) fn run(&self, shutdown: &CancellationToken) -> JoinHandle<()> {
        let context = self.context(shutdown.clone());
        let parts = self.parts(Fence::open());
        tokio::spawn(async move {
            nico_mesh::run(context, parts).await.expect("no error");
        })
    }

    pub(crate) async fn add_node(&self, name: &str, cidrs: &[String]) {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"podCIDR": cidrs.first(), "podCIDRs": cidrs},
        }))
        .expect("it works");
        let nodes: Api<Node> = Api::all(self.client.clone());
        nodes
            .create(&PostParams::default(), &node)
            .await
            .expect("it works");
    }

    pub(crate) async fn remove_node(&self, name: &str) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        nodes
            .delete(name, &DeleteParams::default())
            .await
            .expect("it works");
    }

    pub(crate) fn rules(&self) -> Vec<Rule> {
        let networks = ["net", "other"];
        networks
            .iter()
            .flat_map(|network| self.netmaker.rules(network))
            .collect()
    }

    pub(crate) fn ours(&self) -> Vec<Is> {
        let ours = self
            .rules()
            .into_iter()
            .filter(|rule| rule.description.starts_with(MARK));
        let mut ours: Vec<Is> = ours.map(is).collect();
        ours.sort();
        ours
    }

    pub(crate) fn others(&self) -> BTreeMap<String, Rule> {
        let others = self
            .rules()
            .into_iter()
            .filter(|rule| !rule.description.starts_with(MARK));
        others.map(|rule| (rule.id.clone(), rule)).collect()
    }

    pub(crate) async fn eventually(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !holds(self) {
            assert!(
                Instant::now() < end,
                "waited for: {what}; there is {:#?}",
                self.ours()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn is(rule: Rule) -> Is {
    (
        rule.network,
        rule.name,
        rule.description,
        rule.range,
        rule.nodes,
        rule.nat,
        rule.status,
    )
}

pub(crate) fn wanted(network: &str, node: &str, member: &str, cidrs: &[String]) -> Vec<Is> {
    let count = cidrs.len();
    cidrs
        .iter()
        .enumerate()
        .map(|(index, cidr)| {
            (
                network.to_owned(),
                format!("{node} pods ({}/{count})", index + 1),
                format!("{MARK}index={index}"),
                cidr.clone(),
                BTreeMap::from([(member.to_owned(), 500)]),
                false,
                true,
            )
        })
        .collect()
}

pub(crate) fn cidrs(number: usize, dual: bool) -> Vec<String> {
    let mut cidrs = vec![format!("10.42.{number}.0/24")];
    if dual {
        cidrs.push(format!("fd00:42:{number:x}::/64"));
    }
    cidrs
}
