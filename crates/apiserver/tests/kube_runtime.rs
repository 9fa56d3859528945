//! The machinery of `kube`'s runtime, as controllers put it together, works against the server.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::PartialObjectMeta;
use kube::discovery::{Discovery, Scope, verbs};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::finalizer::{self, finalizer};
use kube::runtime::wait::{await_condition, conditions, delete::delete_and_finalize};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource, ResourceExt};
use serde_json::{Value, json};
use support::cluster::object;
use support::eventually;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

fn map(name: &str) -> ConfigMap {
    object(json!({"metadata": {"name": name, "labels": {"app": "web"}}, "data": {"key": name}}))
}

async fn create(maps: &Api<ConfigMap>, name: &str) -> ConfigMap {
    let created = maps.create(&PostParams::default(), &map(name)).await;
    created.expect("the name is free")
}

/// A map with an owner that its deletion waits for if it is in the foreground.
async fn create_owned(maps: &Api<ConfigMap>, name: &str, owner: &ConfigMap) {
    let mut owned = map(name);
    let mut reference = owner.controller_owner_ref(&()).expect("it is stored");
    reference.block_owner_deletion = Some(true);
    owned.owner_references_mut().push(reference);
    let created = maps.create(&PostParams::default(), &owned).await;
    created.expect("the name is free");
}

/// What a watcher said, without the objects: `apply a`, `delete a`, `init`, `listed a`, `done`.
fn said<K: Resource>(event: &Event<K>) -> String {
    let name = |object: &K| object.meta().name.clone().unwrap_or_default();
    match event {
        Event::Apply(object) if object.meta().deletion_timestamp.is_some() => {
            format!("going {}", name(object))
        }
        Event::Apply(object) => format!("apply {}", name(object)),
        Event::Delete(object) => format!("delete {}", name(object)),
        Event::Init => "init".to_owned(),
        Event::InitApply(object) => format!("listed {}", name(object)),
        Event::InitDone => "done".to_owned(),
    }
}

/// Reads events up to and with the one that is awaited.
async fn until<K, S>(events: &mut S, last: &str) -> Vec<String>
where
    K: Resource,
    S: futures::Stream<Item = watcher::Result<Event<K>>> + Unpin,
{
    let mut seen = Vec::new();
    let read = async {
        while seen.last().is_none_or(|said| said != last) {
            let event = events.try_next().await.expect("the watcher does not fail");
            seen.push(said(&event.expect("a watcher has no end")));
        }
    };
    let read = timeout(SOON, read).await;
    assert!(read.is_ok(), "no {last:?} after {seen:?}");
    seen
}

/// Writes a Secret with the content of each ConfigMap.
async fn copy(source: Arc<ConfigMap>, client: Arc<Client>) -> kube::Result<Action> {
    let secrets: Api<Secret> = Api::default_namespaced(client.as_ref().clone());
    let owner = source.controller_owner_ref(&());
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": source.name_any(), "ownerReferences": [owner]},
        "stringData": source.data,
    });
    let params = PatchParams::apply("copier").force();
    let patch = Patch::Apply(secret);
    secrets.patch(&source.name_any(), &params, &patch).await?;
    Ok(Action::await_change())
}

