//! Watches that lose, repeat or hold back events, or end.

use std::time::Duration;

use futures::future::FutureExt;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use http::{HeaderValue, header};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, WatchEvent, WatchParams};
use kube::{Client, ResourceExt};
use nico_apiserver::Server;
use nico_apiserver::faults::{EventType, Fault, Nth, Rule};
use tokio::time::timeout;

use crate::reflector::Reflector;
use crate::{SOON, config, create, eventually, maps, server};

type Events = BoxStream<'static, Result<WatchEvent<ConfigMap>, kube::Error>>;

/// A watch of what comes from now on.
async fn watch(maps: &Api<ConfigMap>, params: &WatchParams) -> Events {
    let list = maps.list(&ListParams::default()).await.unwrap();
    let version = list.metadata.resource_version.unwrap();
    maps.watch(params, &version).await.unwrap().boxed()
}

/// The next event: its type and the name of its object.
async fn next(events: &mut Events) -> Option<String> {
    let event = timeout(SOON, events.try_next()).await.unwrap().unwrap()?;
    Some(match event {
        WatchEvent::Added(map) => format!("ADDED {}", map.name_any()),
        WatchEvent::Modified(map) => format!("MODIFIED {}", map.name_any()),
        WatchEvent::Deleted(map) => format!("DELETED {}", map.name_any()),
        WatchEvent::Bookmark(_) => "BOOKMARK".to_owned(),
        WatchEvent::Error(status) => format!("ERROR {} {}", status.code, status.reason),
    })
}

#[tokio::test]
async fn a_dropped_event_is_missed_until_the_next_list() {
    let (server, client) = server().await;
    let maps = maps(&client);
    let mut reflector = Reflector::start(&maps).await;
    let lost = server.faults().add(
        Rule::new(Fault::DropEvent)
            .resource("configmaps")
            .name("lost"),
    );
    create(&maps, "lost").await;
    create(&maps, "seen").await;
    assert_eq!(reflector.next().await, "apply seen");
    assert_eq!(lost.hits(), 1);
    // A watch that goes on where it was does not bring it back.
    server
        .faults()
        .add(Rule::new(Fault::EndWatch).nth(Nth::First(1)));
    create(&maps, "later").await;
    assert_eq!(reflector.next().await, "apply later");
    assert!(!reflector.knows("lost"));

    server
        .faults()
        .add(Rule::new(Fault::ExpireWatch).nth(Nth::First(1)));
    assert_eq!(reflector.next().await, "error 410");
    assert_eq!(reflector.next().await, "init");
    eventually("the list brings it", async || reflector.knows("lost")).await;
}

#[tokio::test]
async fn a_dropped_deletion_leaves_a_ghost_in_the_store() {
    let (server, client) = server().await;
    let maps = maps(&client);
    create(&maps, "ghost").await;
    let mut reflector = Reflector::start(&maps).await;
    let rule = Rule::new(Fault::DropEvent).events([EventType::Deleted]);
    server.faults().add(rule);
    maps.delete("ghost", &DeleteParams::default())
        .await
        .unwrap();
    create(&maps, "seen").await;
    assert_eq!(reflector.next().await, "apply seen");
    assert!(reflector.knows("ghost"));
}

#[tokio::test]
async fn a_duplicated_event_comes_twice() {
    let (server, client) = server().await;
    let maps = maps(&client);
    let mut events = watch(&maps, &WatchParams::default()).await;
    let mut reflector = Reflector::start(&maps).await;
    let rule = Rule::new(Fault::DuplicateEvent).name("a");
    let twice = server.faults().add(rule);
    create(&maps, "a").await;
    create(&maps, "b").await;
    for expected in ["ADDED a", "ADDED a", "ADDED b"] {
        assert_eq!(next(&mut events).await.as_deref(), Some(expected));
    }
    for expected in ["apply a", "apply a", "apply b"] {
        assert_eq!(reflector.next().await, expected);
    }
    assert_eq!(twice.hits(), 2);
}

#[tokio::test]
async fn events_are_counted_by_the_rule() {
    let (server, client) = server().await;
    let maps = maps(&client);
    let mut events = watch(&maps, &WatchParams::default()).await;
    let rule = Rule::new(Fault::DropEvent).resource("configmaps");
    let lost = server.faults().add(rule.nth(Nth::Every(2)));
    for name in ["a", "b", "c", "d", "e"] {
        create(&maps, name).await;
    }
    for expected in ["ADDED a", "ADDED c", "ADDED e"] {
        assert_eq!(next(&mut events).await.as_deref(), Some(expected));
    }
    assert_eq!((lost.seen(), lost.hits()), (5, 2));
}

/// A client of its own, which rules can tell from others, and which gives up after a while
/// without an answer.
async fn impatient(server: &Server, patience: Duration) -> Api<ConfigMap> {
    let mut config = config(server).await;
    let agent = HeaderValue::from_static("impatient/1.0");
    config.headers.push((header::USER_AGENT, agent));
    config.read_timeout = Some(patience);
    maps(&Client::try_from(config).unwrap())
}

