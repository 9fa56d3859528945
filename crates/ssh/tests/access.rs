//! Credentials and pinned host keys in the Secrets of a cluster.

use std::collections::BTreeMap;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use nico_api::references::SecretReference;
use nico_api::{Machine, MachineSpec, labels};
use nico_ssh::test_server::{Behaviour, TestServer, key, pem};
use nico_ssh::{
    Access, AccessError, ConnectError, Deadlines, HostKeys, KNOWN_HOSTS_SECRET, Pinning,
    fingerprint,
};
use nico_testbed::ControlPlane;

const OPERATOR_NAMESPACE: &str = "kube-system";
const HOST: u8 = 1;
const USER: u8 = 2;
const OTHER: u8 = 3;

struct World {
    client: Client,
    _control_plane: ControlPlane,
}

impl World {
    async fn start() -> Self {
        let control_plane = ControlPlane::start().await.expect("the API starts");
        let client = control_plane.client().await.expect("a client");
        let world = Self {
            client,
            _control_plane: control_plane,
        };
        world
            .create_secret("default", "ssh", "ssh-privatekey", &pem(&key(USER)))
            .await;
        world
    }

    fn access(&self) -> Access {
        Access::new(self.client.clone(), OPERATOR_NAMESPACE, false)
    }

    fn pins(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), OPERATOR_NAMESPACE)
    }

    async fn create_secret(&self, namespace: &str, name: &str, key: &str, value: &str) {
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            string_data: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
            ..Secret::default()
        };
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        api.create(&PostParams::default(), &secret)
            .await
            .expect("the Secret is new");
    }
}

fn machine(name: &str) -> Machine {
    let spec = MachineSpec {
        hostname: Some("localhost".to_owned()),
        ip_address: Some("127.0.0.1".to_owned()),
        ssh_user: "root".to_owned(),
        ssh_port: 22,
        ssh_key_secret_ref: Some(SecretReference {
            name: "ssh".to_owned(),
            namespace: None,
        }),
        ..MachineSpec::default()
    };
    let mut machine = Machine::new(name, spec);
    machine.metadata.namespace = Some("default".to_owned());
    machine
}

#[tokio::test]
async fn the_first_key_is_pinned_and_trusted_from_then_on() {
    let world = World::start().await;
    let (access, machine) = (world.access(), machine("w-01"));
    let host_key = key(HOST).public_key().clone();
    assert_eq!(
        access.target(&machine).await.unwrap().host_keys,
        HostKeys::FirstUse
    );
    assert_eq!(
        access.pin(&machine, &host_key).await.unwrap(),
        Pinning::FirstUse
    );
    assert_eq!(
        access.pin(&machine, &host_key).await.unwrap(),
        Pinning::Unchanged
    );
    for access in [access, world.access()] {
        let target = access.target(&machine).await.unwrap();
        assert_eq!(target.host_keys, HostKeys::Pinned(vec![host_key.clone()]));
        assert!(target.known_hosts().starts_with("127.0.0.1 ssh-ed25519 "));
    }
}

