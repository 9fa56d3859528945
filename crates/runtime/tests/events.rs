//! Events against the API server: repeated ones are counted, as long as they are remembered.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event as Published;
use kube::api::{Api, ListParams, ObjectMeta};
use nico_runtime::events::{Event, EventKind, Events};
use nico_testbed::ControlPlane;

fn event(note: &str) -> Event {
    Event {
        kind: EventKind::Normal,
        reason: "Tried",
        action: "Try",
        note: note.to_owned(),
    }
}

fn object(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("default".to_owned()),
            uid: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

/// How often each Event about an object was seen.
async fn counts(events: &Api<Published>, name: &str) -> Vec<i32> {
    let about = ListParams::default().fields(&format!("regarding.name={name}"));
    let mut counts: Vec<i32> = events
        .list(&about)
        .await
        .unwrap()
        .items
        .into_iter()
        .map(|event| event.series.map_or(1, |series| series.count))
        .collect();
    counts.sort_unstable();
    counts
}

#[tokio::test]
async fn a_repeated_event_is_counted_until_hundreds_of_others_came() {
    let server = ControlPlane::start().await.unwrap();
    let client = server.client().await.unwrap();
    let events = Events::new(client.clone(), "tester");
    let published: Api<Published> = Api::namespaced(client, "default");

    for _ in 0..3 {
        events.publish(&object("watched"), event("again")).await;
    }
    assert_eq!(counts(&published, "watched").await, [3]);

    for number in 0..500 {
        let other = object(&format!("other-{number}"));
        events.publish(&other, event("once")).await;
    }
    events.publish(&object("watched"), event("again")).await;
    assert_eq!(counts(&published, "watched").await, [1, 3]);
}