#[tokio::test]
async fn a_controller_puts_right_what_it_owns_when_others_touch_it() {
    let (_server, client) = support::server().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let secrets: Api<Secret> = Api::default_namespaced(client.clone());
    let selected = watcher::Config::default().labels("app=web");
    let controller = Controller::new(maps.clone(), selected)
        .owns(secrets.clone(), watcher::Config::default())
        .run(
            copy,
            |_, _, _| Action::requeue(Duration::from_millis(50)),
            Arc::new(client),
        )
        .for_each(|_| async {});
    let controller = tokio::spawn(controller);

    let source = create(&maps, "one").await;
    let has = |value: &'static str| {
        move |secret: Option<&Secret>| {
            let data = secret.and_then(|secret| secret.data.as_ref());
            data.is_some_and(|data| data["key"].0 == value.as_bytes())
        }
    };
    let wait = async |value| {
        let copied = await_condition(secrets.clone(), "one", has(value));
        let copied = timeout(SOON, copied).await.expect("not in time");
        copied.expect("it can be watched").expect("it is there")
    };
    let first = wait("one").await;
    assert_eq!(first.owner_references()[0].uid, source.uid().unwrap());

    secrets
        .delete("one", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the copy is made again", async || {
        let again = secrets.get_opt("one").await.unwrap();
        again.is_some_and(|again| again.uid() != first.uid())
    })
    .await;

    let spoiled = Patch::Merge(json!({"stringData": {"key": "spoiled"}}));
    let spoiled = secrets
        .patch("one", &PatchParams::default(), &spoiled)
        .await;
    assert!(has("spoiled")(Some(&spoiled.unwrap())));
    wait("one").await;

    let changed = Patch::Merge(json!({"data": {"key": "changed"}}));
    maps.patch("one", &PatchParams::default(), &changed)
        .await
        .unwrap();
    let last = wait("changed").await;

    maps.delete("one", &DeleteParams::default()).await.unwrap();
    let gone = conditions::is_deleted(last.metadata.uid.as_ref().unwrap());
    let gone = await_condition(secrets.clone(), "one", gone);
    timeout(SOON, gone).await.unwrap().unwrap();
    controller.abort();
}

#[tokio::test]
async fn a_finalizer_is_set_before_the_work_and_taken_off_after_the_cleanup() {
    let (_server, client) = support::server().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let done = Arc::new(Mutex::new(Vec::new()));
    let reconcile = {
        let (maps, done) = (maps.clone(), Arc::clone(&done));
        move |map: Arc<ConfigMap>, _: Arc<()>| {
            let (maps, done) = (maps.clone(), Arc::clone(&done));
            async move {
                finalizer(&maps, "example.com/cleanup", map, |event| async {
                    let (work, map) = match event {
                        finalizer::Event::Apply(map) => ("apply", map),
                        finalizer::Event::Cleanup(map) => ("cleanup", map),
                    };
                    let held = map.finalizers().concat();
                    let line = format!("{work} {} {held}", map.name_any());
                    let mut done = done.lock().expect("no test panics with the lock");
                    if !done.contains(&line) {
                        done.push(line);
                    }
                    Ok::<_, kube::Error>(Action::await_change())
                })
                .await
            }
        }
    };
    let selected = watcher::Config::default().labels("app=web");
    let controller = Controller::new(maps.clone(), selected)
        .run(
            reconcile,
            |_, _, _| Action::requeue(Duration::from_millis(50)),
            Arc::new(()),
        )
        .for_each(|_| async {});
    let controller = tokio::spawn(controller);

    // One that has no finalizers, and one that somebody else holds as well.
    let mut held = map("held");
    held.finalizers_mut().push("example.com/other".to_owned());
    create(&maps, "free").await;
    maps.create(&PostParams::default(), &held).await.unwrap();
    for name in ["free", "held"] {
        eventually("the work is done", async || {
            let start = format!("apply {name} ");
            let done = done.lock().unwrap();
            done.iter().any(|line| line.starts_with(&start))
        })
        .await;
    }

    let all = DeleteParams::default();
    let free = delete_and_finalize(maps.clone(), "free", &all);
    timeout(SOON, free).await.unwrap().unwrap();
    maps.delete("held", &all).await.unwrap();
    let alone = |map: Option<&ConfigMap>| map.is_some_and(|map| map.finalizers().len() == 1);
    let alone = await_condition(maps.clone(), "held", alone);
    let alone = timeout(SOON, alone).await.unwrap().unwrap().unwrap();
    assert_eq!(alone.finalizers(), ["example.com/other"]);
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("held", &PatchParams::default(), &release)
        .await
        .unwrap();
    assert!(maps.get_opt("held").await.unwrap().is_none());
    controller.abort();

    let done = done.lock().unwrap();
    let lines: BTreeSet<&str> = done.iter().map(String::as_str).collect();
    let expected = [
        "apply free example.com/cleanup",
        "apply held example.com/otherexample.com/cleanup",
        "cleanup free example.com/cleanup",
        "cleanup held example.com/otherexample.com/cleanup",
    ];
    assert_eq!(lines, BTreeSet::from(expected));
}

