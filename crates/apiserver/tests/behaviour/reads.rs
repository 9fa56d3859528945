//! What reads, lists and watches answer.

use http::Request;
use serde_json::{Value, json};

use crate::support::sender::{Answer, Sender};
use crate::{MAPS, OURS, map, next};

#[tokio::test]
async fn a_read_of_one_object_is_no_watch_but_the_old_watch_paths_are() {
    let sender = Sender::new().await;
    sender.send("POST", MAPS, map("one")).await;
    let Answer { value: object, .. } = sender.get(&format!("{MAPS}/one?watch=true")).await;
    assert_eq!(object["kind"], "ConfigMap");
    let path = "/api/v1/watch/namespaces/default/configmaps/one";
    let mut events = sender.watch(path, "application/json").await;
    assert_eq!(next(&mut events).await["type"], "ADDED");
}

#[tokio::test]
async fn items_of_lists_do_not_repeat_the_type_of_built_in_kinds() {
    let sender = Sender::new().await;
    sender.send("POST", MAPS, map("one")).await;
    let Answer { value: list, .. } = sender.get(MAPS).await;
    assert_eq!(list["kind"], "ConfigMapList");
    assert!(list["items"][0].get("kind").is_none());
    assert!(list["metadata"].get("continue").is_none());
}

