//! The Machine controller against the embedded API server and SSH servers in this process.

mod world;

use std::net::SocketAddr;

use kube::api::{Patch, PatchParams};
use nico_api::machine::conditions::{HARDWARE_INSPECTED, REACHABLE, READY};
use nico_api::references::{PasswordReference, SecretReference};
use nico_api::{Machine, MachineSpec, labels};
use nico_ssh::fingerprint;
use nico_ssh::test_server::{Behaviour, Reply, TestServer, key, pem};
use serde_json::{Value, json};
use world::{Settled, World, condition_of, reason_of};

const HOST: u8 = 1;
const USER: u8 = 2;
const OTHER: u8 = 3;

fn host() -> Behaviour {
    Behaviour::new(key(HOST)).authorize(&key(USER))
}

async fn start(behaviour: Behaviour) -> TestServer {
    TestServer::start(behaviour)
        .await
        .expect("the SSH server starts")
}

/// A machine at this address with the key of the Secret `ssh`.
fn at(address: SocketAddr) -> MachineSpec {
    MachineSpec {
        ip_address: Some(address.ip().to_string()),
        ssh_port: address.port().into(),
        ssh_user: "root".to_owned(),
        ssh_key_secret_ref: Some(SecretReference {
            name: "ssh".to_owned(),
            namespace: None,
        }),
        ..MachineSpec::default()
    }
}

fn is_ready(machine: &Machine) -> bool {
    condition_of(machine, READY).is_some_and(|ready| ready.status == "True")
}

#[tokio::test]
async fn a_new_machine_is_found_inspected_and_its_host_key_pinned() {
    let world = World::start().await;
    let server = start(host()).await;
    world.create_key("ssh", &key(USER)).await;
    world.create("w-01", at(server.address())).await;

    let machine = world.settle("w-01", is_ready).await;
    let status = machine.status.as_ref().unwrap();
    assert!(machine.is_discoverable());
    assert_eq!(reason_of(&machine, REACHABLE), "Connected");
    assert_eq!(reason_of(&machine, HARDWARE_INSPECTED), "Inspected");
    assert_eq!(status.observed_generation, machine.metadata.generation);
    assert_eq!(
        machine.fact("architecture").and_then(Value::as_str),
        Some(std::env::consts::ARCH)
    );
    assert!(
        machine.fact("memory.mb").is_some_and(Value::is_u64),
        "{:?}",
        status.hardware_facts
    );
    assert_eq!(
        status.ssh_host_key_fingerprints,
        [fingerprint(key(HOST).public_key())]
    );

    let pins = world
        .operator_secrets()
        .get("nio-known-hosts")
        .await
        .unwrap();
    let pin = &pins.data.unwrap()["default.w-01"].0;
    let host_key = key(HOST).public_key().to_openssh().unwrap();
    assert_eq!(String::from_utf8_lossy(pin).trim(), host_key.trim());
    world.wait_for_event("w-01", "HostKeyPinned").await;
    world.wait_for_event("w-01", "Connected").await;
}

#[tokio::test]
async fn a_wrong_key_is_reported_and_a_corrected_secret_is_tried_at_once() {
    let world = World::start().await;
    let server = start(host()).await;
    world.create_key("ssh", &key(OTHER)).await;
    world.create("w-01", at(server.address())).await;

    let machine = world
        .settle("w-01", Settled(REACHABLE, "AuthenticationFailed"))
        .await;
    assert!(!machine.is_discoverable());
    let message = &condition_of(&machine, REACHABLE).unwrap().message;
    assert!(
        message.contains(&fingerprint(key(OTHER).public_key())),
        "{message}"
    );
    world.wait_for_event("w-01", "AuthenticationFailed").await;

    let corrected = json!({"stringData": {"ssh-privatekey": pem(&key(USER))}});
    let parameters = PatchParams::default();
    world
        .secrets()
        .patch("ssh", &parameters, &Patch::Merge(corrected))
        .await
        .unwrap();
    world.settle("w-01", is_ready).await;
}

#[tokio::test]
async fn missing_credentials_are_named_and_used_when_they_come() {
    let world = World::start().await;
    let server = start(host()).await;
    world.create("w-01", at(server.address())).await;
    let machine = world
        .settle("w-01", Settled(REACHABLE, "MissingCredentials"))
        .await;
    let message = &condition_of(&machine, REACHABLE).unwrap().message;
    assert!(message.contains("Secret default/ssh"), "{message}");
    assert!(message.contains("ssh-privatekey"), "{message}");

    world.create_key("ssh", &key(USER)).await;
    world.settle("w-01", is_ready).await;
}