#[tokio::test]
async fn a_condition_is_awaited_from_before_an_object_exists_until_it_is_gone() {
    let (_server, client) = support::server().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let is_ready = |map: Option<&ConfigMap>| map.is_some_and(|map| map.labels()["app"] == "ready");
    let waiting = tokio::spawn(await_condition(maps.clone(), "one", is_ready));
    let created = create(&maps, "one").await;
    let uid = created.uid().unwrap();
    let ready = Patch::Merge(json!({"metadata": {"labels": {"app": "ready"}}}));
    let ready = maps.patch("one", &PatchParams::default(), &ready).await;
    let found = timeout(SOON, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(found, Some(ready.unwrap()));

    let gone = {
        let (maps, uid) = (maps.clone(), uid.clone());
        async move { await_condition(maps, "one", conditions::is_deleted(&uid)).await }
    };
    let gone = tokio::spawn(gone);
    maps.delete("one", &DeleteParams::default()).await.unwrap();
    // Another object with the name is not the one that was there.
    let next = create(&maps, "one").await;
    timeout(SOON, gone).await.unwrap().unwrap().unwrap();
    assert_ne!(next.uid().unwrap(), uid);
}

#[tokio::test]
async fn however_a_watcher_lists_it_begins_with_everything_once() {
    let (_server, client) = support::server().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        create(&maps, name).await;
    }
    let config = || watcher::Config::default().labels("app=web");
    for config in [
        config(),
        config().page_size(2),
        config().any_semantic(),
        config().streaming_lists(),
    ] {
        let mut events = watcher(maps.clone(), config.clone()).boxed();
        let begin = until(&mut events, "done").await;
        let mut expected = vec!["init".to_owned()];
        expected.extend(names.iter().map(|name| format!("listed {name}")));
        expected.push("done".to_owned());
        assert_eq!(begin, expected, "{config:?}");

        create(&maps, "later").await;
        // What loses the label is gone for this watcher, as if it were deleted.
        let lost = Patch::Merge(json!({"metadata": {"labels": null}}));
        maps.patch("later", &PatchParams::default(), &lost)
            .await
            .unwrap();
        let after = until(&mut events, "delete later").await;
        assert_eq!(after, ["apply later", "delete later"], "{config:?}");
        maps.delete("later", &DeleteParams::default())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_watcher_of_metadata_sees_changes_of_the_content_too() {
    let (_server, client) = support::server().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let metadata: Api<PartialObjectMeta<ConfigMap>> = Api::default_namespaced(client);
    create(&maps, "before").await;
    for config in [
        watcher::Config::default(),
        watcher::Config::default().streaming_lists(),
    ] {
        let mut events = watcher(metadata.clone(), config.labels("app=web")).boxed();
        let begin = until(&mut events, "done").await;
        assert_eq!(begin, ["init", "listed before", "done"]);

        create(&maps, "later").await;
        let event = timeout(SOON, events.try_next()).await.unwrap().unwrap();
        let Some(Event::Apply(seen)) = event else {
            panic!("{event:?}")
        };
        let types = seen.types.expect("items say what they are");
        assert_eq!(types.kind, "PartialObjectMetadata");
        assert_eq!(seen.metadata.labels.unwrap()["app"], "web");

        let changed = Patch::Merge(json!({"data": {"key": "changed"}}));
        maps.patch("later", &PatchParams::default(), &changed)
            .await
            .unwrap();
        maps.delete("later", &DeleteParams::default())
            .await
            .unwrap();
        let after = until(&mut events, "delete later").await;
        assert_eq!(after, ["apply later", "delete later"]);
    }
}

/// The groups with their versions, and their kinds with what can be done.
fn summary(discovery: &Discovery) -> BTreeMap<String, Value> {
    let groups = discovery.groups().map(|group| {
        let versions = group.versions().map(|version| {
            let kinds = group.versioned_resources(version).into_iter();
            let kinds = kinds.map(|(resource, capabilities)| {
                let operations: BTreeSet<_> = capabilities.operations.into_iter().collect();
                let subresources = capabilities.subresources.into_iter();
                let subresources: BTreeSet<_> =
                    subresources.map(|(resource, _)| resource.plural).collect();
                let scope = format!("{:?}", capabilities.scope);
                let what = json!([resource.kind, scope, operations, subresources]);
                (resource.plural, what)
            });
            (version.to_owned(), json!(kinds.collect::<BTreeMap<_, _>>()))
        });
        let versions = json!(versions.collect::<BTreeMap<_, _>>());
        (group.name().to_owned(), versions)
    });
    groups.collect()
}

#[tokio::test]
async fn both_kinds_of_discovery_find_the_same_and_all_that_is_found_can_be_listed() {
    let (_server, client) = support::server().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for (_, definition) in nico_api::crds::all() {
        definitions
            .create(&PostParams::default(), &definition)
            .await
            .unwrap();
        let name = definition.name_any();
        let known = conditions::is_crd_established();
        let known = await_condition(definitions.clone(), &name, known);
        timeout(SOON, known).await.unwrap().unwrap();
    }
    let plain = Discovery::new(client.clone()).run().await.unwrap();
    let aggregated = Discovery::new(client.clone()).run_aggregated().await;
    let (one, other) = (summary(&plain), summary(&aggregated.unwrap()));
    assert_eq!(
        one.keys().collect::<Vec<_>>(),
        other.keys().collect::<Vec<_>>()
    );
    for (group, versions) in &one {
        assert_eq!(*versions, other[group], "{group}");
    }
    assert!(plain.has_group("nio.homystack.com"));

    let mut listed = 0;
    for group in plain.groups() {
        for version in group.versions() {
            for (resource, capabilities) in group.versioned_resources(version) {
                if !capabilities.supports_operation(verbs::LIST) {
                    continue;
                }
                let objects: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
                let list = objects.list(&ListParams::default()).await;
                let list = list.unwrap_or_else(|error| panic!("{resource:?}: {error}"));
                assert_eq!(list.types.kind, format!("{}List", resource.kind));
                let namespaced = capabilities.scope == Scope::Namespaced;
                for object in list.items {
                    assert_eq!(object.namespace().is_some(), namespaced, "{resource:?}");
                }
                listed += 1;
            }
        }
    }
    assert!(listed > 50, "only {listed} kinds can be listed");
}

#[tokio::test]
async fn watchers_see_an_owner_wait_for_what_it_takes_along_in_the_foreground() {
    let (_server, client) = support::server().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let owner = create(&maps, "owner").await;
    for name in ["left", "right"] {
        create_owned(&maps, name, &owner).await;
    }
    let selected = watcher::Config::default().labels("app=web");
    let mut events = watcher(maps.clone(), selected).boxed();
    until(&mut events, "done").await;
    maps.delete("owner", &DeleteParams::foreground())
        .await
        .unwrap();
    let seen = until(&mut events, "delete owner").await;
    let at = |what: &str| {
        let found = seen.iter().position(|said| said == what);
        found.unwrap_or_else(|| panic!("no {what:?} in {seen:?}"))
    };
    assert_eq!(at("going owner"), 0);
    for name in ["delete left", "delete right"] {
        assert!(at(name) < at("delete owner"), "{seen:?}");
    }
}

#[tokio::test]
async fn watchers_see_a_chain_go_from_its_owner_down_and_orphans_stay() {
    let (_server, client) = support::server().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let first = create(&maps, "first").await;
    create_owned(&maps, "second", &first).await;
    let second = maps.get("second").await.unwrap();
    create_owned(&maps, "third", &second).await;
    let parent = create(&maps, "parent").await;
    create_owned(&maps, "orphan", &parent).await;
    let selected = watcher::Config::default().labels("app=web");
    let mut events = watcher(maps.clone(), selected).boxed();
    until(&mut events, "done").await;

    maps.delete("first", &DeleteParams::background())
        .await
        .unwrap();
    let seen = until(&mut events, "delete third").await;
    assert_eq!(seen, ["delete first", "delete second", "delete third"]);

    maps.delete("parent", &DeleteParams::orphan())
        .await
        .unwrap();
    let seen = until(&mut events, "delete parent").await;
    assert_eq!(seen, ["going parent", "apply orphan", "delete parent"]);
    let orphan = maps.get("orphan").await.unwrap();
    assert!(orphan.owner_references().is_empty());
}
