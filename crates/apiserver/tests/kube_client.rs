//! The real `kube` client and its runtime work against the server.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Secret, Service};
use k8s_openapi::api::events::v1::Event as KubernetesEvent;
use k8s_openapi::api::resource::v1::ResourceSlice;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::runtime::reflector;
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource, ResourceExt};
use nico_api::Machine;
use nico_apiserver::Server;
use serde_json::json;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

async fn define_machines(client: &Client) -> Api<Machine> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for (_, definition) in nico_api::crds::all() {
        definitions
            .create(&PostParams::default(), &definition)
            .await
            .expect("the definition is accepted");
        let name = definition.name_any();
        let established =
            await_condition(definitions.clone(), &name, conditions::is_crd_established());
        timeout(SOON, established)
            .await
            .expect("it does not take long")
            .expect("the definition can be watched");
    }
    Api::namespaced(client.clone(), "default")
}

fn machine(name: &str) -> Machine {
    serde_json::from_value(json!({
        "apiVersion": "nio.homystack.com/v1alpha1",
        "kind": "Machine",
        "metadata": {"name": name},
        "spec": {"hostname": "host.example.com", "sshKeySecretRef": {"name": "key"}},
    }))
    .expect("it is a Machine")
}

#[tokio::test]
async fn every_cluster_begins_with_four_namespaces() {
    let (_server, client) = support::server().await;
    let namespaces: Api<Namespace> = Api::all(client);
    let list = namespaces.list(&ListParams::default()).await.unwrap();
    let names: Vec<String> = list.iter().map(ResourceExt::name_any).collect();
    assert_eq!(
        names,
        ["default", "kube-node-lease", "kube-public", "kube-system"]
    );
}

#[tokio::test]
async fn every_cluster_begins_with_its_own_service_and_the_systems_priorities() {
    let (_server, client) = support::server().await;
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    let own = services.get("kubernetes").await.expect("it is there");
    let spec = own.spec.expect("a spec");
    assert_eq!(spec.cluster_ip.as_deref(), Some("10.96.0.1"));
    assert_eq!(spec.session_affinity.as_deref(), Some("None"));

    let classes: Api<PriorityClass> = Api::all(client);
    let found = classes.list(&ListParams::default()).await.expect("a list");
    let found: Vec<_> = found.iter().map(|c| (c.name_any(), c.value)).collect();
    let expected = [
        ("system-cluster-critical".to_owned(), Some(2_000_000_000)),
        ("system-node-critical".to_owned(), Some(2_000_001_000)),
    ];
    assert_eq!(found, expected);
    let params = DeleteParams::default();
    let refused = classes.delete("system-node-critical", &params).await;
    let refused = refused.expect_err("it cannot be deleted").to_string();
    assert!(
        refused.contains("this is a system priority class"),
        "{refused}"
    );
}

