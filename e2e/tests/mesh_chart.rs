//! The chart of the mesh: it names what the binary knows, gives the rights that are used and no
//! others, and, where there is a `helm`, it is linted, rendered and installed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::Api;
use kube::api::PostParams;
use kube::config::Kubeconfig;
use nico_e2e::{ApiServer, asked_for, eventually, nico_binary, rights_of};
use nico_sandbox::kubectl::Kubectl;
use nico_sandbox::netmaker::NetmakerServer;
use serde_json::{Value, json};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/kaput-not");
const RBAC: &str = include_str!("../../charts/kaput-not/templates/rbac.yaml");
const VALUES: &str = include_str!("../../charts/kaput-not/values.yaml");
const NAMESPACE: &str = "mesh";
const ACCOUNT: &str = "kaput-not";
const PASSWORD: &str = "a-good-password";

/// What the binary reads and `--help` does not name: secrets, and what is no variable of NICO's.
const UNNAMED: [&str; 3] = ["NETMAKER_PASSWORD", "NETMAKER_TOKEN", "RUST_LOG"];
/// What has no value in the chart: `extraEnv` sets it.
const WITHOUT_VALUE: [&str; 2] = ["NETMAKER_TOKEN_FILE", "NICO_IDENTITY"];
/// The rights that are not used here, and why the mesh needs them.
const UNSEEN: [(&str, &str); 1] = [(
    "patch events.events.k8s.io",
    "an Event that is told again is counted on in the one that is there",
)];

/// The variables of `nico mesh run`, with their defaults.
fn variables() -> Result<Vec<(String, Option<String>)>> {
    let help = Command::new(nico_binary()?)
        .args(["mesh", "run", "--help"])
        .output()?;
    let help = String::from_utf8(help.stdout)?;
    let mut variables = Vec::new();
    for (_, rest) in help
        .match_indices("[env: ")
        .map(|(at, mark)| help.split_at(at + mark.len()))
    {
        let name = rest.split(['=', ']']).next().unwrap_or_default();
        let line = rest.lines().take(3).collect::<Vec<_>>().join(" ");
        let line = line.split("[env: ").next().unwrap_or_default();
        let default = line
            .split("[default: ")
            .nth(1)
            .and_then(|text| text.split(']').next());
        variables.push((name.to_owned(), default.map(ToOwned::to_owned)));
    }
    ensure!(variables.len() > 15, "the help names {variables:?}");
    Ok(variables)
}

/// The variables that the templates set: keys and names of capitals.
fn named_by_templates() -> Result<BTreeSet<String>> {
    let mut named = BTreeSet::new();
    for file in ["configmap.yaml", "deployment.yaml"] {
        let text = std::fs::read_to_string(format!("{CHART}/templates/{file}"))?;
        for line in text.lines().map(str::trim) {
            let line = line.strip_prefix("- name: ").unwrap_or(line);
            let name = line.split(':').next().unwrap_or_default();
            let is_variable = name.contains('_')
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'0'..=b'9'));
            if is_variable {
                named.insert(name.to_owned());
            }
        }
    }
    Ok(named)
}

#[test]
fn the_chart_sets_the_variables_that_the_binary_reads() -> Result<()> {
    let known: BTreeSet<String> = variables()?.into_iter().map(|(name, _)| name).collect();
    let named = named_by_templates()?;
    let is_unnamed = |name: &&String| !UNNAMED.contains(&name.as_str());
    let unknown: Vec<_> = named.difference(&known).filter(is_unnamed).collect();
    ensure!(unknown.is_empty(), "the binary does not read {unknown:?}");
    let has_value = |name: &&String| !WITHOUT_VALUE.contains(&name.as_str());
    let missing: Vec<_> = known.difference(&named).filter(has_value).collect();
    ensure!(missing.is_empty(), "the chart does not set {missing:?}");
    Ok(())
}

