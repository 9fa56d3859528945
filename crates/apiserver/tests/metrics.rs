//! The server's own metrics.

mod support;

use futures::AsyncBufReadExt;
use http::Request;
use kube::Client;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn metrics(client: &Client) -> String {
    let request = Request::get("/metrics")
        .body(Vec::new())
        .expect("the request is complete");
    client.request_text(request).await.expect("metrics")
}

/// The value of the first line that has all these parts.
fn value(metrics: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let line = metrics.lines().find(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('{') && labels.iter().all(|l| rest.contains(l)))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn requests_objects_and_open_watches_are_counted() {
    let (_server, client) = support::server().await;
    let create = || {
        let body = br#"{"metadata": {"name": "a"}, "data": {"a": "1"}}"#.to_vec();
        let request = Request::post(MAPS).header("content-type", "application/json");
        let request = request.body(body).expect("the request is complete");
        client.request_text(request)
    };
    create().await.expect("it is new");
    create().await.expect_err("it is there already");
    let created = [
        "verb=\"POST\"",
        "resource=\"configmaps\"",
        "scope=\"resource\"",
    ];
    let shown = metrics(&client).await;
    for (code, expected) in [("code=\"201\"", 1.0), ("code=\"409\"", 1.0)] {
        let labels: Vec<&str> = created.into_iter().chain([code]).collect();
        let count = value(&shown, "apiserver_request_total", &labels);
        assert_eq!(count, Some(expected), "{labels:?} in {shown}");
    }
    let timed = value(&shown, "apiserver_request_duration_seconds_count", &created);
    assert_eq!(timed, Some(2.0), "{shown}");
    // Every namespace has the map of the authority.
    let maps = value(
        &shown,
        "apiserver_storage_objects",
        &["resource=\"configmaps\""],
    );
    assert_eq!(maps, Some(5.0), "{shown}");

    let open = || async {
        let labels = ["verb=\"WATCH\"", "resource=\"configmaps\""];
        value(
            &metrics(&client).await,
            "apiserver_longrunning_requests",
            &labels,
        )
    };
    let watch = Request::get(format!("{MAPS}?watch=1"))
        .body(Vec::new())
        .expect("the request is complete");
    let mut lines = client.request_stream(watch).await.expect("a watch").lines();
    futures::StreamExt::next(&mut lines)
        .await
        .expect("an event")
        .expect("a line");
    assert_eq!(open().await, Some(1.0));
    drop(lines);
    support::eventually("the watch is closed", async || open().await == Some(0.0)).await;
}
