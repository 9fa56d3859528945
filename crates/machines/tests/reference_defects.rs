//! What the public reference of this layer (homystack/NIO) gets wrong. Each test is named after
//! one of its defects and shows that the defect is not here. The sections have the numbers of
//! the list of defects.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use nico_api::condition;
use nico_api::nixos_configuration::Step;
use nico_api::nixos_configuration::conditions::{READY, SOURCE_READY, STALLED};
use nico_git::test_server::GitServer;
use nico_ssh::test_server::{Behaviour, Reply, TestServer, key, pem};
use prometheus_client::encoding::text::encode;
use serde_json::{Value, json};
use support::lab::Lab;
use support::{Cluster, eventually, git_is_missing, gone, message};

/// Loopback, where nobody listens.
fn unused_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

// 1. Reads `fullDiskInstallCompleted`, writes `hasFullInstall`: every reconcile of a
//    `fullInstall` reinstalls the disk.

#[tokio::test(flavor = "multi_thread")]
async fn defect_01_a_completed_full_install_is_never_repeated() {
    if let Err(missing) = nico_sandbox::tools::check(&[]) {
        nico_sandbox::tools::skip(&missing.to_string());
        return;
    }
    let cluster = Cluster::start().await;
    let started = cluster.base_path().join("started");
    let installer = cluster.base_path().join("nixos-anywhere");
    std::fs::write(
        &installer,
        format!("#!/bin/sh\ntouch {}\n", started.display()),
    )
    .unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&installer, executable).unwrap();
    // Nothing listens there: an attempt can go as far as the step that reaches the host.
    cluster.machine("m", "127.0.0.1").await;
    cluster
        .secret("machine-key", "ssh-privatekey", &pem(&key(1)))
        .await;
    let install = json!({"fullInstall": true, "additionalFiles": [
        {"path": "token", "valueType": "Inline", "inline": "x"},
    ]});
    cluster.configuration("web", "m", install).await;
    let completed = json!({"status": {"fullDiskInstallCompleted": true}});
    let parameters = PatchParams::default();
    cluster
        .configurations()
        .patch_status("web", &parameters, &Patch::Merge(completed))
        .await
        .unwrap();
    let _operator = cluster.operator_with(|settings| settings.configurations.installer = installer);
    let attempted = cluster.reason("web", "MachineNotReachable").await;
    let status = attempted.status.unwrap();
    let step = status.last_attempt.unwrap().step;
    assert_eq!(step, Some(Step::Copy), "an ordinary apply");
    assert_eq!(status.full_disk_install_completed, Some(true));
    assert!(!started.exists(), "the disk was wiped again");
}

// 2. `ref` is looked up, then the default branch is cloned and applied.

#[tokio::test(flavor = "multi_thread")]
async fn defect_02_the_commit_that_was_looked_up_is_the_one_that_runs() {
    let Some(lab) = Lab::start().await else {
        return;
    };
    let repository = &lab.cluster.repository;
    repository.git(&["checkout", "--quiet", "-b", "release"]);
    repository.write("hosts/content", "released ");
    let released = repository.commit();
    repository.git(&["checkout", "--quiet", "main"]);
    repository.write("hosts/content", "unreleased ");
    repository.commit();
    let _operator = lab.cluster.operator();
    let release = json!({"ref": "release"});
    lab.cluster.configuration("web", "m", release).await;
    lab.cluster.commit("web", &released).await;
    assert_eq!(lab.activations(), ["released"]);
}

// 3. `SecretRef` takes "the first key" of the Secret.

