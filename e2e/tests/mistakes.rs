//! What a person gets wrong: `kubectl describe` says what to do, and after the correction it
//! goes on by itself.

use anyhow::{Result, ensure};
use nico_api::kubernetes_cluster::conditions as cluster_conditions;
use nico_api::machine::conditions as machine_conditions;
use nico_api::nixos_configuration::conditions as configuration_conditions;
use nico_e2e::{Lab, condition, reason, skipped};
use serde_json::{Value, json};

/// A push is seen at the next look, so the looks are frequent.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("NIO_CONFIG_RECONCILE_INTERVAL", "3"),
    ("NIO_MACHINE_DISCOVERY_INTERVAL", "5"),
];

const HOST: &[(&str, u8)] = &[("cp-01", 11)];

fn machine(address: &str) -> Value {
    json!({
        "apiVersion": "nio.homystack.com/v1alpha1", "kind": "Machine",
        "metadata": {"name": "cp-01"},
        "spec": {"ipAddress": address, "sshKeySecretRef": {"name": "machine-key"}},
    })
}

fn configuration(repository: &str) -> Value {
    json!({
        "apiVersion": "nio.homystack.com/v1alpha1", "kind": "NixosConfiguration",
        "metadata": {"name": "cp-01"},
        "spec": {
            "gitRepo": repository, "ref": "main", "configurationSubdir": "clusters/home",
            "flake": "#minimal", "onRemoveFlake": "#minimal", "machineRef": {"name": "cp-01"},
        },
    })
}

/// One host, its Machine, and the key for it.
async fn one_machine() -> Result<(Lab, String)> {
    let lab = Lab::start(HOST, ENVIRONMENT).await?;
    lab.create_key().await?;
    let address = lab.stack.sandbox().network().address(11).to_string();
    lab.apply(&machine(&address).to_string()).await?;
    let repository = lab.stack.sandbox().repository().url();
    Ok((lab, repository))
}

async fn describe(lab: &Lab, resource: &str) -> Result<String> {
    lab.kubectl(&["describe", resource]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flake_that_does_not_evaluate_is_shown_with_the_words_of_nix_until_the_next_push()
-> Result<()> {
    if skipped() {
        return Ok(());
    }
    let (mut lab, url) = one_machine().await?;
    lab.run(async |lab| {
        let repository = lab.stack.sandbox().repository().clone();
        repository.write(
            "system.nix",
            "{ platform }: throw \"the disk has no label\"\n",
        )?;
        repository.commit("Break the system")?;
        lab.apply(&configuration(&url).to_string()).await?;

        let configurations = lab.configurations();
        let evaluated = configuration_conditions::EVALUATED;
        reason(&configurations, "cp-01", evaluated, "EvaluationFailed").await?;
        let described = describe(lab, "nixconf/cp-01").await?;
        ensure!(described.contains("the disk has no label"), "{described}");

        repository.restore("system.nix")?;
        repository.commit("Repair the system")?;
        condition(
            &configurations,
            "cp-01",
            configuration_conditions::READY,
            "True",
        )
        .await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_does_not_exist_is_named_until_the_url_is_right() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let (mut lab, url) = one_machine().await?;
    lab.run(async |lab| {
        let wrong = format!("{url}-with-a-typing-error");
        lab.apply(&configuration(&wrong).to_string()).await?;
        let configurations = lab.configurations();
        let source = configuration_conditions::SOURCE_READY;
        reason(&configurations, "cp-01", source, "RepositoryNotFound").await?;
        let described = describe(lab, "nixconf/cp-01").await?;
        ensure!(described.contains("with-a-typing-error"), "{described}");

        lab.apply(&configuration(&url).to_string()).await?;
        condition(
            &configurations,
            "cp-01",
            configuration_conditions::READY,
            "True",
        )
        .await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_without_the_key_is_named_with_the_key_until_it_is_there() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let (mut lab, url) = one_machine().await?;
    lab.run(async |lab| {
        lab.create_secret("note", "wrong-key", "x").await?;
        let mut with_file = configuration(&url);
        with_file["spec"]["additionalFiles"] = json!([{
            "path": "note.txt", "valueType": "SecretRef",
            "secretRef": {"name": "note", "key": "right-key"},
        }]);
        lab.apply(&with_file.to_string()).await?;
        let configurations = lab.configurations();
        reason(
            &configurations,
            "cp-01",
            configuration_conditions::READY,
            "SecretNotFound",
        )
        .await?;
        let described = describe(lab, "nixconf/cp-01").await?;
        ensure!(described.contains("right-key"), "{described}");
        ensure!(described.contains("wrong-key"), "{described}");
        ensure!(described.contains("note"), "{described}");

        lab.create_secret("note", "right-key", "x").await?;
        condition(
            &configurations,
            "cp-01",
            configuration_conditions::READY,
            "True",
        )
        .await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_says_which_of_its_inputs_is_wrong_and_goes_on_once_it_is_right() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let (mut lab, url) = one_machine().await?;
    lab.run(async |lab| {
        let cluster = |repository: &str, machine: &str| {
            json!({
                "apiVersion": "nico.homystack.com/v1alpha1", "kind": "KubernetesCluster",
                "metadata": {"name": "solo"},
                "spec": {
                    "gitRepo": repository, "configurationSubdir": "clusters/home",
                    "controlPlane": {"machines": [machine]},
                },
            })
            .to_string()
        };
        let clusters = lab.clusters();
        lab.apply(&cluster(&url, "cp-02")).await?;
        let selected = cluster_conditions::MACHINES_SELECTED;
        let selected = reason(&clusters, "solo", selected, "MachineNotFound").await?;
        ensure!(selected.message.contains("cp-02"), "{selected:?}");

        lab.apply(&cluster(&format!("{url}-wrong"), "cp-01"))
            .await?;
        let source = cluster_conditions::SOURCE_RESOLVED;
        reason(&clusters, "solo", source, "RepositoryNotFound").await?;
        let described = describe(lab, "kcluster/solo").await?;
        ensure!(described.contains("-wrong"), "{described}");

        lab.apply(&cluster(&url, "cp-01")).await?;
        condition(&clusters, "solo", cluster_conditions::READY, "True").await?;
        lab.kubectl(&["delete", "kcluster", "solo", "--timeout=120s"])
            .await?;
        condition(
            &lab.machines(),
            "cp-01",
            machine_conditions::REACHABLE,
            "True",
        )
        .await?;
        lab.assert_nothing_is_left().await
    })
    .await
}
