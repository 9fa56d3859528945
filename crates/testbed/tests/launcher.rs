//! Starting binaries: a real etcd, and a `kube-apiserver` that is `nico apiserver` in disguise.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::{ListParams, PostParams};
use nico_sandbox::tools;
use nico_testbed::{ControlPlane, TestbedError};
use serde_json::json;
use tempfile::TempDir;

/// Takes the options of kube-apiserver that the launcher uses, and ends at any other.
const DISGUISE: &str = r#"#!/bin/sh
set -eu
for option; do
    value=${option#*=}
    case $option in
        --bind-address=*) address=$value ;;
        --secure-port=*) port=$value ;;
        --etcd-servers=*) etcd=$value ;;
        --cert-dir=*) certificates=$value ;;
        --token-auth-file=*) tokens=$value ;;
        --authorization-mode=*) mode=$value ;;
        --service-account-signing-key-file=*) key=$value ;;
        --service-account-key-file=* | --service-account-issuer=*) ;;
        --service-cluster-ip-range=* | --disable-admission-plugins=*) ;;
        *) echo "unknown option $option" >&2; exit 2 ;;
    esac
done
kubeconfig=$certificates/kubeconfig
# kube-apiserver leaves its certificate in this directory.
(
    tries=0
    while [ ! -s "$kubeconfig" ] && [ $tries -lt 600 ]; do tries=$((tries + 1)); sleep 0.1; done
    sed -n 's/.*certificate-authority-data: //p' "$kubeconfig" | base64 -d > "$certificates/part"
    mv "$certificates/part" "$certificates/apiserver.crt"
) &
exec "$NICO" apiserver --listen "$address:$port" --kubeconfig-out "$kubeconfig" \
    --token-auth-file "$tokens" --authorization-mode "$mode" \
    --service-account-signing-key-file "$key" --etcd "$etcd"
"#;

fn program(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
    Ok(())
}

/// A program of this machine.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// The binary under test.
fn nico() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("NICO_BIN") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    let nico = test
        .ancestors()
        .nth(2)
        .context("a target directory")?
        .join("nico");
    ensure!(
        nico.is_file(),
        "{} is not there: `cargo build --bin nico`, or set NICO_BIN",
        nico.display()
    );
    Ok(nico)
}

/// A folder as `KUBEBUILDER_ASSETS` names it; none, said loudly, where there is no etcd.
fn folder() -> Result<Option<TempDir>> {
    let Some(etcd) = find("etcd") else {
        tools::skip("not installed: etcd; on Debian: apt-get install etcd-server");
        return Ok(None);
    };
    let folder = TempDir::new()?;
    symlink(etcd, folder.path().join("etcd"))?;
    let nico = nico()?;
    let nico = nico.to_str().context("a path in UTF-8")?;
    program(
        folder.path(),
        "kube-apiserver",
        &DISGUISE.replace("$NICO", nico),
    )?;
    Ok(Some(folder))
}

#[tokio::test(flavor = "multi_thread")]
async fn binaries_of_a_folder_become_a_control_plane_and_end_with_it() -> Result<()> {
    let Some(folder) = folder()? else {
        return Ok(());
    };
    let control_plane = ControlPlane::start_from(folder.path(), [127, 0, 0, 1]).await?;
    ensure!(!control_plane.has_controllers());
    let client = control_plane.client().await?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let names = namespaces.list(&ListParams::default()).await?;
    ensure!(
        names
            .iter()
            .any(|namespace| namespace.metadata.name.as_deref() == Some("default"))
    );
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    let map = serde_json::from_value(json!({"metadata": {"name": "a"}, "data": {"b": "c"}}))?;
    maps.create(&PostParams::default(), &map).await?;
    drop(control_plane);
    match maps.get("a").await {
        Err(kube::Error::Api(status)) => anyhow::bail!("something still answers: {status}"),
        Err(_) => Ok(()),
        Ok(_) => anyhow::bail!("the control plane still runs"),
    }
}

#[tokio::test]
async fn what_a_process_said_before_it_ended_is_in_the_error() -> Result<()> {
    let Some(folder) = folder()? else {
        return Ok(());
    };
    program(
        folder.path(),
        "kube-apiserver",
        "#!/bin/sh\necho no such luck >&2\nexit 1\n",
    )?;
    let error = ControlPlane::start_from(folder.path(), [127, 0, 0, 1]).await;
    let error = error.expect_err("it ends at once").to_string();
    ensure!(
        error.contains("kube-apiserver ended") && error.contains("no such luck"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn a_folder_that_lacks_a_program_is_named() -> Result<()> {
    let folder = TempDir::new()?;
    let error = ControlPlane::start_from(folder.path(), [127, 0, 0, 1]).await;
    let Err(TestbedError::Missing { program, .. }) = error else {
        anyhow::bail!("{error:?}");
    };
    ensure!(program == "etcd");
    Ok(())
}
