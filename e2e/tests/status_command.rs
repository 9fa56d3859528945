//! `nico status` and `nico plan` as programs: what they print, their exit codes, and what is left
//! of them without rights. They need the API server alone, and no hosts.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::config::Kubeconfig;
use nico_api::{KubernetesCluster, Machine, NixosConfiguration};
use nico_e2e::{ApiServer, eventually, nico_binary};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const NAMESPACE: &str = "default";

/// A management cluster with RBAC, and a cluster `home` that nobody works on.
async fn start() -> Result<(ApiServer, kube::Client)> {
    let server = ApiServer::start_with(&["--authorization-mode", "RBAC"]).await?;
    let client = server.administrator().await?;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for (_, definition) in nico_api::crds::all() {
        definitions
            .create(&PostParams::default(), &definition)
            .await?;
    }
    eventually("the kinds are served", async || {
        let all = ListParams::default();
        let api = || client.clone();
        Api::<Machine>::namespaced(api(), NAMESPACE)
            .list(&all)
            .await?;
        Api::<NixosConfiguration>::namespaced(api(), NAMESPACE)
            .list(&all)
            .await?;
        Api::<KubernetesCluster>::namespaced(api(), NAMESPACE)
            .list(&all)
            .await?;
        Ok(Some(()))
    })
    .await?;
    let home = object(json!({
        "apiVersion": "nico.homystack.com/v1alpha1", "kind": "KubernetesCluster",
        "metadata": {"name": "home"},
        "spec": {
            "gitRepo": "https://git.invalid/clusters.git", "ref": "1".repeat(40),
            "controlPlane": {"machines": ["cp-01"]},
        },
    }))?;
    let clusters: Api<KubernetesCluster> = Api::namespaced(client.clone(), NAMESPACE);
    clusters.create(&PostParams::default(), &home).await?;
    Ok((server, client))
}

fn object<K: DeserializeOwned>(value: Value) -> Result<K> {
    Ok(serde_json::from_value(value)?)
}

fn nico(kubeconfig: &Path, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(nico_binary()?);
    command
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .env_remove("NICO_DEFAULT_GIT_REPO")
        .env_remove("COLUMNS");
    Ok(command)
}

