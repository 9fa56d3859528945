//! Restarts, with the history and without it.

use std::time::Duration;

use futures::StreamExt;
use kube::api::{ListParams, PostParams, WatchParams};
use kube::{Client, ResourceExt};
use nico_apiserver::faults::{Fault, Nth, Rule, Verb};
use nico_apiserver::{History, Server};
use tokio::time::timeout;

use crate::reflector::Reflector;
use crate::{NEVER, SOON, config, create, eventually, map, maps, names, server};

#[tokio::test]
async fn a_restart_cuts_all_connections_and_keeps_address_certificates_and_objects() {
    let (server, client) = server().await;
    let maps = maps(&client);
    create(&maps, "a").await;
    let mut events = maps
        .watch(&WatchParams::default(), "0")
        .await
        .unwrap()
        .boxed();
    let slow = Rule::new(Fault::Latency {
        before: NEVER,
        after: Duration::ZERO,
    });
    let slow = server
        .faults()
        .add(slow.verbs([Verb::Create]).nth(Nth::First(1)));
    let waiting = tokio::spawn({
        let maps = maps.clone();
        async move { maps.create(&PostParams::default(), &map("lost", "1")).await }
    });
    timeout(SOON, slow.hit(1)).await.unwrap().unwrap();
    let address = server.address();

    timeout(SOON, server.restart(History::Kept))
        .await
        .unwrap()
        .unwrap();

    let answer = timeout(SOON, waiting).await.unwrap().unwrap();
    assert!(!matches!(answer, Ok(_) | Err(kube::Error::Api(_))));
    let rest = async { while let Some(Ok(_)) = events.next().await {} };
    timeout(SOON, rest).await.unwrap();
    assert_eq!(server.address(), address);
    // A client that still trusts the same authority, with the same certificate.
    let again = Client::try_from(config(&server).await).unwrap();
    let names = names(&crate::maps(&again)).await;
    assert!(names.contains(&"a".to_owned()));
    assert!(!names.contains(&"lost".to_owned()));
}

#[tokio::test]
async fn after_a_restart_with_its_history_a_watcher_goes_on_where_it_was() {
    let (server, client) = server().await;
    let maps = maps(&client);
    let mut reflector = Reflector::start(&maps).await;
    create(&maps, "a").await;
    assert_eq!(reflector.next().await, "apply a");
    // What the watch has not sent yet must not be missed.
    let frozen = server.faults().add(Rule::new(Fault::FreezeWatch));
    timeout(SOON, frozen.hit(1)).await.unwrap().unwrap();
    create(&maps, "b").await;
    server.restart(History::Kept).await.unwrap();
    frozen.remove();
    let mut said = reflector.next().await;
    while said.starts_with("failure") {
        said = reflector.next().await;
    }
    assert_eq!(said, "apply b");
}

#[tokio::test]
async fn after_a_restart_without_its_history_a_watcher_lists_anew() {
    let (server, client) = server().await;
    let maps = maps(&client);
    let mut reflector = Reflector::start(&maps).await;
    let rule = Rule::new(Fault::DropEvent).resource("configmaps");
    let lost = server.faults().add(rule);
    create(&maps, "a").await;
    timeout(SOON, lost.hit(1)).await.unwrap().unwrap();
    server.restart(History::Lost).await.unwrap();
    let mut said = reflector.next().await;
    while said.starts_with("failure") {
        said = reflector.next().await;
    }
    assert_eq!(said, "error 410");
    assert_eq!(reflector.next().await, "init");
    eventually("the list brings it", async || reflector.knows("a")).await;
    // The new watch works.
    lost.remove();
    create_patiently(&server, "b").await;
    assert_eq!(reflector.next().await, "apply b");
}

/// Creates with a client that has no connection from before a restart.
async fn create_patiently(server: &Server, name: &str) {
    let client = Client::try_from(config(server).await).unwrap();
    create(&maps(&client), name).await;
}

#[tokio::test]
async fn old_versions_are_gone_with_the_history_and_the_newest_is_not() {
    let (server, client) = server().await;
    let maps = maps(&client);
    let old = create(&maps, "a").await.resource_version().unwrap();
    let less_old = create(&maps, "b").await.resource_version().unwrap();
    let page = maps.list(&ListParams::default().limit(1)).await.unwrap();
    let token = page.metadata.continue_.unwrap();
    create(&maps, "c").await;
    server.restart(History::Lost).await.unwrap();

    let client = Client::try_from(config(&server).await).unwrap();
    let maps = crate::maps(&client);
    let first = async |version: &str| {
        let mut events = maps
            .watch(&WatchParams::default(), version)
            .await
            .unwrap()
            .boxed();
        let event = timeout(SOON, events.next()).await.unwrap().unwrap();
        match event.unwrap() {
            kube::api::WatchEvent::Error(status) => status.code.to_string(),
            kube::api::WatchEvent::Added(map) => map.name_any(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(first(&old).await, "410");
    assert_eq!(first(&less_old).await, "410");
    let list = ListParams::default().limit(1).continue_token(&token);
    let gone = maps.list(&list).await.unwrap_err();
    assert!(matches!(gone, kube::Error::Api(status) if status.code == 410));

    let list = maps.list(&ListParams::default()).await.unwrap();
    let now = list.metadata.resource_version.unwrap();
    create(&maps, "d").await;
    assert_eq!(first(&now).await, "d");
}
