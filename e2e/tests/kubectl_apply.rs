//! Everything that `kubectl` does with configurations: applying on either side, comparing,
//! editing, replacing, patching, pruning, kustomizing.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Result, ensure};
use nico_e2e::with_each_kubectl;

/// A ConfigMap with one value.
fn config_map(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  labels: {{set: all}}\n\
         data:\n  k: \"{value}\"\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn server_side_apply_asks_before_it_takes_fields_of_others() -> Result<()> {
    with_each_kubectl(&[], async |_, client| {
        let apply = ["apply", "--server-side"];
        let said = client.send(&apply, &config_map("c", "1")).await?;
        ensure!(said.trim() == "configmap/c serverside-applied", "{said}");
        let other = ["apply", "--server-side", "--field-manager=other", "-f", "-"];
        let refused = client.refuses(&other, &config_map("c", "2")).await?;
        ensure!(
            refused.contains(r#"conflict with "kubectl": .data.k"#),
            "{refused}"
        );
        let force = [&other[..3], &["--force-conflicts"]].concat();
        client.send(&force, &config_map("c", "2")).await?;
        ensure!(client.field("cm/c", "{.data.k}").await? == "2");
        let managers = "{.metadata.managedFields[*].manager}";
        let mut get = vec!["get", "cm", "c", "-o"];
        let path = format!("jsonpath={managers}");
        get.push(&path);
        if client.minor >= 21 {
            get.push("--show-managed-fields");
        }
        client.says(&get, &["kubectl", "other"]).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_and_diff_see_what_changes_and_nothing_else() -> Result<()> {
    with_each_kubectl(&[], async |_, client| {
        for (value, said) in [("1", "created"), ("1", "unchanged"), ("2", "configured")] {
            let applied = client.send(&["apply"], &config_map("c", value)).await?;
            ensure!(applied.trim() == format!("configmap/c {said}"), "{applied}");
        }
        let same = client.send(&["diff"], &config_map("c", "2")).await?;
        ensure!(same.is_empty(), "{same}");
        for side in ["--server-side=false", "--server-side"] {
            let arguments = ["diff", side, "--force-conflicts", "-f", "-"];
            let arguments = if side.ends_with("false") {
                vec!["diff", "-f", "-"]
            } else {
                arguments.to_vec()
            };
            let output = client
                .kubectl
                .output(&arguments, &config_map("c", "3"))
                .await?;
            let said = String::from_utf8_lossy(&output.stdout);
            ensure!(output.status.code() == Some(1), "{said}");
            ensure!(said.contains("-  k: \"2\"\n+  k: \"3\""), "{said}");
        }
        ensure!(
            client.field("cm/c", "{.data.k}").await? == "2",
            "a diff changes nothing"
        );
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_editor_changes_an_object() -> Result<()> {
    with_each_kubectl(&[], async |_, client| {
        client.send(&["create"], &config_map("c", "1")).await?;
        let editor = client.kubectl.directory().join("editor");
        fs::write(&editor, "#!/bin/sh\nsed -i 's/k: \"1\"/k: \"9\"/' \"$1\"\n")?;
        fs::set_permissions(&editor, fs::Permissions::from_mode(0o755))?;
        // `kubectl` reads the editor from the environment, which is not ours to change.
        let kubectl = client
            .kubectl
            .clone()
            .with_environment("KUBE_EDITOR", &editor);
        let said = kubectl.run(&["edit", "cm", "c"]).await?;
        ensure!(said.trim() == "configmap/c edited", "{said}");
        ensure!(client.field("cm/c", "{.data.k}").await? == "9");
        let output = kubectl.output(&["edit", "cm", "c"], "").await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(said.contains("no changes made"), "{said}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_replaced_and_patched_in_all_forms() -> Result<()> {
    with_each_kubectl(&[], async |_, client| {
        client
            .send(&["create", "--save-config"], &config_map("c", "1"))
            .await?;
        let said = client.send(&["replace"], &config_map("c", "2")).await?;
        ensure!(said.trim() == "configmap/c replaced", "{said}");
        let refused = client
            .refuses(&["replace", "-f", "-"], &config_map("none", "2"))
            .await?;
        ensure!(refused.contains("not found"), "{refused}");
        client
            .send(&["replace", "--force"], &config_map("c", "3"))
            .await?;
        for (form, patch, value) in [
            ("merge", r#"{"data":{"k":"4"}}"#, "4"),
            ("strategic", r#"{"data":{"k":"5"}}"#, "5"),
            (
                "json",
                r#"[{"op":"replace","path":"/data/k","value":"6"}]"#,
                "6",
            ),
        ] {
            let patch = ["patch", "cm", "c", "--type", form, "-p", patch];
            client.says(&patch, &["configmap/c patched"]).await?;
            ensure!(client.field("cm/c", "{.data.k}").await? == value, "{form}");
            client.says(&patch, &["patched (no change)"]).await?;
        }
        let wrong = [
            "patch",
            "cm",
            "c",
            "--type=json",
            "-p",
            r#"[{"op":"test","path":"/data/k","value":"x"}]"#,
        ];
        client.refuses(&wrong, "").await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_removes_what_is_no_longer_there_and_kustomize_is_applied() -> Result<()> {
    with_each_kubectl(&[], async |_, client| {
        let two = format!("{}---\n{}", config_map("a", "1"), config_map("b", "1"));
        let prune = ["apply", "--prune", "-l", "set=all"];
        if client.has(
            22,
            "apply --prune, whose list of kinds was of older versions",
        ) {
            client.send(&prune, &two).await?;
            let said = client.send(&prune, &config_map("a", "1")).await?;
            ensure!(said.contains("configmap/b pruned"), "{said}");
        }
        let folder = client.kubectl.directory().join("kustomized");
        fs::create_dir(&folder)?;
        fs::write(folder.join("a.yaml"), config_map("k", "1"))?;
        fs::write(
            folder.join("kustomization.yaml"),
            "namePrefix: my-\nresources: [a.yaml]\n",
        )?;
        client
            .says(&["kustomize", "kustomized"], &["name: my-k"])
            .await?;
        client
            .says(&["apply", "-k", "kustomized"], &["configmap/my-k created"])
            .await?;
        Ok(())
    })
    .await
}