#[tokio::test]
async fn defect_03_a_key_that_is_not_named_is_asked_for_and_not_guessed() {
    let Some((cluster, _operator)) = Cluster::with_unreachable_machine().await else {
        return;
    };
    cluster
        .apply(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "join"},
            "stringData": {"agent": "1", "server": "2"},
        }))
        .await;
    let file = json!({"path": "token", "valueType": "SecretRef", "secretRef": {"name": "join"}});
    let files = json!({"additionalFiles": [file]});
    cluster.configuration("web", "m", files).await;
    let refused = cluster.reason("web", "InvalidSpec").await;
    let said = message(&refused, READY);
    assert!(said.contains(r#""agent", "server""#), "{said}");
    assert_eq!(refused.status.unwrap().last_attempt, None);
}

// 4. A missing Secret for an additional file is logged and the apply goes on without the file.

#[tokio::test]
async fn defect_04_nothing_is_applied_without_a_file_whose_secret_is_missing() {
    let Some((cluster, _operator)) = Cluster::with_unreachable_machine().await else {
        return;
    };
    for deliver in ["Flake", "Host"] {
        let file = json!({
            "path": "token", "valueType": "SecretRef", "deliver": deliver,
            "secretRef": {"name": "join", "key": "token"},
        });
        let files = json!({"additionalFiles": [file]});
        cluster
            .configuration(&deliver.to_lowercase(), "m", files)
            .await;
        let refused = cluster
            .reason(&deliver.to_lowercase(), "SecretNotFound")
            .await;
        let said = message(&refused, READY);
        assert!(said.contains("Secret default/join"), "{said}");
        assert!(said.contains(r#"file "token""#), "{said}");
        assert_eq!(refused.status.unwrap().last_attempt, None);
    }
}

// 5. No finalizer logic of its own on the machine side: a failing removal blocks for ever,
//    silently.

#[tokio::test]
async fn defect_05_a_removal_that_fails_says_why_and_has_a_way_out() {
    if git_is_missing() {
        return;
    }
    let cluster = Cluster::start().await;
    cluster.machine("m", "127.0.0.1").await;
    cluster
        .configuration("web", "m", json!({"gitRepo": "file:///no/such/repository"}))
        .await;
    // As an operator left it that had applied the configuration.
    let applied = json!({"status": {"appliedCommit": "a".repeat(40), "targetMachine": "m"}});
    let held = json!({"status": {"hasConfiguration": true, "appliedConfiguration": "web"}});
    let parameters = PatchParams::default();
    let configurations = cluster.configurations();
    let machines = cluster.machines();
    let finalizer = json!({"metadata": {"finalizers": ["nio.homystack.com/remove"]}});
    configurations
        .patch("web", &parameters, &Patch::Merge(finalizer))
        .await
        .unwrap();
    configurations
        .patch_status("web", &parameters, &Patch::Merge(applied))
        .await
        .unwrap();
    machines
        .patch_status("m", &parameters, &Patch::Merge(held))
        .await
        .unwrap();

    let _operator = cluster.operator();
    cluster.delete("web").await;
    let stuck = cluster.reason("web", "RepositoryNotFound").await;
    let said = message(&stuck, READY);
    assert!(said.contains("/no/such/repository"), "{said}");
    assert!(
        said.contains("nio.homystack.com/force-remove=true"),
        "{said}"
    );
    let conditions = &stuck.status.as_ref().unwrap().conditions;
    assert!(!condition::is_true(conditions, STALLED), "it gave up");

    let annotation = "nio.homystack.com/force-remove";
    cluster.annotate("web", annotation, "true").await;
    gone(&configurations, "web").await;
    let machine = machines.get("m").await.unwrap();
    let conditions = &machine.status.as_ref().unwrap().conditions;
    assert!(condition::is_true(conditions, "NeedsCleanup"));
    assert!(!machine.has_configuration());
}

// 6. `discoverable` false because of anything is reported as "missing SSH credentials".

#[tokio::test]
async fn defect_06_a_machine_that_is_off_is_not_reported_as_one_without_credentials() {
    let cluster = Cluster::start().await;
    let _operator = cluster.operator();
    cluster
        .secret("machine-key", "ssh-privatekey", &pem(&key(1)))
        .await;
    cluster.machine_at("off", unused_address()).await;
    cluster.machine_at("keyless", unused_address()).await;
    let keyless = json!({"spec": {"sshKeySecretRef": {"name": "no-such-secret"}}});
    cluster
        .machines()
        .patch("keyless", &PatchParams::default(), &Patch::Merge(keyless))
        .await
        .unwrap();
    let off = cluster.reachable("off", "ConnectionRefused").await;
    assert!(!off.message.contains("credentials"), "{}", off.message);
    let keyless = cluster.reachable("keyless", "MissingCredentials").await;
    assert!(
        keyless.message.contains("no-such-secret"),
        "{}",
        keyless.message
    );
}

// 7. The SSH private key is put into an environment variable; tokens into URLs that Git logs.

const PASSWORD: &str = "correct-horse-battery";

/// The same as it stands in a header: `me:correct-horse-battery` in base 64, without its end.
const IN_A_HEADER: &str = "bWU6Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5";

/// The repository of the cluster behind a login, and a Secret with it.
async fn server(cluster: &Cluster) -> GitServer {
    cluster
        .apply(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "git"},
            "stringData": {"username": "me", "password": PASSWORD},
        }))
        .await;
    GitServer::start(cluster.repository.path(), Some(("me", PASSWORD)))
        .await
        .unwrap()
}