#[tokio::test]
async fn a_key_with_a_wrong_name_in_the_secret_is_not_guessed() {
    let world = World::start().await;
    let server = start(host()).await;
    world
        .create_secret("ssh", &[("id_ed25519", &pem(&key(USER)))])
        .await;
    world.create("w-01", at(server.address())).await;
    let machine = world
        .settle("w-01", Settled(REACHABLE, "MissingCredentials"))
        .await;
    let message = &condition_of(&machine, REACHABLE).unwrap().message;
    assert!(message.contains("id_ed25519"), "{message}");
}

#[tokio::test]
async fn something_that_is_no_key_is_told_from_a_missing_one() {
    let world = World::start().await;
    let server = start(host()).await;
    world
        .create_secret("ssh", &[("ssh-privatekey", "hunter2")])
        .await;
    world.create("w-01", at(server.address())).await;
    let machine = world
        .settle("w-01", Settled(REACHABLE, "InvalidCredentials"))
        .await;
    let message = &condition_of(&machine, REACHABLE).unwrap().message;
    assert!(!message.contains("hunter2"), "{message}");
}

#[tokio::test]
async fn the_password_of_the_named_key_opens_the_machine() {
    let world = World::start().await;
    let server = start(Behaviour {
        password: Some("sesame".to_owned()),
        ..host()
    })
    .await;
    world
        .create_secret("login", &[("pin", "sesame\n"), ("other", "hunter2")])
        .await;
    let password = PasswordReference {
        name: "login".to_owned(),
        namespace: None,
        key: "pin".to_owned(),
    };
    let spec = MachineSpec {
        ssh_key_secret_ref: None,
        ssh_password_secret_ref: Some(password),
        ..at(server.address())
    };
    world.create("w-01", spec).await;
    world.settle("w-01", is_ready).await;
}

#[tokio::test]
async fn a_secret_of_another_namespace_is_refused() {
    let world = World::start().await;
    let server = start(host()).await;
    let elsewhere = SecretReference {
        name: "ssh".to_owned(),
        namespace: Some("kube-system".to_owned()),
    };
    let spec = MachineSpec {
        ssh_key_secret_ref: Some(elsewhere),
        ..at(server.address())
    };
    world.create("w-01", spec).await;
    let machine = world
        .settle("w-01", Settled(REACHABLE, "CrossNamespaceSecret"))
        .await;
    let message = &condition_of(&machine, REACHABLE).unwrap().message;
    assert!(
        message.contains("NIO_ALLOW_CROSS_NAMESPACE_SECRETS"),
        "{message}"
    );
    assert_eq!(server.logins(), 0);
}

#[tokio::test]
async fn a_closed_port_is_reported_and_a_corrected_spec_is_tried_at_once() {
    let world = World::start().await;
    let server = start(host()).await;
    world.create_key("ssh", &key(USER)).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = free.local_addr().unwrap();
    drop(free);
    world.create("w-01", at(closed)).await;
    world
        .settle("w-01", Settled(REACHABLE, "ConnectionRefused"))
        .await;

    let corrected = json!({"spec": {"sshPort": server.address().port()}});
    world.patch("w-01", corrected).await;
    world.settle("w-01", is_ready).await;
}

#[tokio::test]
async fn machines_that_do_not_answer_hold_up_nobody() {
    let world = World::start_with(|settings| settings.probe_concurrency = 2).await;
    let silent = start(Behaviour {
        silent: true,
        ..host()
    })
    .await;
    let server = start(host()).await;
    world.create_key("ssh", &key(USER)).await;
    for number in 0..6 {
        world
            .create(&format!("silent-{number}"), at(silent.address()))
            .await;
    }
    world.create("w-01", at(server.address())).await;
    world.settle("w-01", is_ready).await;
    for number in 0..6 {
        let machine = world.machine(&format!("silent-{number}")).await;
        assert!(
            condition_of(&machine, REACHABLE).is_none(),
            "still waiting for an answer"
        );
    }
}

#[tokio::test]
async fn a_silent_machine_times_out() {
    let world = World::start_with(|settings| {
        settings.probe_timeout = std::time::Duration::from_millis(200);
    })
    .await;
    let silent = start(Behaviour {
        silent: true,
        ..host()
    })
    .await;
    world.create_key("ssh", &key(USER)).await;
    world.create("w-01", at(silent.address())).await;
    let machine = world.settle("w-01", Settled(REACHABLE, "TimedOut")).await;
    assert!(!machine.is_discoverable());
}