#[tokio::test]
async fn what_leaves_a_selection_is_deleted_as_it_was_with_the_new_version() {
    let sender = Sender::new().await;
    let mut events = sender
        .watch(
            &format!("{MAPS}?watch=true&labelSelector=in%3Dyes"),
            "application/json",
        )
        .await;
    let mut object = map("one");
    object["metadata"]["labels"] = json!({"in": "yes"});
    sender.send("POST", MAPS, object).await;
    assert_eq!(next(&mut events).await["type"], "ADDED");
    let patch = json!({"metadata": {"labels": {"in": "no"}}});
    let Answer { value: changed, .. } = sender
        .send("PATCH:merge", &format!("{MAPS}/one"), patch)
        .await;
    let event = next(&mut events).await;
    assert_eq!(event["type"], "DELETED");
    assert_eq!(event["object"]["metadata"]["labels"]["in"], "yes");
    let version = &event["object"]["metadata"]["resourceVersion"];
    assert_eq!(version, &changed["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn a_watch_of_tables_tells_the_columns_once() {
    let sender = Sender::new().await;
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let mut events = sender
        .watch(&format!("{MAPS}?watch=true&{OURS}"), accept)
        .await;
    for name in ["one", "two"] {
        sender.send("POST", MAPS, map(name)).await;
        let event = next(&mut events).await;
        assert_eq!(
            event["object"]["columnDefinitions"].is_array(),
            name == "one"
        );
        assert_eq!(event["object"]["rows"][0]["cells"][0], name);
    }
}

#[tokio::test]
async fn the_metadata_of_a_list_must_be_asked_for_as_a_list() {
    let sender = Sender::new().await;
    let accept = |kind: &str| format!("application/json;as={kind};v=v1;g=meta.k8s.io");
    let ask = async |kind: &str| {
        sender
            .send_as("GET", MAPS, Value::Null, &accept(kind))
            .await
            .code
    };
    assert_eq!(ask("PartialObjectMetadata").await, 406);
    assert_eq!(ask("PartialObjectMetadataList").await, 200);
}

#[tokio::test]
async fn a_list_can_be_read_in_parts_that_belong_together() {
    let sender = Sender::new().await;
    let secrets = "/api/v1/namespaces/default/secrets";
    for name in ["a", "b", "c"] {
        let secret = json!({"metadata": {"name": name}});
        sender.send("POST", secrets, secret).await;
    }
    let Answer { value: first, .. } = sender.get(&format!("{secrets}?limit=2")).await;
    assert_eq!(first["metadata"]["remainingItemCount"], 1);
    sender
        .send("DELETE", &format!("{secrets}/c"), Value::Null)
        .await;
    let token = first["metadata"]["continue"]
        .as_str()
        .expect("there is more");
    let Answer { value: second, .. } = sender
        .get(&format!("{secrets}?limit=2&continue={token}"))
        .await;
    assert_eq!(
        second["items"][0]["metadata"]["name"], "c",
        "as it was at the first part"
    );
    assert_eq!(
        second["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
}

#[tokio::test]
async fn both_groups_show_the_same_events() {
    let sender = Sender::new().await;
    let new = "/apis/events.k8s.io/v1/namespaces/default/events";
    let event = json!({
        "metadata": {"name": "e"}, "regarding": {"kind": "Node", "name": "n"}, "type": "Normal",
        "reason": "R", "action": "A", "note": "hi", "eventTime": "2001-02-03T04:05:06.000007Z",
        "reportingController": "example.com/c", "reportingInstance": "c-1",
    });
    assert_eq!(sender.send("POST", new, event.clone()).await.code, 201);
    let core = sender
        .get("/api/v1/namespaces/default/events/e")
        .await
        .value;
    assert_eq!(
        (&core["message"], &core["source"]),
        (&"hi".into(), &json!({}))
    );
    let mut untimed = event;
    untimed["metadata"]["name"] = "f".into();
    untimed["eventTime"] = Value::Null;
    let Answer {
        code,
        value: status,
        ..
    } = sender.send("POST", new, untimed).await;
    assert_eq!((code, &status["details"]["kind"]), (422, &"Event".into()));
    assert!(status["details"]["group"].is_null(), "{status}");
}

#[tokio::test]
async fn clients_keep_the_discovery_document_while_it_is_the_same() {
    let sender = Sender::new().await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let ask = async |tag: Option<&str>| {
        let mut request = Request::get("/apis").header(http::header::ACCEPT, accept);
        if let Some(tag) = tag {
            request = request.header(http::header::IF_NONE_MATCH, tag);
        }
        let request = request.body(Vec::new().into()).expect("a request");
        let answer = sender.client.send(request).await.expect("an answer");
        let tag = answer.headers()[http::header::ETAG].to_str().expect("text");
        (answer.status().as_u16(), tag.to_owned())
    };
    let (code, tag) = ask(None).await;
    assert_eq!(code, 200);
    assert_eq!(ask(Some(&tag)).await, (304, tag));
}

#[tokio::test]
async fn a_review_says_about_whom_and_what_it_asks() {
    let sender = Sender::new().await;
    let reviews = "/apis/authorization.k8s.io/v1";
    let pods = json!({"verb": "get", "resource": "pods", "namespace": "default"});
    let refusal = async |path: &str, body: Value| {
        let answer = sender
            .send("POST", &format!("{reviews}/{path}"), body)
            .await;
        (answer.code, answer.message().to_owned())
    };
    let (code, message) = refusal("selfsubjectrulesreviews", json!({"spec": {}})).await;
    assert_eq!((code, message.as_str()), (400, "no namespace on request"));

    let asked = json!({"spec": {"resourceAttributes": pods}});
    let (code, message) = refusal("subjectaccessreviews", asked.clone()).await;
    assert_eq!(code, 422);
    assert_eq!(
        message,
        ".authorization.k8s.io \"\" is invalid: spec.user: Invalid value: \"\": at least one of \
         user or group must be specified"
    );
    let both = json!({"metadata": {"name": "a"}, "spec": {
        "user": "anna", "resourceAttributes": pods, "nonResourceAttributes": {"path": "/"}}});
    let (code, message) = refusal("subjectaccessreviews", both).await;
    assert_eq!(code, 422);
    assert!(
        message.contains("spec.nonResourceAttributes: Invalid value")
            && message.contains("cannot be specified in combination with resourceAttributes")
            && message.contains("metadata: Invalid value"),
        "{message}"
    );
    let elsewhere = json!({"spec": {"groups": ["crew"], "resourceAttributes": {"namespace": "b"}}});
    let local = "namespaces/default/localsubjectaccessreviews";
    let (code, message) = refusal(local, elsewhere).await;
    assert_eq!(code, 422);
    assert!(
        message.contains("must match metadata.namespace"),
        "{message}"
    );
    let (code, _) = refusal("selfsubjectaccessreviews", asked).await;
    assert_eq!(code, 201);
}

#[tokio::test]
async fn whatever_is_there_comes_whole() {
    let sender = Sender::new().await;
    for name in ["a", "b", "c"] {
        sender.send("POST", MAPS, map(name)).await;
    }
    let count = async |query: &str| {
        let list = sender
            .get(&format!("{MAPS}?{OURS}&limit=1&{query}"))
            .await
            .value;
        let more = list["metadata"]["continue"].as_str().map(str::to_owned);
        (list["items"].as_array().map(Vec::len), more)
    };
    assert_eq!(count("resourceVersion=0").await, (Some(3), None));
    let (first, more) = count("").await;
    assert_eq!(first, Some(1));
    let more = more.expect("there is more");
    assert_eq!(
        count(&format!("resourceVersion=0&continue={more}")).await.0,
        Some(1)
    );
}

#[tokio::test]
async fn a_short_watch_has_no_last_bookmark() {
    let sender = Sender::new().await;
    sender.send("POST", MAPS, map("one")).await;
    let path = format!("{MAPS}?watch=1&allowWatchBookmarks=true&timeoutSeconds=1&{OURS}");
    let request = Request::get(path).body(Vec::new()).unwrap();
    let events = sender.client.request_text(request).await.unwrap();
    let events: Vec<&str> = events.lines().collect();
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0].starts_with("{\"type\":\"ADDED\""), "{events:?}");
}
