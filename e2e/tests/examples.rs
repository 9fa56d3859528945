//! The manifests under `examples/`, with real `kubectl` against `nico apiserver` alone: what is
//! there is accepted, what cannot work is refused at once.

use std::process::{Child, Command, Stdio};

use anyhow::{Result, ensure};
use nico_e2e::{eventually, nico_binary, skipped};
use nico_sandbox::kubectl::Kubectl;
use tempfile::TempDir;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

/// `nico apiserver` with the CRDs that `nico crds` prints. Ends when it is dropped.
struct Api {
    process: Child,
    kubectl: Kubectl,
    _directory: TempDir,
}

impl Api {
    async fn start() -> Result<Self> {
        let nico = nico_binary()?;
        let directory = TempDir::new()?;
        let kubeconfig = directory.path().join("kubeconfig");
        let process = Command::new(&nico)
            .args(["apiserver", "--listen", "127.0.0.1:0", "--kubeconfig-out"])
            .arg(&kubeconfig)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let api = Self {
            process,
            kubectl: Kubectl::new(&kubeconfig, directory.path()),
            _directory: directory,
        };
        eventually("the kubeconfig", async || {
            Ok(kubeconfig.exists().then_some(()))
        })
        .await?;
        // The file appears, whole, once the server serves: nothing more is waited for.
        let crds = Command::new(&nico).arg("crds").output()?;
        api.apply(&String::from_utf8(crds.stdout)?).await?;
        let established = ["wait", "--for=condition=Established", "crd", "--all"];
        api.kubectl.run(&established).await?;
        Ok(api)
    }

    async fn apply(&self, manifest: &str) -> Result<String> {
        Ok(self
            .kubectl
            .run_with_input(&["apply", "-f", "-"], manifest)
            .await?)
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_is_accepted_also_in_the_form_of_the_reference() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let api = Api::start().await?;
    for folder in [EXAMPLES.to_owned(), format!("{EXAMPLES}/reference")] {
        let applied = api.kubectl.run(&["apply", "-f", &folder]).await?;
        ensure!(
            applied.lines().all(|line| line.ends_with(" created")),
            "{applied}"
        );
        ensure!(applied.lines().count() >= 3, "{applied}");
    }
    let machine = ["get", "mach", "cp-01", "-o=jsonpath={.spec.sshPort}"];
    ensure!(
        api.kubectl.run(&machine).await? == "22",
        "the default of sshPort"
    );
    Ok(())
}

/// A spec that cannot work, and the words that must be in the refusal.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    ("nio", "Machine", "{}", "set hostname or ipAddress"),
    (
        "nio",
        "Machine",
        "{hostname: a, sshPort: 70000}",
        "spec.sshPort",
    ),
    (
        "nio",
        "Machine",
        "{hostname: a, sshUser: 'x; reboot'}",
        "spec.sshUser",
    ),
    (
        "nio",
        "NixosConfiguration",
        "{flake: '#a', gitRepo: 'https://g/r'}",
        "spec.machineRef",
    ),
    (
        "nio",
        "NixosConfiguration",
        "{flake: '#a', machineRef: {name: a}}",
        "gitRepo is needed",
    ),
    (
        "nio",
        "NixosConfiguration",
        "{flake: '#a', gitRepo: 'ext::sh -c id', machineRef: {name: a}}",
        "spec.gitRepo",
    ),
    (
        "nio",
        "NixosConfiguration",
        "{flake: 'a b', gitRepo: 'https://g/r', machineRef: {name: a}}",
        "spec.flake",
    ),
    (
        "nio",
        "NixosConfiguration",
        "{flake: '#a', gitRepo: 'https://g/r', machineRef: {name: a}, configurationSubdir: ../a}",
        "configurationSubdir must be relative",
    ),
    (
        "nio",
        "NixosConfiguration",
        "{flake: '#a', gitRepo: 'https://g/r', machineRef: {name: a}, \
         additionalFiles: [{path: /etc/passwd, valueType: Inline, inline: a}]}",
        "path must be relative",
    ),
    (
        "nio",
        "NixosConfiguration",
        "{flake: '#a', gitRepo: 'https://g/r', machineRef: {name: a}, \
         additionalFiles: [{path: a, valueType: SecretRef}]}",
        "valueType SecretRef needs secretRef",
    ),
    (
        "nico",
        "KubernetesCluster",
        "{controlPlane: {}}",
        "controlPlane needs machines",
    ),
    (
        "nico",
        "KubernetesCluster",
        "{controlPlane: {count: 3}}",
        "needs machineSelector",
    ),
    (
        "nico",
        "KubernetesCluster",
        "{controlPlane: {machines: [a, a]}}",
        "Duplicate value",
    ),
    (
        "nico",
        "KubernetesCluster",
        "{controlPlane: {machines: [A_b]}}",
        "machines[0]",
    ),
    (
        "nico",
        "KubernetesCluster",
        "{controlPlane: {machines: [a]}, dataPlane: {machines: [b, a]}}",
        "cannot be in controlPlane and in dataPlane",
    ),
    (
        "nico",
        "KubernetesCluster",
        "{controlPlane: {machines: [a]}, gitRepo: 'ftp://g/r'}",
        "spec.gitRepo",
    ),
    (
        "nico",
        "KubernetesCluster",
        "{controlPlane: {machines: [a]}, installMode: Perhaps}",
        "spec.installMode",
    ),
    (
        "nico",
        "KubernetesCluster",
        "{controlPlane: {machines: [a]}, rollout: {nodeReadyTimeout: soon}}",
        "nodeReadyTimeout",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_cannot_work_is_refused_at_once_with_the_field() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let api = Api::start().await?;
    for (group, kind, spec, words) in REFUSED {
        let manifest = format!(
            "apiVersion: {group}.homystack.com/v1alpha1\n\
             kind: {kind}\nmetadata: {{name: refused}}\nspec: {spec}\n"
        );
        match api.apply(&manifest).await {
            Ok(applied) => anyhow::bail!("{kind} {spec}: {applied}"),
            Err(error) => {
                let message = error.to_string();
                ensure!(message.contains(words), "{kind} {spec}: {message}");
            }
        }
    }
    Ok(())
}