/// Runs `nico` and checks its exit code; gives what it printed, and what it said beside that.
fn run(kubeconfig: &Path, arguments: &[&str], code: i32) -> Result<(String, String)> {
    let output = nico(kubeconfig, arguments)?.output()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (printed, said) = (text(output.stdout), text(output.stderr));
    ensure!(
        output.status.code() == Some(code),
        "`nico {}` ended with {} and not with {code}:\n{printed}\n{said}",
        arguments.join(" "),
        output.status
    );
    ensure!(
        !printed.contains('\u{1b}'),
        "a colour in a pipe: {printed:?}"
    );
    Ok((printed, said))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_and_the_json_are_for_scripts() -> Result<()> {
    let (server, _) = start().await?;
    let kubeconfig = server.kubeconfig();
    let (printed, _) = run(kubeconfig, &["status"], 3)?;
    ensure!(printed.contains("default/home"), "{printed}");
    ensure!(printed.contains("Missing"), "{printed}");
    let (printed, _) = run(kubeconfig, &["status", "home", "--output", "json"], 3)?;
    let report: Value = serde_json::from_str(&printed)?;
    let machine = &report["clusters"][0]["controlPlane"]["machines"][0];
    ensure!(
        machine["name"] == "cp-01" && machine["state"] == "Missing",
        "{report:#}"
    );
    let (_, said) = run(kubeconfig, &["status", "other"], 1)?;
    ensure!(
        said.contains("no KubernetesCluster default/other"),
        "{said}"
    );
    run(kubeconfig, &["status", "--namespace", "kube-system"], 0)?;
    run(kubeconfig, &["status", "home", "--all-namespaces"], 2)?;

    let (printed, _) = run(kubeconfig, &["plan", "home"], 3)?;
    ensure!(
        printed.contains("put the finalizer on the cluster"),
        "{printed}"
    );
    let (printed, _) = run(kubeconfig, &["plan", "home", "-o", "json"], 3)?;
    let plan: Value = serde_json::from_str(&printed)?;
    ensure!(plan["target"]["shortCommit"] == "1111111", "{plan:#}");
    let (_, said) = run(kubeconfig, &["plan", "other"], 1)?;
    ensure!(
        said.contains("no KubernetesCluster default/other"),
        "{said}"
    );
    for command in ["status", "plan"] {
        let (_, said) = run(kubeconfig, &[command, "default/home"], 2)?;
        ensure!(said.contains("--namespace default home"), "{said}");
    }
    let nobody = server.directory().join("nobody");
    std::fs::write(&nobody, "{}")?;
    run(&nobody, &["status"], 1)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_not_there_or_without_nico_is_said_to_be_so() -> Result<()> {
    let empty = ApiServer::start().await?;
    for arguments in [&["status"][..], &["plan", "home"]] {
        let (_, said) = run(empty.kubeconfig(), arguments, 1)?;
        ensure!(said.contains("nico crds | kubectl apply -f -"), "{said}");
        ensure!(!said.contains("Status {"), "{said}");
    }
    let text = std::fs::read_to_string(empty.kubeconfig())?;
    let mut document = serde_json::to_value(Kubeconfig::from_yaml(&text)?)?;
    // Nobody listens on this port.
    document["clusters"][0]["cluster"]["server"] = json!("https://127.0.0.1:1");
    let gone = empty.directory().join("gone.kubeconfig");
    std::fs::write(&gone, document.to_string())?;
    for arguments in [&["status"][..], &["plan", "home"]] {
        let (_, said) = run(&gone, arguments, 1)?;
        ensure!(said.contains("https://127.0.0.1:1"), "{said}");
        ensure!(said.contains("refused"), "{said}");
    }
    Ok(())
}

/// A kubeconfig with the token of a ServiceAccount that may do this and no more.
async fn guest(server: &ApiServer, client: &kube::Client, rules: Value) -> Result<PathBuf> {
    let parameters = PostParams::default();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    let account = object(json!({"metadata": {"name": "guest"}}))?;
    accounts.create(&parameters, &account).await?;
    let roles: Api<Role> = Api::namespaced(client.clone(), NAMESPACE);
    let role = object(json!({"metadata": {"name": "guest"}, "rules": rules}))?;
    roles.create(&parameters, &role).await?;
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), NAMESPACE);
    let binding = object(json!({
        "metadata": {"name": "guest"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "guest"},
        "subjects": [{"kind": "ServiceAccount", "name": "guest", "namespace": NAMESPACE}],
    }))?;
    bindings.create(&parameters, &binding).await?;
    let request = TokenRequest {
        spec: Some(TokenRequestSpec::default()),
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request("guest", &parameters, &request)
        .await?;
    let token = answer.status.context("a token")?.token;
    let text = std::fs::read_to_string(server.kubeconfig())?;
    let mut document = serde_json::to_value(Kubeconfig::from_yaml(&text)?)?;
    for user in document["users"].as_array_mut().into_iter().flatten() {
        user["user"] = json!({"token": token});
    }
    let path = server.directory().join("guest.kubeconfig");
    // JSON is YAML too.
    std::fs::write(&path, document.to_string())?;
    Ok(path)
}

#[tokio::test(flavor = "multi_thread")]
async fn with_few_rights_it_shows_what_it_may_and_names_the_rest() -> Result<()> {
    let (server, client) = start().await?;
    let rules = json!([{
        "apiGroups": ["nico.homystack.com"], "resources": ["kubernetesclusters"],
        "resourceNames": ["home"], "verbs": ["get"],
    }]);
    let guest = guest(&server, &client, rules).await?;
    let (printed, _) = eventually("the rights hold", async || {
        Ok(run(&guest, &["status", "home"], 3).ok())
    })
    .await?;
    let (shown, unread) = printed
        .split_once("Could not be read:")
        .context(printed.clone())?;
    ensure!(
        shown.contains("default/home") && shown.contains("cp-01"),
        "{shown}"
    );
    for kind in ["Machines: ", "NixosConfigurations: "] {
        ensure!(unread.contains(kind), "{unread}");
    }
    let (_, said) = run(&guest, &["status"], 1)?;
    ensure!(said.contains("forbidden"), "{said}");
    let (_, said) = run(&guest, &["plan", "home"], 1)?;
    // Three kinds are listed at once: the first refusal is told.
    ensure!(
        said.contains("cannot read the ") && said.contains("forbidden"),
        "{said}"
    );
    Ok(())
}

/// A program that is killed when it is dropped, whatever became of the test.
struct Watch(Child);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_can_be_drawn_a_watch_writes_a_line_for_each_change() -> Result<()> {
    let (server, client) = start().await?;
    let mut command = nico(server.kubeconfig(), &["status", "--watch"])?;
    let mut watch = Watch(command.stdout(Stdio::piped()).spawn()?);
    let output = watch.0.stdout.take().context("its output")?;
    let told = Arc::new(Mutex::new(Vec::new()));
    let lines = told.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
        }
    });
    let is_told = async |what: &str| {
        let lines = told.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(lines
            .iter()
            .any(|line: &String| line.contains(what))
            .then_some(()))
    };
    eventually("the cluster is told", async || {
        is_told("default/home: Pending").await
    })
    .await?;
    let machine = "default/home cp-01: Missing; there is no Machine of that name";
    eventually("its machine is told", async || is_told(machine).await).await?;
    let clusters: Api<KubernetesCluster> = Api::namespaced(client, NAMESPACE);
    clusters.delete("home", &DeleteParams::default()).await?;
    eventually("its end is told", async || {
        is_told("default/home: gone").await
    })
    .await?;
    let lines = told.lock().unwrap_or_else(PoisonError::into_inner);
    ensure!(
        lines.iter().all(|line| !line.contains('\u{1b}')),
        "{lines:?}"
    );
    Ok(())
}