/// A chart that says nothing changes nothing.
#[test]
fn the_defaults_of_the_chart_are_those_of_the_binary() -> Result<()> {
    let variables = variables()?;
    for (variable, value) in [
        ("MESH_RESYNC_PERIOD", "resyncPeriod: 10m"),
        ("MESH_MAX_DELETES", "maxDeletes: 50%"),
        ("MESH_DRY_RUN", "dryRun: false"),
        ("NETMAKER_TIMEOUT", "timeout: 30s"),
        ("LEADER_ELECTION_ID", "id: kaput-not"),
        ("METRICS_PORT", "port: 8080"),
        ("HEALTH_CHECK_PORT", "port: 8081"),
        ("NICO_LOG_FORMAT", "format: text"),
    ] {
        let (_, default) = variables
            .iter()
            .find(|(name, _)| name == variable)
            .with_context(|| format!("{variable} is not known"))?;
        let in_chart = value.split(": ").nth(1);
        ensure!(default.as_deref() == in_chart, "{variable} is {default:?}");
        ensure!(VALUES.contains(value), "values.yaml lacks {value:?}");
    }
    Ok(())
}

/// D23: two processes wrote, with no election between them.
#[test]
fn d23_the_chart_refuses_two_that_write() -> Result<()> {
    let helpers = std::fs::read_to_string(format!("{CHART}/templates/_helpers.tpl"))?;
    let check = "if and (not .Values.leaderElection.enabled) (gt (int .Values.replicaCount) 1) }}\n{{- fail ";
    ensure!(helpers.contains(check), "the chart does not refuse it");
    let config = std::fs::read_to_string(format!("{CHART}/templates/configmap.yaml"))?;
    let is_checked = config.starts_with("{{- include \"kaput-not.validate\" . }}");
    ensure!(is_checked, "nothing is checked");
    Ok(())
}

/// D24: the chart named an image that nobody publishes.
#[test]
fn d24_the_chart_is_of_the_version_that_is_built() -> Result<()> {
    let version = Command::new(nico_binary()?).arg("--version").output()?;
    let version = String::from_utf8(version.stdout)?;
    let version = version.trim().strip_prefix("nico ").context("no version")?;
    let chart = std::fs::read_to_string(format!("{CHART}/Chart.yaml"))?;
    let named = chart
        .lines()
        .find_map(|line| line.strip_prefix("appVersion: "));
    ensure!(
        named == Some(version),
        "appVersion is {named:?}, not {version:?}"
    );
    Ok(())
}

/// `rbac.yaml` as it is with the usual values, in the namespace of the test.
fn rbac() -> Result<String> {
    let filled = RBAC
        .replace("{{ include \"kaput-not.fullname\" . }}", ACCOUNT)
        .replace("{{ include \"kaput-not.serviceAccountName\" . }}", ACCOUNT)
        .replace("{{ .Release.Namespace }}", NAMESPACE)
        .replace("{{ .Values.leaderElection.id | quote }}", "kaput-not")
        .replace(
            "    {{- include \"kaput-not.labels\" . | nindent 4 }}\n",
            "    app.kubernetes.io/name: kaput-not\n",
        )
        .replace("{{- if .Values.leaderElection.enabled }}\n", "")
        .replace("{{- end }}\n", "");
    ensure!(
        !filled.contains("{{"),
        "the test does not know all of rbac.yaml"
    );
    Ok(filled)
}

/// The mesh as the ServiceAccount of the chart. Ends when it is dropped.
struct Running(Child);