fn from(server: &GitServer) -> Value {
    json!({"gitRepo": server.url(".git"), "credentialsRef": {"name": "git"}})
}

/// What processes of this machine show to others, and what is below `directory`, if one of the
/// needles is in it.
fn places_with(needles: &[&str], directory: &Path) -> Vec<String> {
    let mut places: Vec<String> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .flat_map(|pid| ["cmdline", "environ"].map(|file| format!("/proc/{pid}/{file}")))
        .filter(|path| {
            // A process may have ended since it was listed.
            let shown = std::fs::read(path).unwrap_or_default();
            let shown = String::from_utf8_lossy(&shown);
            needles.iter().any(|needle| shown.contains(needle))
        })
        .collect();
    // The needles go over standard input, so that the search does not show them itself.
    let mut search = Command::new("grep")
        .args(["-rlaF", "-f", "-"])
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let patterns = needles.join("\n");
    let mut input = search.stdin.take().unwrap();
    input.write_all(patterns.as_bytes()).unwrap();
    drop(input);
    let found = search.wait_with_output().unwrap();
    let found = String::from_utf8_lossy(&found.stdout);
    places.extend(found.lines().map(str::to_owned));
    places
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_07_credentials_are_nowhere_to_be_seen_while_a_slow_fetch_runs() {
    if git_is_missing() {
        return;
    }
    let cluster = Cluster::start().await;
    let server = server(&cluster).await;
    let _operator = cluster.operator();
    cluster.machine("m", "192.0.2.1").await;
    server.hold();
    cluster.configuration("web", "m", from(&server)).await;
    // `git` has logged in, and waits for the server.
    server.waits().await;
    let needles = [PASSWORD, IN_A_HEADER];
    let nowhere = Vec::<String>::new();
    assert_eq!(places_with(&needles, cluster.base_path()), nowhere);
    server.release();
    eventually(&cluster.configurations(), "web", |it| {
        let status = it.status.as_ref();
        status.is_some_and(|status| condition::is_true(&status.conditions, SOURCE_READY))
    })
    .await;
    assert_eq!(places_with(&needles, cluster.base_path()), nowhere);
}

// 8. Host keys: "trust on first use" never stores the key.

#[tokio::test]
async fn defect_08_the_first_host_key_is_stored_and_another_process_refuses_another_key() {
    let cluster = Cluster::start().await;
    cluster
        .secret("machine-key", "ssh-privatekey", &pem(&key(1)))
        .await;
    let server = TestServer::start(Behaviour::new(key(2)).authorize(&key(1)))
        .await
        .unwrap();
    cluster.machine_at("m", server.address()).await;
    let operator = cluster.operator();
    cluster.reachable("m", "Connected").await;
    operator.shut_down().await;
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), "default");
    let stored = secrets.get("nio-known-hosts").await.unwrap().data.unwrap();
    let stored = String::from_utf8(stored["default.m"].0.clone()).unwrap();
    assert_eq!(stored.trim(), key(2).public_key().to_openssh().unwrap());

    let impostor = TestServer::start(Behaviour::new(key(3)).authorize(&key(1)))
        .await
        .unwrap();
    // The pin belongs to the Machine: another port is no new machine.
    cluster.machine_at("m", impostor.address()).await;
    let _operator = cluster.operator();
    cluster.reachable("m", "HostKeyChanged").await;
    assert_eq!(impostor.logins(), 0);
}

