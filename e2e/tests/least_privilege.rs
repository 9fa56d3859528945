//! The rights in `deploy/rbac.yaml` are enough for the operator, and none too many.

use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, ensure};
use kube::config::Kubeconfig;
use nico_e2e::{Lab, asked_for, rights_of, skipped};
use nico_sandbox::FIVE_HOSTS;
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

    let user = format!("system:serviceaccount:{NAMESPACE}:{OPERATOR}");
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
        let (used, refused) = asked_for(&log, &user, binding)?;
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
