//! Reads that show the past.

use kube::ResourceExt;
use kube::api::{GetParams, ListParams, PostParams};
use nico_apiserver::faults::{AsOf, Fault, Rule};

use crate::{create, map, maps, names, server, value};

fn stale(as_of: AsOf, only_cached: bool) -> Rule {
    Rule::new(Fault::Stale { as_of, only_cached }).resource("configmaps")
}

#[tokio::test]
async fn stale_reads_show_what_was_there_and_writes_what_is_there() {
    let (server, client) = server().await;
    let maps = maps(&client);
    let old = create(&maps, "a").await;
    let version = old.resource_version().unwrap();
    let mut new = old.clone();
    new.data = map("a", "2").data;
    let new = maps
        .replace("a", &PostParams::default(), &new)
        .await
        .unwrap();
    create(&maps, "b").await;

    let as_of = AsOf::Revision(version.parse().unwrap());
    let lag = server.faults().add(stale(as_of, false));
    assert_eq!(maps.get("a").await.unwrap(), old);
    assert!(maps.get_opt("b").await.unwrap().is_none());
    let list = maps.list(&ListParams::default()).await.unwrap();
    assert_eq!(list.metadata.resource_version, Some(version));
    assert!(list.iter().all(|map| map.name_any() != "b"));
    // A write that begins with what was read is refused, as it must be.
    let mut changed = old.clone();
    changed.data = map("a", "3").data;
    let refused = maps.replace("a", &PostParams::default(), &changed).await;
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.reason == "Conflict"));
    assert_eq!(lag.hits(), 3);

    lag.remove();
    assert_eq!(maps.get("a").await.unwrap(), new);
}

#[tokio::test]
async fn a_read_that_lags_a_write_behind_misses_that_write() {
    let (server, client) = server().await;
    let maps = maps(&client);
    create(&maps, "a").await;
    let before = names(&maps).await;
    server.faults().add(stale(AsOf::Behind(1), false));
    create(&maps, "b").await;
    assert_eq!(names(&maps).await, before);
}

#[tokio::test]
async fn a_stale_cache_does_not_touch_reads_of_the_newest_state() {
    let (server, client) = server().await;
    let maps = maps(&client);
    let old = create(&maps, "a").await;
    let mut new = old.clone();
    new.data = map("a", "2").data;
    maps.replace("a", &PostParams::default(), &new)
        .await
        .unwrap();
    let lag = server.faults().add(stale(AsOf::Behind(1), true));
    assert_eq!(value(&maps.get("a").await.unwrap()), "2");
    let cached = maps.get_with("a", &GetParams::any()).await.unwrap();
    assert_eq!(value(&cached), "1");
    let list = async |params: ListParams| {
        let list = maps.list(&params).await.unwrap();
        let found = list.iter().find(|map| map.name_any() == "a").unwrap();
        value(found).to_owned()
    };
    assert_eq!(list(ListParams::default()).await, "2");
    assert_eq!(list(ListParams::default().match_any()).await, "1");
    assert_eq!(lag.hits(), 2);
}

#[tokio::test]
async fn a_stale_server_does_not_pretend_to_know_a_newer_version() {
    let (server, client) = server().await;
    let maps = maps(&client);
    create(&maps, "a").await;
    let version = create(&maps, "b").await.resource_version().unwrap();
    server.faults().add(stale(AsOf::Behind(1), false));
    let params = ListParams::default()
        .at(&version)
        .matching(kube::api::VersionMatch::NotOlderThan);
    let error = maps.list(&params).await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 504));
}