// 9. The whole apply is one shell string built from spec fields.

#[tokio::test]
async fn defect_09_a_spec_field_is_never_a_command_of_a_shell() {
    let Some((cluster, _operator)) = Cluster::with_unreachable_machine().await else {
        return;
    };
    let marker = cluster.base_path().join("marker");
    // The schema refuses blanks in a reference; a shell needs none.
    let touch = format!("touch${{IFS}}{}", marker.display());
    for reference in [
        format!("main;{touch}"),
        format!("$({touch})"),
        format!("`{touch}`"),
        format!("main|{touch}"),
        format!("'{touch}'"),
    ] {
        cluster
            .configuration("web", "m", json!({"ref": reference}))
            .await;
        let refused = cluster.reason("web", "ReferenceNotFound").await;
        let said = message(&refused, READY);
        assert!(said.contains(&reference), "{said}");
        assert!(!marker.exists(), "{reference} was run");
        cluster.delete("web").await;
        gone(&cluster.configurations(), "web").await;
    }
}

#[tokio::test]
async fn defect_09_the_schema_refuses_an_output_that_is_more_than_a_name() {
    let cluster = Cluster::start().await;
    for flake in ["#web; touch /tmp/x", "#$(id)", "#web`id`", "#web'"] {
        let configuration = json!({
            "apiVersion": "nio.homystack.com/v1alpha1", "kind": "NixosConfiguration",
            "metadata": {"name": "web"},
            "spec": {
                "gitRepo": cluster.repository.url(), "flake": flake, "machineRef": {"name": "m"},
            },
        });
        let api: Api<nico_api::NixosConfiguration> = cluster.configurations();
        let applied = api
            .patch(
                "web",
                &PatchParams::apply("test").force(),
                &Patch::Apply(configuration),
            )
            .await;
        let refused = applied.unwrap_err().to_string();
        assert!(refused.contains("spec.flake"), "{flake}: {refused}");
    }
}

// 10. One clone, one evaluation and one full `nix run` of the tools for each machine and each
//     reconcile. That outputs of one tree are evaluated together is tried in `nix::tests`.

#[tokio::test(flavor = "multi_thread")]
async fn defect_10_many_configurations_ask_their_server_once_and_fetch_once() {
    if git_is_missing() {
        return;
    }
    const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let cluster = Cluster::start().await;
    let server = server(&cluster).await;
    let _operator = cluster.operator_with(|settings| {
        settings.configurations.reconcile_interval = Duration::from_secs(3600);
    });
    for name in NAMES {
        cluster.machine(name, "192.0.2.1").await;
        cluster.configuration(name, name, from(&server)).await;
    }
    for name in NAMES {
        eventually(&cluster.configurations(), name, |it| {
            let status = it.status.as_ref();
            status.is_some_and(|status| condition::is_true(&status.conditions, SOURCE_READY))
        })
        .await;
    }
    // `git ls-remote` asks for references once, and so does the one `git fetch`.
    assert_eq!(server.lookups(), 2);
}

// 11. Two configurations for one machine overwrite each other in turns.

#[tokio::test]
async fn defect_11_a_second_configuration_does_not_get_the_machine_of_the_first() {
    let Some((cluster, _operator)) = Cluster::with_unreachable_machine().await else {
        return;
    };
    cluster.configuration("first", "m", json!({})).await;
    let holds = |machine: &nico_api::Machine| {
        let status = machine.status.as_ref();
        status.is_some_and(|it| it.applied_configuration.as_deref() == Some("first"))
    };
    eventually(&cluster.machines(), "m", holds).await;
    cluster.configuration("second", "m", json!({})).await;
    let refused = cluster.reason("second", "MachineInUse").await;
    assert!(message(&refused, READY).contains("NixosConfiguration first"));
    assert_eq!(refused.status.unwrap().last_attempt, None);
    // A wish for another try does not change who has the machine.
    let annotation = "nio.homystack.com/reconcile-at";
    cluster.annotate("second", annotation, "now").await;
    cluster.annotate("first", annotation, "now").await;
    let machine = eventually(&cluster.machines(), "m", holds).await;
    assert!(holds(&machine));
    cluster.reason("second", "MachineInUse").await;
}