#[tokio::test]
async fn a_machine_whose_shell_fails_is_not_discoverable() {
    let world = World::start().await;
    let broken = |_: &str| Reply::Output {
        status: 127,
        stdout: Vec::new(),
        stderr: b"sh: not found".to_vec(),
    };
    let server = start(host().on_command(broken)).await;
    world.create_key("ssh", &key(USER)).await;
    world.create("w-01", at(server.address())).await;
    let machine = world
        .settle("w-01", Settled(REACHABLE, "CommandFailed"))
        .await;
    let message = &condition_of(&machine, REACHABLE).unwrap().message;
    assert!(message.contains("sh: not found"), "{message}");
}

#[tokio::test]
async fn a_changed_host_key_is_refused_until_the_user_names_the_new_one() {
    let world = World::start().await;
    let server = start(host()).await;
    let address = server.address();
    world.create_key("ssh", &key(USER)).await;
    world.create("w-01", at(address)).await;
    world.settle("w-01", is_ready).await;
    drop(server);

    let reinstalled = Behaviour::new(key(OTHER)).authorize(&key(USER));
    let server = world::listen_again(address, reinstalled).await;
    world.annotate("w-01", labels::RECONCILE_AT, "now").await;
    let machine = world
        .settle("w-01", Settled(REACHABLE, "HostKeyChanged"))
        .await;
    assert!(!machine.is_discoverable());
    let seen = fingerprint(key(OTHER).public_key());
    let message = &condition_of(&machine, REACHABLE).unwrap().message;
    assert!(
        message.contains(&seen) && message.contains(labels::RESET_HOST_KEY),
        "{message}"
    );
    assert_eq!(server.logins(), 0, "nobody logged in to the stranger");

    let wrong = fingerprint(key(USER).public_key());
    world.annotate("w-01", labels::RESET_HOST_KEY, &wrong).await;
    world.annotate("w-01", labels::RESET_HOST_KEY, &seen).await;
    let machine = world.settle("w-01", is_ready).await;
    assert_eq!(machine.status.unwrap().ssh_host_key_fingerprints, [seen]);
    world.wait_for_event("w-01", "HostKeyReplaced").await;
}

#[tokio::test]
async fn host_keys_of_the_spec_are_trusted_and_no_others() {
    let world = World::start().await;
    let server = start(host()).await;
    world.create_key("ssh", &key(USER)).await;
    let trusting = |seed: u8| MachineSpec {
        ssh_host_keys: vec![key(seed).public_key().to_openssh().unwrap()],
        ..at(server.address())
    };
    world.create("right", trusting(HOST)).await;
    world.create("wrong", trusting(OTHER)).await;
    world.settle("right", is_ready).await;
    world
        .settle("wrong", Settled(REACHABLE, "HostKeyChanged"))
        .await;
    let pins = world
        .operator_secrets()
        .get_opt("nio-known-hosts")
        .await
        .unwrap();
    assert_eq!(pins, None, "what the spec says is not stored again");
}