#[tokio::test]
async fn another_key_is_not_pinned_over_the_first() {
    let world = World::start().await;
    let (first, late, machine) = (world.access(), world.access(), machine("w-01"));
    // The late one has read that nothing is pinned before the first one pins.
    late.target(&machine).await.unwrap();
    first.pin(&machine, key(HOST).public_key()).await.unwrap();
    let error = late
        .pin(&machine, key(OTHER).public_key())
        .await
        .unwrap_err();
    assert!(
        matches!(error, AccessError::PinnedOtherwise { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_new_key_is_pinned_when_the_user_names_it_or_nico_installed_the_machine() {
    let world = World::start().await;
    let (access, mut machine) = (world.access(), machine("w-01"));
    access.pin(&machine, key(HOST).public_key()).await.unwrap();
    access
        .replace_pin(&machine, key(OTHER).public_key())
        .await
        .unwrap();
    let wanted = fingerprint(key(HOST).public_key());
    machine.metadata.annotations = Some(BTreeMap::from([(
        labels::RESET_HOST_KEY.to_owned(),
        wanted,
    )]));
    assert_eq!(
        access.pin(&machine, key(HOST).public_key()).await.unwrap(),
        Pinning::Replaced
    );
    let error = access
        .pin(&machine, key(OTHER).public_key())
        .await
        .unwrap_err();
    assert!(
        matches!(error, AccessError::PinnedOtherwise { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn pins_that_are_written_at_once_are_all_kept() {
    let world = World::start().await;
    let accesses = [world.access(), world.access(), world.access()];
    let machines: Vec<Machine> = (0..30)
        .map(|number| machine(&format!("w-{number}")))
        .collect();
    let host_key = key(HOST).public_key().clone();
    let pins = machines.iter().zip(accesses.iter().cycle());
    for outcome in join_all(pins.map(|(machine, access)| access.pin(machine, &host_key))).await {
        assert_eq!(outcome.unwrap(), Pinning::FirstUse);
    }
    let stored = world.pins().get(KNOWN_HOSTS_SECRET).await.unwrap();
    assert_eq!(stored.data.unwrap().len(), 30);
}

#[tokio::test]
async fn pins_come_back_after_their_secret_was_deleted() {
    let world = World::start().await;
    let access = world.access();
    access
        .pin(&machine("w-01"), key(HOST).public_key())
        .await
        .unwrap();
    world
        .pins()
        .delete(KNOWN_HOSTS_SECRET, &DeleteParams::default())
        .await
        .unwrap();
    access
        .pin(&machine("w-02"), key(HOST).public_key())
        .await
        .unwrap();
    let stored = world.pins().get(KNOWN_HOSTS_SECRET).await.unwrap();
    assert_eq!(
        stored.data.unwrap().into_keys().collect::<Vec<_>>(),
        ["default.w-02"]
    );
}

#[tokio::test]
async fn a_damaged_pin_trusts_nobody() {
    let world = World::start().await;
    let entry = "default.w-01";
    world
        .create_secret(OPERATOR_NAMESPACE, KNOWN_HOSTS_SECRET, entry, "nonsense")
        .await;
    let error = world.access().target(&machine("w-01")).await.unwrap_err();
    assert!(
        matches!(&error, AccessError::DamagedPin { key, .. } if key == entry),
        "{error}"
    );
}

#[tokio::test]
async fn a_session_by_machine_pins_the_key_and_refuses_another_one() {
    let world = World::start().await;
    let host = Behaviour::new(key(HOST)).authorize(&key(USER));
    let (host, stranger) = (
        TestServer::start(host.clone()).await.unwrap(),
        TestServer::start(Behaviour {
            host_key: key(OTHER),
            ..host
        })
        .await
        .unwrap(),
    );
    let access = world.access();
    let at = |server: &TestServer| {
        let mut machine = machine("w-01");
        machine.spec.ssh_port = server.address().port().into();
        machine
    };
    let session = access
        .connect(&at(&host), &Deadlines::default())
        .await
        .unwrap();
    assert_eq!(session.host_key(), key(HOST).public_key());
    let mut machine = at(&stranger);
    let error = access
        .connect(&machine, &Deadlines::default())
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConnectError::HostKeyChanged { .. }),
        "{error}"
    );
    assert_eq!(stranger.logins(), 0);

    let wanted = fingerprint(key(OTHER).public_key());
    machine.metadata.annotations = Some(BTreeMap::from([(
        labels::RESET_HOST_KEY.to_owned(),
        wanted,
    )]));
    access
        .connect(&machine, &Deadlines::default())
        .await
        .unwrap();
    let error = access
        .connect(&at(&host), &Deadlines::default())
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConnectError::HostKeyChanged { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn secrets_of_other_namespaces_are_read_only_where_the_operator_allows_it() {
    let world = World::start().await;
    world
        .create_secret("kube-public", "ssh", "ssh-privatekey", &pem(&key(USER)))
        .await;
    let mut machine = machine("w-01");
    machine.spec.ssh_key_secret_ref = Some(SecretReference {
        name: "ssh".to_owned(),
        namespace: Some("kube-public".to_owned()),
    });
    let error = world.access().target(&machine).await.unwrap_err();
    assert!(
        matches!(error, AccessError::CrossNamespace { .. }),
        "{error}"
    );
    let allowing = Access::new(world.client.clone(), OPERATOR_NAMESPACE, true);
    allowing.target(&machine).await.unwrap();
}