impl Running {
    fn start(kubeconfig: &Path, netmaker: &NetmakerServer) -> Result<Self> {
        let child = Command::new(nico_binary()?)
            .args(["mesh", "run"])
            .env("KUBECONFIG", kubeconfig)
            .env("NETMAKER_API_URL", netmaker.url())
            .env("NETMAKER_USERNAME", ACCOUNT)
            .env("NETMAKER_PASSWORD", PASSWORD)
            .env("LEADER_ELECTION_ENABLED", "true")
            .env("LEADER_ELECTION_NAMESPACE", NAMESPACE)
            .env("MESH_RESYNC_PERIOD", "1s")
            .env("METRICS_PORT", "0")
            .env("HEALTH_CHECK_PORT", "0")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A kubeconfig with a token of the ServiceAccount.
async fn kubeconfig(server: &ApiServer, client: &kube::Client) -> Result<PathBuf> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec::default()),
        ..TokenRequest::default()
    };
    let parameters = PostParams::default();
    let token = accounts
        .create_token_request(ACCOUNT, &parameters, &request)
        .await?;
    let token = token.status.context("no token")?.token;
    let mut document = serde_json::to_value(Kubeconfig::read_from(server.kubeconfig())?)?;
    for user in document["users"].as_array_mut().into_iter().flatten() {
        user["user"] = json!({"token": token});
    }
    let path = server.directory().join("mesh.kubeconfig");
    // JSON is YAML too.
    std::fs::write(&path, document.to_string())?;
    Ok(path)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mesh_does_its_work_with_the_rights_of_the_chart_and_needs_all_of_them() -> Result<()> {
    let logs = tempfile::tempdir()?;
    let log = logs.path().join("audit.log");
    let log_path = log.to_str().context("a path in UTF-8")?;
    let options = ["--authorization-mode", "RBAC", "--audit-log-path", log_path];
    let server = ApiServer::start_with(&options).await?;
    let client = server.administrator().await?;
    let kubectl = Kubectl::new(server.kubeconfig(), server.directory());
    kubectl.run(&["create", "namespace", NAMESPACE]).await?;
    let account = [
        "create",
        "serviceaccount",
        ACCOUNT,
        "--namespace",
        NAMESPACE,
    ];
    kubectl.run(&account).await?;
    kubectl
        .run_with_input(&["apply", "-f", "-"], &rbac()?)
        .await?;

    let netmaker = NetmakerServer::start(([127, 0, 0, 1], 0).into()).await?;
    netmaker.add_account(ACCOUNT, PASSWORD);
    netmaker.add_network("net", "10.100.0.0/16");
    netmaker.add_host("w-1", &["net"]);
    let nodes: Api<Node> = Api::all(client.clone());
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": "w-1"},
        "spec": {"podCIDR": "10.42.1.0/24", "podCIDRs": ["10.42.1.0/24"]},
    }))?;
    nodes.create(&PostParams::default(), &node).await?;
    let running = Running::start(&kubeconfig(&server, &client).await?, &netmaker)?;
    eventually("the rule", async || {
        Ok((netmaker.rules("net").len() == 1).then_some(()))
    })
    .await?;
    let events = [
        "get",
        "events",
        "--namespace",
        "default",
        "--output",
        "name",
    ];
    eventually("an Event and a Lease that was renewed", async || {
        let (used, _) = asked_for(&log, &user(), "kaput-not-lease")?;
        let has_event = !kubectl.run(&events).await?.trim().is_empty();
        Ok((has_event && used.iter().any(|right| right.starts_with("update "))).then_some(()))
    })
    .await?;
    drop(running);

    for (kind, name, namespace, binding) in [
        (
            "clusterrole",
            "kaput-not",
            "",
            "ClusterRoleBinding \"kaput-not\"",
        ),
        ("role", "kaput-not-events", "default", "\"kaput-not-events/"),
        ("role", "kaput-not-lease", NAMESPACE, "\"kaput-not-lease/"),
    ] {
        let mut get = vec!["get", kind, name, "--output", "json"];
        if !namespace.is_empty() {
            get.extend(["--namespace", namespace]);
        }
        let role: Value = serde_json::from_str(&kubectl.run(&get).await?)?;
        let (used, refused) = asked_for(&log, &user(), binding)?;
        ensure!(refused.is_empty(), "the mesh was refused: {refused:#?}");
        let given = rights_of(&role);
        let is_unseen = |right: &&String| !UNSEEN.iter().any(|(unseen, _)| unseen == right);
        let unused: Vec<_> = given.difference(&used).filter(is_unseen).collect();
        ensure!(
            unused.is_empty(),
            "{name} allows what is never asked for: {unused:?}"
        );
    }
    Ok(())
}

fn user() -> String {
    format!("system:serviceaccount:{NAMESPACE}:{ACCOUNT}")
}

