//! The rights in `deploy/rbac.yaml` are enough for the operator, and none too many.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kube::config::Kubeconfig;
use nico_e2e::{Lab, skipped};
use nico_sandbox::FIVE_HOSTS;
use serde_json::Value;
use tempfile::TempDir;

const RBAC: &str = include_str!("../../deploy/rbac.yaml");
const NAMESPACE: &str = "nico-system";
const OPERATOR: &str = "nico-operator";

/// What the operator may do though it does not in this test, and why it needs it.
const UNSEEN: &[(&str, &str)] = &[
    (
        "create nixosconfigurations.nio.homystack.com",
        "asked for besides `patch` when the patch makes the object; a log has one line for both",
    ),
    (
        "update kubernetesclusters/finalizers.nico.homystack.com",
        "asked for by servers with the admission plugin OwnerReferencesPermissionEnforcement",
    ),
];

/// `verb resource.group`
fn right(verb: &str, resource: &str, group: &str) -> String {
    let dot = if group.is_empty() { "" } else { "." };
    format!("{verb} {resource}{dot}{group}")
}

fn texts(value: &Value) -> Vec<&str> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).collect()
}

/// All that the rules of a role allow.
fn rights_of(role: &Value) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    rights.insert(right(verb, resource, group));
                }
            }
        }
    }
    rights
}

/// What the operator asked for according to the audit log: what it may by a binding, and what was
/// refused.
fn asked_for(log: &Path, binding: &str) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let user = format!("system:serviceaccount:{NAMESPACE}:{OPERATOR}");
    let (mut used, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for line in std::fs::read_to_string(log)?.lines() {
        let event: Value = serde_json::from_str(line)?;
        if event["user"]["username"] != user.as_str() {
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &event["objectRef"];
        let mut resource = text(&object["resource"]);
        if object["subresource"].is_string() {
            resource = format!("{resource}/{}", text(&object["subresource"]));
        }
        let asked = right(&text(&event["verb"]), &resource, &text(&object["apiGroup"]));
        if event["responseStatus"]["code"] == 403 {
            refused.insert(format!("{asked} in {:?}", text(&object["namespace"])));
        } else if text(&event["annotations"]["authorization.k8s.io/reason"]).contains(binding) {
            used.insert(asked);
        }
    }
    Ok((used, refused))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_does_its_work_with_the_rights_that_it_is_given_and_needs_all_of_them()
-> Result<()> {
    if skipped() {
        return Ok(());
    }
    let logs = TempDir::new()?;
    let log = logs.path().join("audit.log");
    let log_path = log.to_str().context("a path in UTF-8")?;
    let options = ["--authorization-mode", "RBAC", "--audit-log-path", log_path];
    let environment = [("NICO_NAMESPACE", NAMESPACE)];
    let mut lab = Lab::prepare(FIVE_HOSTS, &environment, &options).await?;
    lab.apply(RBAC).await?;
    let kubeconfig = operator_kubeconfig(&lab).await?;
    lab.stack.set_operator_kubeconfig(kubeconfig);
    lab.restart_operator()?;
    lab.run(async |lab| {
        lab.create_machines().await?;
        lab.apply(&lab.cluster("home")).await?;
        let ready = [
            "wait",
            "--for=condition=Ready",
            "kcluster/home",
            "--timeout=120s",
        ];
        lab.kubectl(&ready).await?;
        lab.kubectl(&["delete", "kcluster", "home", "--timeout=120s"])
            .await?;
        lab.assert_nothing_is_left().await
    })
    .await?;
    lab.stack.stop_operator();

    let roles = [
        ("clusterrole", "ClusterRoleBinding \"nico-operator\""),
        ("role", "RoleBinding \"nico-operator/nico-system\""),
    ];
    for (kind, binding) in roles {
        let role = [
            "get",
            kind,
            OPERATOR,
            "--namespace",
            NAMESPACE,
            "--output",
            "json",
        ];
        let given = rights_of(&serde_json::from_str(&lab.kubectl(&role).await?)?);
        let (used, refused) = asked_for(&log, binding)?;
        ensure!(refused.is_empty(), "the operator was refused: {refused:#?}");
        let known = |right: &String| UNSEEN.iter().any(|(unseen, _)| unseen == right);
        let unused: Vec<_> = given
            .difference(&used)
            .filter(|right| !known(right))
            .collect();
        ensure!(
            unused.is_empty(),
            "the {kind} allows what is never asked for: {unused:#?}"
        );
    }
    Ok(())
}

/// A kubeconfig with a token of the operator's ServiceAccount.
async fn operator_kubeconfig(lab: &Lab) -> Result<std::path::PathBuf> {
    let create = ["create", "token", OPERATOR, "--namespace", NAMESPACE];
    let token = lab.kubectl(&create).await?;
    let mut kubeconfig = Kubeconfig::read_from(lab.stack.kubeconfig())?;
    for user in &mut kubeconfig.auth_infos {
        if let Some(user) = &mut user.auth_info {
            user.client_certificate_data = None;
            user.client_key_data = None;
            user.token = Some(token.trim().to_owned().into());
        }
    }
    let path = lab.stack.sandbox().directory().join("operator.kubeconfig");
    // JSON is YAML too.
    std::fs::write(&path, secret_json(&kubeconfig, token.trim())?)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(path)
}

/// The kubeconfig with the token in it, which is left out where secrets could be shown.
fn secret_json(kubeconfig: &Kubeconfig, token: &str) -> Result<String> {
    let mut document = serde_json::to_value(kubeconfig)?;
    for user in document["users"].as_array_mut().into_iter().flatten() {
        user["user"]["token"] = token.into();
    }
    Ok(document.to_string())
}