// 12. Facts are full of the word "unknown", numbers are strings.

#[tokio::test]
async fn defect_12_facts_are_numbers_or_absent_and_never_the_word_unknown() {
    let cluster = Cluster::start().await;
    cluster
        .secret("machine-key", "ssh-privatekey", &pem(&key(1)))
        .await;
    let facts = "fact\tsystem.serial\tunknown\nfact\tsystem.vendor\tTo Be Filled By O.E.M.\n\
                 fact\tmemory.mb\t2048\nfact\tcpu.cores\tunknown\nfact\tuptime.days\t3\n\
                 disk\tsda\t2048\t1\tunknown\t\nend\n";
    let host = Behaviour::new(key(2))
        .authorize(&key(1))
        .on_command(move |command| {
            if command == "sh -s" {
                Reply::stdout("")
            } else {
                Reply::stdout(facts)
            }
        });
    let server = TestServer::start(host).await.unwrap();
    cluster.machine_at("m", server.address()).await;
    let _operator = cluster.operator();
    let inspected = eventually(&cluster.machines(), "m", |machine| {
        machine
            .status
            .as_ref()
            .is_some_and(|status| status.hardware_facts.is_some())
    })
    .await;
    let expected = json!({
        "memory": {"mb": 2048}, "uptime": {"days": 3},
        "storage": {"disks": [{"name": "sda", "sizeBytes": 1_048_576, "rotational": true}]},
    });
    let facts = inspected.status.unwrap().hardware_facts.unwrap();
    assert_eq!(serde_json::Value::Object(facts), expected);
}

// 13. Metrics gauges drift (incremented on every pass) and keep series of deleted objects.

#[tokio::test]
async fn defect_13_gauges_count_what_is_there_and_forget_what_is_gone() {
    let cluster = Cluster::start().await;
    cluster
        .secret("machine-key", "ssh-privatekey", &pem(&key(1)))
        .await;
    let server = TestServer::start(Behaviour::new(key(2)).authorize(&key(1)))
        .await
        .unwrap();
    let operator = cluster.operator();
    for name in ["a", "b"] {
        cluster.machine_at(name, server.address()).await;
        cluster.reachable(name, "Connected").await;
    }
    // Many passes over the same objects.
    server.wait_for_logins(6).await;
    let page = || {
        let mut text = String::new();
        encode(&mut text, &operator.registry).unwrap();
        text
    };
    let total = "nio_machines_total{namespace=\"default\"}";
    assert!(page().contains(&format!("{total} 2\n")), "{}", page());
    for name in ["a", "b"] {
        let machines = cluster.machines();
        machines
            .delete(name, &kube::api::DeleteParams::default())
            .await
            .unwrap();
    }
    let forgotten = || {
        !page().contains("kind=\"Machine\",namespace=\"default\"")
            && !page().contains("nio_machines_total{")
            && !page().contains("nio_ssh_connections_total{")
    };
    assert!(support::came(forgotten).await, "{}", page());
}

// 14. Files injected into the flake directory, private keys included, end in the world-readable
//     Nix store.

#[tokio::test(flavor = "multi_thread")]
async fn defect_14_a_file_for_the_host_is_in_no_store_and_not_on_the_operator() {
    let Some(lab) = Lab::start().await else {
        return;
    };
    // The search on the host shows it, so no other test may look for the same one.
    let key = format!("private-key-{}", std::process::id());
    let cluster = &lab.cluster;
    cluster.secret("key", "key", &key).await;
    let _operator = cluster.operator();
    let file = json!({
        "path": "key", "valueType": "SecretRef", "deliver": "Host",
        "secretRef": {"name": "key", "key": "key"},
    });
    let files = json!({"additionalFiles": [file]});
    cluster.configuration("web", "m", files).await;
    cluster.reason("web", "Applied").await;
    assert_eq!(lab.on_host("cat /var/lib/nio/files/key"), key);
    assert_eq!(lab.on_host(&format!("grep -rlF {key} /nix")), "");
    assert_eq!(
        places_with(&[&key], cluster.base_path()),
        Vec::<String>::new()
    );
}