/// What a value set needs besides its own to be a whole one.
const NEEDED: [&str; 2] = [
    "--set=netmaker.apiUrl=https://api.netmaker.example.org",
    "--set=netmaker.password=a-good-password",
];

/// `helm` on the path; says so and gives none where there is none. Debian has no package of it, so
/// that nothing here requires it: what needs no `helm` is tested above.
fn helm() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join("helm"))
        .find(|program| program.is_file());
    if found.is_none() {
        nico_sandbox::tools::skip_unpackaged("there is no helm on the PATH");
    }
    found
}

fn run_helm(helm: &Path, command: &[&str], values: &[&str]) -> Result<Output> {
    let run = Command::new(helm)
        .args(command)
        .arg(CHART)
        .args(["--namespace", NAMESPACE])
        .args(values)
        .output();
    run.with_context(|| format!("cannot start {}", helm.display()))
}

/// What is rendered, or why it is not.
fn rendered(helm: &Path, values: &[&str]) -> Result<Result<String, String>> {
    let output = run_helm(
        helm,
        &["template", "kaput-not", "--kube-version=1.32.0"],
        values,
    )?;
    Ok(if output.status.success() {
        Ok(String::from_utf8(output.stdout)?)
    } else {
        Err(String::from_utf8(output.stderr)?)
    })
}

#[test]
fn helm_refuses_what_cannot_work() -> Result<()> {
    let Some(helm) = helm() else {
        return Ok(());
    };
    for (values, why) in [
        (&["--set=netmaker.password=x"][..], "netmaker.apiUrl"),
        (&NEEDED[..1], "netmaker.password"),
        // D23: two processes that write, and no election between them.
        (&["--set=leaderElection.enabled=false"], "replicaCount=1"),
        (&["--set=clusterName=a b"], "clusterName"),
        (&["--set=replicas=3"], "replicas"),
        (&["--set=mesh.maxDeletes=all"], "maxDeletes"),
    ] {
        let mut all = values.to_vec();
        if why != "netmaker.apiUrl" && why != "netmaker.password" {
            all.extend(NEEDED);
        }
        let refusal = rendered(&helm, &all)?
            .err()
            .with_context(|| format!("{values:?} is rendered"))?;
        ensure!(refusal.contains(why), "{values:?}: {refusal}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_helm_renders_is_taken_by_an_api_server() -> Result<()> {
    let Some(helm) = helm() else {
        return Ok(());
    };
    let lint = run_helm(&helm, &["lint", "--strict"], &NEEDED)?;
    ensure!(
        lint.status.success(),
        "{}",
        String::from_utf8_lossy(&lint.stdout)
    );
    let server = ApiServer::start().await?;
    let kubectl = Kubectl::new(server.kubeconfig(), server.directory());
    kubectl.run(&["create", "namespace", NAMESPACE]).await?;
    let more: [&[&str]; 5] = [
        &[],
        &["--set=leaderElection.enabled=false", "--set=replicaCount=1"],
        &[
            "--set=netmaker.existingSecret=mine",
            "--set=netmaker.ca.existingConfigMap=ca",
            "--set=clusterName=prod",
            "--set=mesh.networks={a,b}",
            "--set=mesh.cidrs={10.42.0.0/16}",
            "--set=mesh.nodeSelector=mesh=yes",
        ],
        &[
            "--set=netmaker.token=secret",
            "--set=netmaker.ca.pem=PEM",
            "--set=networkPolicy.enabled=true",
            "--set=extraArgs={--cluster-name=x}",
            "--set=podLabels.a=b",
            "--set=log.level=debug",
        ],
        &[
            "--set=serviceAccount.create=false",
            "--set=podDisruptionBudget.enabled=false",
        ],
    ];
    for values in more {
        let mut all = NEEDED.to_vec();
        all.extend(values);
        let rendered = rendered(&helm, &all)?.map_err(anyhow::Error::msg)?;
        ensure!(!rendered.contains("<no value>"), "{values:?}: {rendered}");
        kubectl
            .run_with_input(&["apply", "-f", "-"], &rendered)
            .await
            .with_context(|| format!("with {values:?}"))?;
    }
    Ok(())
}