#[tokio::test]
async fn a_frozen_watch_is_silent_until_the_client_gives_up() {
    let (server, client) = server().await;
    let impatient = impatient(&server, Duration::from_millis(500)).await;
    let maps = maps(&client);
    let mut witness = watch(&maps, &WatchParams::default()).await;
    let mut frozen = watch(&impatient, &WatchParams::default()).await;
    let rule = Rule::new(Fault::FreezeWatch).user_agent("impatient/");
    let freeze = server.faults().add(rule);
    timeout(SOON, freeze.hit(1)).await.unwrap().unwrap();
    create(&maps, "a").await;
    assert_eq!(next(&mut witness).await.as_deref(), Some("ADDED a"));
    let given_up = timeout(SOON, frozen.next()).await.unwrap().unwrap();
    assert!(given_up.is_err(), "{given_up:?}");
}

#[tokio::test]
async fn a_watch_goes_on_with_what_it_held_back_when_it_thaws() {
    let (server, client) = server().await;
    let impatient = impatient(&server, SOON).await;
    let maps = maps(&client);
    let mut witness = watch(&maps, &WatchParams::default()).await;
    let mut frozen = watch(&impatient, &WatchParams::default()).await;
    let rule = Rule::new(Fault::FreezeWatch).user_agent("impatient/");
    let freeze = server.faults().add(rule);
    timeout(SOON, freeze.hit(1)).await.unwrap().unwrap();
    for name in ["a", "b"] {
        create(&maps, name).await;
        let seen = format!("ADDED {name}");
        assert_eq!(next(&mut witness).await, Some(seen));
        assert!(frozen.next().now_or_never().is_none());
    }
    freeze.remove();
    for name in ["a", "b"] {
        let seen = format!("ADDED {name}");
        assert_eq!(next(&mut frozen).await, Some(seen));
    }
}

#[tokio::test]
async fn a_frozen_watch_does_not_end_at_its_timeout() {
    let (server, client) = server().await;
    let maps = maps(&client);
    let short = WatchParams::default().timeout(1);
    let mut frozen = watch(&maps, &short).await;
    let freeze = server
        .faults()
        .add(Rule::new(Fault::FreezeWatch).nth(Nth::First(1)));
    freeze.hit(1).await.unwrap();
    // One that was opened later ends by itself.
    let mut other = watch(&maps, &short).await;
    while next(&mut other).await.is_some() {}
    assert!(frozen.next().now_or_never().is_none());
    freeze.remove();
    while next(&mut frozen).await.is_some() {}
}

#[tokio::test]
async fn a_watch_that_ends_is_taken_up_where_it_was() {
    let (server, client) = server().await;
    let maps = maps(&client);
    let mut reflector = Reflector::start(&maps).await;
    create(&maps, "a").await;
    assert_eq!(reflector.next().await, "apply a");
    let end = server
        .faults()
        .add(Rule::new(Fault::EndWatch).nth(Nth::First(1)));
    timeout(SOON, end.hit(1)).await.unwrap().unwrap();
    create(&maps, "b").await;
    // No new list.
    assert_eq!(reflector.next().await, "apply b");
}

#[tokio::test]
async fn an_event_at_which_a_watch_ends_comes_with_the_next_watch() {
    let (server, client) = server().await;
    let maps = maps(&client);
    let mut reflector = Reflector::start(&maps).await;
    let rule = Rule::new(Fault::EndAtEvent).name("b");
    let end = server.faults().add(rule.nth(Nth::First(1)));
    for name in ["a", "b", "c"] {
        create(&maps, name).await;
    }
    for expected in ["apply a", "apply b", "apply c"] {
        assert_eq!(reflector.next().await, expected);
    }
    assert_eq!((end.seen(), end.hits()), (2, 1));
}

#[tokio::test]
async fn after_410_a_watcher_lists_anew() {
    let (server, client) = server().await;
    let maps = maps(&client);
    let mut events = watch(&maps, &WatchParams::default()).await;
    let mut reflector = Reflector::start(&maps).await;
    let rule = Rule::new(Fault::ExpireWatch).nth(Nth::First(2));
    let expire = server.faults().add(rule);
    let expired = next(&mut events).await;
    assert_eq!(expired.as_deref(), Some("ERROR 410 Expired"));
    assert_eq!(next(&mut events).await, None);
    assert_eq!(reflector.next().await, "error 410");
    assert_eq!(reflector.next().await, "init");
    assert_eq!(expire.hits(), 2);
}

#[tokio::test]
async fn an_event_that_is_410_instead_comes_with_the_new_list() {
    let (server, client) = server().await;
    let maps = maps(&client);
    let mut reflector = Reflector::start(&maps).await;
    let rule = Rule::new(Fault::ExpireAtEvent).name("b");
    let expire = server.faults().add(rule);
    create(&maps, "a").await;
    create(&maps, "b").await;
    assert_eq!(reflector.next().await, "apply a");
    assert_eq!(reflector.next().await, "error 410");
    assert_eq!(reflector.next().await, "init");
    eventually("the list brings it", async || reflector.knows("b")).await;
    assert_eq!(expire.hits(), 1);
}