#[tokio::test]
async fn what_other_controllers_wrote_into_the_status_stays() {
    let world = World::start().await;
    let server = start(host()).await;
    world.create_key("ssh", &key(OTHER)).await;
    world.create("w-01", at(server.address())).await;
    world
        .settle("w-01", Settled(REACHABLE, "AuthenticationFailed"))
        .await;
    let applied = json!({
        "hasConfiguration": true,
        "appliedConfiguration": "w-01",
        "conditions": [{
            "type": "NeedsCleanup", "status": "False", "reason": "Clean", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    });
    let machine = world.machine("w-01").await;
    let manager = labels::CONFIGURATION_CONTROLLER;
    nico_runtime::status::apply(&world.client, manager, &machine, applied)
        .await
        .unwrap();

    let corrected = json!({"stringData": {"ssh-privatekey": pem(&key(USER))}});
    let parameters = PatchParams::default();
    world
        .secrets()
        .patch("ssh", &parameters, &Patch::Merge(corrected))
        .await
        .unwrap();
    let machine = world.settle("w-01", is_ready).await;
    assert!(machine.has_configuration());
    assert_eq!(reason_of(&machine, "NeedsCleanup"), "Clean");
}

#[tokio::test]
async fn writing_the_status_starts_no_probe() {
    let world = World::start().await;
    let server = start(host()).await;
    world.create_key("ssh", &key(USER)).await;
    world.create("w-01", at(server.address())).await;
    let before = world.settle("w-01", is_ready).await;
    for round in 1..=3 {
        assert_eq!(server.logins(), round, "each annotation started one probe");
        world
            .annotate("w-01", labels::RECONCILE_AT, &round.to_string())
            .await;
        world::in_time(server.wait_for_logins(round + 1)).await;
    }
    let after = world.settle("w-01", is_ready).await;
    assert_eq!(
        after.status.unwrap().conditions,
        before.status.unwrap().conditions
    );
}

#[tokio::test]
async fn a_machine_that_goes_away_and_comes_back_is_followed() {
    let world = World::start_with(|settings| {
        settings.discovery_interval = std::time::Duration::from_millis(100);
    })
    .await;
    let server = start(host()).await;
    let address = server.address();
    world.create_key("ssh", &key(USER)).await;
    world.create("w-01", at(address)).await;
    world.settle("w-01", is_ready).await;
    drop(server);
    let machine = world
        .settle("w-01", |machine: &Machine| !machine.is_discoverable())
        .await;
    assert_eq!(reason_of(&machine, REACHABLE), "ConnectionRefused");
    let _server = world::listen_again(address, host()).await;
    world.settle("w-01", is_ready).await;
}

#[tokio::test]
async fn an_object_that_is_no_machine_stops_no_other() {
    let world = World::start().await;
    world.accept_any_machine().await;
    let server = start(host()).await;
    world.create_key("ssh", &key(USER)).await;
    world
        .create_raw("broken", json!({"hostname": ["not", "a", "name"]}))
        .await;
    world.create("w-01", at(server.address())).await;
    world.settle("w-01", is_ready).await;
    let reported = world.wait_for_event("broken", "InvalidSpec").await;
    assert!(reported.contains("passed over"), "{reported}");
}

#[tokio::test]
async fn gauges_follow_the_machines_that_there_are() {
    let world = World::start().await;
    let server = start(host()).await;
    world.create_key("ssh", &key(USER)).await;
    world.create("w-01", at(server.address())).await;
    let spec = MachineSpec {
        ssh_key_secret_ref: None,
        ..at(server.address())
    };
    world.create("w-02", spec).await;
    world.settle("w-01", is_ready).await;
    world
        .settle("w-02", Settled(REACHABLE, "MissingCredentials"))
        .await;
    let gauge = |name: &str| format!("{name}{{namespace=\"default\"}}");
    world
        .wait_for_metric(&format!("{} 2\n", gauge("nio_machines_total")))
        .await;
    world
        .wait_for_metric(&format!("{} 1\n", gauge("nio_machines_discoverable")))
        .await;
    world
        .wait_for_metric(&format!("{} 0\n", gauge("nio_machines_with_configuration")))
        .await;

    world.delete("w-01").await;
    world
        .wait_for_metric(&format!("{} 1\n", gauge("nio_machines_total")))
        .await;
    world.delete("w-02").await;
    world
        .wait_for_metrics(|text| !text.contains("namespace=\"default\""))
        .await;
}

#[tokio::test]
async fn a_shutdown_gives_up_the_probes_that_are_under_way() {
    let world = World::start().await;
    let (silent, server) = (
        start(Behaviour {
            silent: true,
            ..host()
        })
        .await,
        start(host()).await,
    );
    world.create_key("ssh", &key(USER)).await;
    world.create("silent", at(silent.address())).await;
    world.create("w-01", at(server.address())).await;
    world.settle("w-01", is_ready).await;
    let stopped = std::time::Instant::now();
    world.stop().await;
    let patience = nico_machines::machine::Settings::default().probe_timeout;
    assert!(
        stopped.elapsed() < patience,
        "nobody waited for the silent machine"
    );
}

#[tokio::test]
async fn no_credential_is_seen_in_status_or_events() {
    let world = World::start().await;
    let server = start(Behaviour {
        password: Some("sesame".to_owned()),
        ..host()
    })
    .await;
    let text = pem(&key(OTHER));
    world
        .create_secret("ssh", &[("ssh-privatekey", &text), ("password", "hunter2")])
        .await;
    let password = PasswordReference {
        name: "ssh".to_owned(),
        namespace: None,
        key: "password".to_owned(),
    };
    let spec = MachineSpec {
        ssh_password_secret_ref: Some(password),
        ..at(server.address())
    };
    world.create("w-01", spec).await;
    let machine = world
        .settle("w-01", Settled(REACHABLE, "AuthenticationFailed"))
        .await;
    let event = world.wait_for_event("w-01", "AuthenticationFailed").await;
    let shown = format!("{machine:?} {event}");
    assert!(!shown.contains("hunter2"), "{shown}");
    for line in text.lines().filter(|line| !line.starts_with("-----")) {
        assert!(!shown.contains(line), "{shown}");
    }
}
