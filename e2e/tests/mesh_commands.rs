//! `nico mesh plan`, `list` and `cleanup`, as a person uses them.

use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::PostParams;
use nico_e2e::{ApiServer, nico_binary};
use nico_sandbox::netmaker::NetmakerServer;
use serde_json::json;
use tokio::task::block_in_place;

const USER: &str = "robot";
const PASSWORD: &str = "a-good-password";
const MARK: &str = "Managed by kaput-not (DO NOT EDIT): cluster=test index=0";

/// A cluster with two Nodes, and their hosts in a Netmaker.
struct Lab {
    server: ApiServer,
    netmaker: NetmakerServer,
}

impl Lab {
    async fn start() -> Result<Self> {
        let server = ApiServer::start().await?;
        let netmaker = NetmakerServer::start(([127, 0, 0, 1], 0).into()).await?;
        netmaker.add_account(USER, PASSWORD);
        netmaker.add_network("net", "10.100.0.0/16");
        let nodes: Api<Node> = Api::all(server.administrator().await?);
        for number in 1..=2 {
            let (name, cidr) = (format!("w-{number}"), format!("10.42.{number}.0/24"));
            netmaker.add_host(&name, &["net"]);
            let node: Node = serde_json::from_value(json!({
                "metadata": {"name": name, "labels": {"number": number.to_string()}},
                "spec": {"podCIDR": cidr, "podCIDRs": [cidr]},
            }))?;
            nodes.create(&PostParams::default(), &node).await?;
        }
        Ok(Self { server, netmaker })
    }

    /// A rule with this description, for the first Node.
    fn add_rule(&self, description: &str) -> Result<String> {
        let rule = json!({
            "name": "w-1 pods (1/1)", "network": "net", "description": description,
            "range": "10.42.1.0/24", "nodes": {},
        });
        let id = self.netmaker.add_rule(USER, &rule);
        id.context("the rule was made")
    }

    fn mesh(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Output> {
        let mut command = Command::new(nico_binary()?);
        command
            .arg("mesh")
            .args(arguments)
            .env("KUBECONFIG", self.server.kubeconfig())
            .env("NETMAKER_API_URL", self.netmaker.url())
            .env("NETMAKER_USERNAME", USER)
            .env("NETMAKER_PASSWORD", PASSWORD)
            .env("K8S_CLUSTER_NAME", "test")
            .envs(variables.iter().copied())
            .stdin(Stdio::null());
        block_in_place(|| Ok(command.output()?))
    }

    /// What a command says that does its work.
    fn says(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<String> {
        let output = self.mesh(arguments, variables)?;
        ensure!(output.status.success(), "{arguments:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What a command says that refuses.
    fn refuses(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<String> {
        let output = self.mesh(arguments, variables)?;
        ensure!(!output.status.success(), "{arguments:?}: {output:?}");
        Ok(String::from_utf8(output.stderr)?)
    }

    fn rules(&self) -> usize {
        self.netmaker.rules("net").len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_and_list_say_what_is_and_what_would_be_and_write_nothing() -> Result<()> {
    let lab = Lab::start().await?;
    ensure!(lab.says(&["list"], &[])? == "there is no egress rule of this cluster\n");
    let of_others = lab.add_rule("by hand")?;
    let plan = lab.says(&["plan"], &[])?;
    for line in [
        "create the rule for 10.42.1.0/24 of Node w-1 in network net".to_owned(),
        "create the rule for 10.42.2.0/24 of Node w-2 in network net".to_owned(),
        format!("the rule {of_others} \"w-1 pods (1/1)\" of somebody else"),
    ] {
        ensure!(plan.contains(&line), "{line} is not in\n{plan}");
    }
    let plan = lab.says(&["plan"], &[("MESH_CIDRS", "10.42.1.0/24")])?;
    let refused = "Node w-2: one of the podCIDRs of w-2 is outside of MESH_CIDRS";
    ensure!(plan.contains(refused), "{plan}");
    let plan = lab.says(&["plan"], &[("MESH_NODE_SELECTOR", "number=2")])?;
    ensure!(plan.contains("w-2") && !plan.contains("Node w-1"), "{plan}");
    ensure!(lab.rules() == 1);

    let ours = lab.add_rule(MARK)?;
    let list = lab.says(&["list"], &[])?;
    let rows: Vec<Vec<&str>> = list
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let expected = [
        vec!["NODE", "NETWORK", "CIDR", "STATE", "ID"],
        vec!["w-1", "net", "10.42.1.0/24", "drifted", ours.as_str()],
    ];
    ensure!(rows == expected, "{list}");
    ensure!(lab.rules() == 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cleanup_removes_the_rules_of_this_cluster_when_it_is_meant() -> Result<()> {
    let lab = Lab::start().await?;
    lab.add_rule("by hand")?;
    lab.add_rule("Managed by kaput-not (DO NOT EDIT): cluster=other index=0")?;
    let ours = lab.add_rule(MARK)?;

    let refusal = lab.refuses(&["cleanup"], &[])?;
    ensure!(refusal.contains("say --yes"), "{refusal}");
    let dry = lab.says(&["cleanup", "--yes"], &[("MESH_DRY_RUN", "true")])?;
    ensure!(
        dry.contains(&ours) && dry.contains("nothing is removed"),
        "{dry}"
    );
    ensure!(lab.rules() == 3);

    let removed = lab.says(&["cleanup", "--yes"], &[])?;
    ensure!(removed.ends_with("removed 1 rules\n"), "{removed}");
    ensure!(lab.rules() == 2, "{:?}", lab.netmaker.rules("net"));
    let again = lab.says(&["cleanup", "--yes"], &[])?;
    ensure!(
        again == "there is no egress rule of this cluster\n",
        "{again}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_named() -> Result<()> {
    let lab = Lab::start().await?;
    for (variable, value, words) in [
        ("NETMAKER_API_URL", "", "NETMAKER_API_URL is not set"),
        (
            "NETMAKER_API_URL",
            "netmaker",
            "NETMAKER_API_URL cannot be used",
        ),
        ("NETMAKER_USERNAME", "", "NETMAKER_USERNAME is not set"),
        ("NETMAKER_PASSWORD", "", "NETMAKER_PASSWORD is not set"),
        (
            "NETMAKER_PASSWORD",
            "wrong",
            "check NETMAKER_USERNAME and NETMAKER_PASSWORD",
        ),
        ("NETMAKER_TOKEN", "wrong", "set a new one in NETMAKER_TOKEN"),
        (
            "NETMAKER_TOKEN_FILE",
            "/nowhere",
            "the file of NETMAKER_TOKEN_FILE",
        ),
        (
            "NETMAKER_CA_FILE",
            "/nowhere",
            "NETMAKER_CA_FILE: cannot read /nowhere",
        ),
        ("NETMAKER_TIMEOUT", "soon", "NETMAKER_TIMEOUT"),
        (
            "K8S_CLUSTER_NAME",
            "my cluster",
            "K8S_CLUSTER_NAME cannot be used",
        ),
        (
            "MESH_NODE_SELECTOR",
            "a in",
            "MESH_NODE_SELECTOR cannot be used",
        ),
        (
            "MESH_CIDRS",
            "10.42.0.0",
            "MESH_CIDRS: \"10.42.0.0\" is no CIDR",
        ),
        ("MESH_MAX_DELETES", "most", "MESH_MAX_DELETES"),
        ("KUBECONFIG", "/nowhere", "/nowhere"),
    ] {
        let refusal = lab.refuses(&["plan"], &[(variable, value)])?;
        ensure!(refusal.contains(words), "{variable}={value}: {refusal}");
    }
    Ok(())
}