#[tokio::test]
async fn requests_without_credentials_are_unauthorized() {
    let server = Server::builder()
        .token("open-sesame")
        .start()
        .await
        .unwrap();
    let uri: http::Uri = server.url().parse().unwrap();
    let status = async |token: Option<&str>| {
        let mut config = kube::Config::new(uri.clone());
        config.accept_invalid_certs = true;
        config.auth_info.token = token.map(|token| token.to_owned().into());
        let client = Client::try_from(config).unwrap();
        let nodes: Api<Node> = Api::all(client);
        match nodes.list(&ListParams::default()).await {
            Ok(_) => 200,
            Err(kube::Error::Api(status)) => status.code,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(status(None).await, 401);
    assert_eq!(status(Some("wrong")).await, 401);
    assert_eq!(status(Some("open-sesame")).await, 200);
}

#[tokio::test]
async fn a_watch_sees_what_happens_after_a_list() {
    let (_server, client) = support::server().await;
    let secrets: Api<Secret> = Api::default_namespaced(client);
    let list = secrets.list(&ListParams::default()).await.unwrap();
    let version = list.metadata.resource_version.unwrap();
    let mut events = secrets
        .watch(&WatchParams::default(), &version)
        .await
        .unwrap()
        .boxed();
    let secret: Secret =
        serde_json::from_value(json!({"metadata": {"name": "a"}, "stringData": {"k": "v"}}))
            .unwrap();
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
    secrets.delete("a", &DeleteParams::default()).await.unwrap();
    let added = timeout(SOON, events.try_next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(
        matches!(&added, WatchEvent::Added(secret) if secret.data.as_ref().unwrap()["k"].0 == b"v")
    );
    let deleted = timeout(SOON, events.try_next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(matches!(deleted, WatchEvent::Deleted(secret) if secret.name_any() == "a"));
}

#[tokio::test]
async fn a_driver_finds_its_slices_on_its_node() {
    let (_server, client) = support::server().await;
    let slices: Api<ResourceSlice> = Api::all(client);
    for (name, driver, node) in [("a", "gpu", "n1"), ("b", "gpu", "n2"), ("c", "nic", "n1")] {
        let slice = serde_json::from_value(json!({
            "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice",
            "metadata": {"name": name},
            "spec": {"driver": format!("{driver}.example.com"), "nodeName": node,
                "pool": {"name": node, "generation": 1, "resourceSliceCount": 1}},
        }))
        .expect("it is a ResourceSlice");
        let made = slices.create(&PostParams::default(), &slice).await;
        made.expect("it is accepted");
    }
    let selected = async |fields: &str| {
        let list = slices.list(&ListParams::default().fields(fields)).await;
        let list = list.expect("the fields are known");
        list.items
            .iter()
            .map(ResourceExt::name_any)
            .collect::<Vec<_>>()
    };
    assert_eq!(selected("spec.driver=gpu.example.com").await, ["a", "b"]);
    assert_eq!(
        selected("spec.nodeName=n1,spec.driver!=gpu.example.com").await,
        ["c"]
    );
    let gone = ListParams::default().fields("spec.nodeName=n2");
    let params = DeleteParams::default();
    let deleted = slices.delete_collection(&params, &gone).await;
    deleted.expect("they are deleted");
    assert_eq!(selected("").await, ["a", "c"]);
}

#[tokio::test]
async fn a_reflector_follows_with_lists_and_with_streaming_lists() {
    let (_server, client) = support::server().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let map = |name: &str| ConfigMap {
        metadata: kube::core::ObjectMeta {
            name: Some(name.to_owned()),
            ..Default::default()
        },
        ..ConfigMap::default()
    };
    maps.create(&PostParams::default(), &map("before"))
        .await
        .unwrap();
    for config in [
        watcher::Config::default(),
        watcher::Config::default().streaming_lists(),
    ] {
        let (reader, writer) = reflector::store();
        let stream = watcher(maps.clone(), config)
            .default_backoff()
            .reflect(writer);
        let follow = tokio::spawn(stream.for_each(|_| async {}));
        timeout(SOON, reader.wait_until_ready())
            .await
            .unwrap()
            .unwrap();
        let seen = |name: &str| reader.find(|map| map.name_any() == name).is_some();
        assert!(seen("before"));
        maps.create(&PostParams::default(), &map("after"))
            .await
            .unwrap();
        timeout(SOON, async {
            while !seen("after") {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        maps.delete("after", &DeleteParams::default())
            .await
            .unwrap();
        follow.abort();
    }
}

#[tokio::test]
async fn a_controller_writes_status_by_apply_and_events_are_recorded() {
    let (_server, client) = support::server().await;
    let machines = define_machines(&client).await;
    let context = Arc::new((
        machines.clone(),
        Recorder::new(client.clone(), "machines.nio.homystack.com".into()),
    ));
    let reconcile = |machine: Arc<Machine>, context: Arc<(Api<Machine>, Recorder)>| async move {
        let status = json!({
            "apiVersion": Machine::api_version(&()),
            "kind": Machine::kind(&()),
            "status": {
                "observedGeneration": machine.metadata.generation,
                "discoverable": true,
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": "Ready", "message": "",
                    "lastTransitionTime": "2024-01-01T00:00:00Z",
                }],
            },
        });
        let params = PatchParams::apply("machines.nio.homystack.com").force();
        context
            .0
            .patch_status(&machine.name_any(), &params, &Patch::Apply(status))
            .await?;
        let event = Event {
            type_: EventType::Normal,
            reason: "Ready".into(),
            note: Some("it answers".into()),
            action: "Probe".into(),
            secondary: None,
        };
        context.1.publish(&event, &machine.object_ref(&())).await?;
        Ok::<_, kube::Error>(Action::await_change())
    };
    let controller = Controller::new(machines.clone(), watcher::Config::default())
        .run(
            reconcile,
            |_, _, _| Action::requeue(Duration::from_secs(1)),
            context,
        )
        .for_each(|_| async {});
    let controller = tokio::spawn(controller);

    machines
        .create(&PostParams::default(), &machine("one"))
        .await
        .unwrap();
    let discoverable = |machine: Option<&Machine>| {
        let status = machine.and_then(|machine| machine.status.as_ref());
        status.is_some_and(|status| status.discoverable == Some(true))
    };
    let found = timeout(SOON, await_condition(machines.clone(), "one", discoverable))
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(found.metadata.generation, Some(1));
    assert_eq!(
        found.spec.ssh_port, 22,
        "defaults of the schema are filled in"
    );
    let owner = found
        .managed_fields()
        .iter()
        .find(|entry| entry.subresource.is_some())
        .unwrap();
    assert_eq!(owner.manager.as_deref(), Some("machines.nio.homystack.com"));
    assert_eq!(owner.operation.as_deref(), Some("Apply"));

    let events: Api<KubernetesEvent> = Api::namespaced(client, "default");
    timeout(SOON, async {
        loop {
            let list = events
                .list(&ListParams::default().fields("regarding.name=one"))
                .await;
            if list
                .unwrap()
                .iter()
                .any(|event| event.note.as_deref() == Some("it answers"))
            {
                return;
            }
        }
    })
    .await
    .unwrap();
    controller.abort();
}

#[tokio::test]
async fn appliers_that_disagree_get_a_conflict() {
    let (_server, client) = support::server().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let apply = async |manager: &str, value: &str, force: bool| {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared"},
            "data": {"key": value},
        });
        let mut params = PatchParams::apply(manager);
        params.force = force;
        maps.patch("shared", &params, &Patch::Apply(map)).await
    };
    apply("one", "1", false).await.unwrap();
    let error = apply("two", "2", false).await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 409));
    let map = apply("two", "2", true).await.unwrap();
    assert_eq!(
        map.data,
        Some(BTreeMap::from([("key".to_owned(), "2".to_owned())]))
    );
}

#[tokio::test]
async fn what_does_not_fit_the_schema_of_a_custom_resource_is_refused() {
    let (_server, client) = support::server().await;
    let machines = define_machines(&client).await;
    let mut wrong = machine("wrong");
    wrong.spec.ssh_port = 70_000;
    let error = machines
        .create(&PostParams::default(), &wrong)
        .await
        .unwrap_err();
    let kube::Error::Api(status) = error else {
        panic!("{error}")
    };
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    assert!(
        status.message.contains("spec.sshPort"),
        "{}",
        status.message
    );
}

#[tokio::test]
async fn owned_objects_go_with_their_owner_and_finalizers_hold_them() {
    let (_server, client) = support::server().await;
    let machines = define_machines(&client).await;
    let secrets: Api<Secret> = Api::namespaced(client, "default");
    let owner = machines
        .create(&PostParams::default(), &machine("owner"))
        .await
        .unwrap();
    let secret: Secret = serde_json::from_value(json!({"metadata": {
        "name": "owned",
        "finalizers": ["example.com/hold"],
        "ownerReferences": [owner.controller_owner_ref(&()).unwrap()],
    }}))
    .unwrap();
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
    machines
        .delete("owner", &DeleteParams::background())
        .await
        .unwrap();
    let going = |secret: Option<&Secret>| {
        secret.is_some_and(|secret| secret.metadata.deletion_timestamp.is_some())
    };
    let held = timeout(SOON, await_condition(secrets.clone(), "owned", going))
        .await
        .unwrap();
    let uid = held.unwrap().unwrap().uid().unwrap();
    let release = json!({"metadata": {"finalizers": null}});
    secrets
        .patch("owned", &PatchParams::default(), &Patch::Merge(release))
        .await
        .unwrap();
    let gone = await_condition(secrets, "owned", conditions::is_deleted(&uid));
    timeout(SOON, gone).await.unwrap().unwrap();
}

#[tokio::test]
async fn many_servers_run_in_one_process_and_end_when_told() {
    let mut servers = Vec::new();
    for _ in 0..20 {
        servers.push(support::server().await);
    }
    let mut addresses: Vec<_> = servers.iter().map(|(server, _)| server.address()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), 20);
    for (server, client) in servers {
        let address = server.address();
        let nodes: Api<Node> = Api::all(client);
        // An open watch does not keep a server alive.
        let watch = nodes.watch(&WatchParams::default(), "0").await.unwrap();
        timeout(SOON, server.shutdown()).await.unwrap();
        drop(watch);
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }
}

#[tokio::test]
async fn a_server_ends_when_it_is_dropped() {
    let (server, _client) = support::server().await;
    let address = server.address();
    drop(server);
    timeout(SOON, async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error() {
    let (server, _client) = support::server().await;
    let second = Server::builder().listen(server.address()).start().await;
    let message = second.expect_err("the address is taken").to_string();
    assert!(message.contains(&server.address().to_string()), "{message}");
}
