//! What is easily missed: rules of the real API server that no schema tells.

mod support;

use std::time::Duration;

use futures::StreamExt;
use http::Request;
use serde_json::{Value, json};
use tokio::time::timeout;

use support::sender::{Answer, Sender};

const SOON: Duration = Duration::from_secs(20);
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Without the map that every namespace has.
const OURS: &str = "fieldSelector=metadata.name!%3Dkube-root-ca.crt";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

fn lease(name: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
        "spec": {"holderIdentity": "me", "renewTime": "2001-02-03T04:05:06.000007Z"},
    })
}

async fn next(events: &mut futures::stream::BoxStream<'static, Value>) -> Value {
    timeout(SOON, events.next())
        .await
        .expect("an event in time")
        .expect("the watch is open")
}

#[tokio::test]
async fn a_body_makes_a_deletion_ignore_the_options_of_the_query() {
    let sender = Sender::new().await;
    sender.send("POST", MAPS, map("one")).await;
    let path = format!("{MAPS}/one?dryRun=All");
    assert_eq!(sender.send("DELETE", &path, Value::Null).await.code, 200);
    assert_eq!(sender.get(&format!("{MAPS}/one")).await.code, 200);
    assert_eq!(sender.send("DELETE", &path, json!({})).await.code, 200);
    assert_eq!(sender.get(&format!("{MAPS}/one")).await.code, 404);
}

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
async fn a_put_makes_a_missing_lease_but_no_other_object() {
    let sender = Sender::new().await;
    assert_eq!(
        sender
            .send("PUT", &format!("{LEASES}/one"), lease("one"))
            .await
            .code,
        201
    );
    assert_eq!(
        sender
            .send("PUT", &format!("{MAPS}/one"), map("one"))
            .await
            .code,
        404
    );
}

#[tokio::test]
async fn only_some_kinds_can_be_replaced_without_a_version() {
    let sender = Sender::new().await;
    sender.send("POST", LEASES, lease("one")).await;
    sender.send("POST", MAPS, map("one")).await;
    assert_eq!(
        sender
            .send("PUT", &format!("{LEASES}/one"), lease("one"))
            .await
            .code,
        422
    );
    assert_eq!(
        sender
            .send("PUT", &format!("{MAPS}/one"), map("one"))
            .await
            .code,
        200
    );
}

#[tokio::test]
async fn a_replace_of_a_missing_key_succeeds_and_a_failed_test_does_not() {
    let sender = Sender::new().await;
    sender.send("POST", MAPS, map("one")).await;
    let path = format!("{MAPS}/one");
    let replace = json!([{"op": "replace", "path": "/data/new", "value": "1"}]);
    assert_eq!(sender.send("PATCH:json", &path, replace).await.code, 200);
    let test = json!([{"op": "test", "path": "/data/new", "value": "2"}]);
    assert_eq!(sender.send("PATCH:json", &path, test).await.code, 422);
    assert_eq!(sender.send("PATCH", &path, json!({})).await.code, 415);
}

#[tokio::test]
async fn generated_names_are_cut_so_that_they_fit() {
    let sender = Sender::new().await;
    let body = json!({"metadata": {"generateName": "x".repeat(70)}});
    let Answer {
        code,
        value: object,
        ..
    } = sender.send("POST", MAPS, body).await;
    assert_eq!(code, 201);
    assert_eq!(object["metadata"]["name"].as_str().map(str::len), Some(63));
}

#[tokio::test]
async fn times_of_leases_have_six_digits_of_fraction() {
    let sender = Sender::new().await;
    let mut wrong = lease("one");
    wrong["spec"]["renewTime"] = "2001-02-03T04:05:06Z".into();
    assert_eq!(sender.send("POST", LEASES, wrong).await.code, 400);
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
async fn strict_validation_refuses_creations_and_patches_with_different_codes() {
    let sender = Sender::new().await;
    sender.send("POST", MAPS, map("one")).await;
    let mut wrong = map("two");
    wrong["extra"] = 1.into();
    let strict = "fieldValidation=Strict";
    assert_eq!(
        sender
            .send("POST", &format!("{MAPS}?{strict}"), wrong)
            .await
            .code,
        400
    );
    let path = format!("{MAPS}/one?{strict}");
    assert_eq!(
        sender
            .send("PATCH:merge", &path, json!({"extra": 1}))
            .await
            .code,
        422
    );
}

#[tokio::test]
async fn a_strategic_patch_replaces_the_taints_of_a_node() {
    let sender = Sender::new().await;
    let taints = |key: &str| json!({"taints": [{"key": key, "effect": "NoSchedule"}]});
    let node = json!({"metadata": {"name": "one"}, "spec": taints("a")});
    assert_eq!(sender.send("POST", "/api/v1/nodes", node).await.code, 201);
    let patch = json!({"spec": taints("b")});
    let Answer { value: node, .. } = sender
        .send("PATCH:strategic", "/api/v1/nodes/one", patch)
        .await;
    assert_eq!(node["spec"], taints("b"));
}

#[tokio::test]
async fn a_node_that_is_applied_begins_with_its_status_and_nobody_owns_that() {
    let sender = Sender::new().await;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "one", "labels": {"a": "b"}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let path = "/api/v1/nodes/one?fieldManager=me";
    let made = sender.send("PATCH:apply", path, node).await;
    assert_eq!(made.code, 201, "{}", made.value);
    assert_eq!(made.value["status"]["conditions"][0]["type"], "Ready");
    let managers = &made.value["metadata"]["managedFields"];
    let owned = json!({"f:metadata": {"f:labels": {"f:a": {}}}});
    assert_eq!(
        (&managers[0]["fieldsV1"], &managers[1]),
        (&owned, &Value::Null)
    );
}

#[tokio::test]
async fn deletions_answer_with_pods_and_accounts_but_with_a_status_for_most_kinds() {
    let sender = Sender::new().await;
    let pod = json!({
        "metadata": {"name": "one"}, "spec": {"containers": [{"name": "a", "image": "b"}]},
    });
    for (resource, object, kind) in [
        ("pods", pod, "Pod"),
        (
            "serviceaccounts",
            json!({"metadata": {"name": "one"}}),
            "ServiceAccount",
        ),
        ("configmaps", map("one"), "Status"),
    ] {
        let path = format!("/api/v1/namespaces/default/{resource}");
        assert_eq!(
            sender.send("POST", &path, object).await.code,
            201,
            "{resource}"
        );
        let answer = sender
            .send("DELETE", &format!("{path}/one"), Value::Null)
            .await;
        assert_eq!(answer.value["kind"], kind);
    }
}

#[tokio::test]
async fn the_mark_of_deletion_raises_the_generation_of_pods() {
    let sender = Sender::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({
        "metadata": {"name": "one"},
        "spec": {"nodeName": "n", "containers": [{"name": "a", "image": "b"}]},
    });
    let Answer { value: pod, .. } = sender.send("POST", pods, pod).await;
    assert_eq!(pod["metadata"]["generation"], 1);
    let Answer { value: pod, .. } = sender
        .send("DELETE", &format!("{pods}/one"), Value::Null)
        .await;
    assert_eq!(pod["metadata"]["generation"], 2);
    assert_eq!(pod["metadata"]["deletionGracePeriodSeconds"], 30);
}

#[tokio::test]
async fn nothing_is_made_where_everything_goes() {
    let sender = Sender::new().await;
    let namespace = json!({"metadata": {"name": "going"}});
    sender
        .send("POST", "/api/v1/namespaces", namespace.clone())
        .await;
    let maps = "/api/v1/namespaces/going/configmaps";
    let mut held = map("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    sender.send("POST", maps, held).await;
    sender
        .send("DELETE", "/api/v1/namespaces/going", Value::Null)
        .await;
    let Answer {
        code,
        value: status,
        ..
    } = sender.send("POST", maps, map("late")).await;
    assert_eq!(code, 403);
    assert_eq!(
        status["details"]["causes"][0]["reason"],
        "NamespaceTerminating"
    );
    let Answer {
        code,
        value: status,
        ..
    } = sender.send("POST", "/api/v1/namespaces", namespace).await;
    assert_eq!(code, 409);
    let message = "object is being deleted: namespaces \"going\" already exists";
    assert_eq!(status["message"], message);
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

/// A Pod on a Node, with a label.
fn pod(name: &str, node: Option<&str>) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app": "x"}},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i:1"}]},
    })
}

#[tokio::test]
async fn a_binding_by_itself_names_its_pod_in_the_body() {
    let sender = Sender::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    sender.send("POST", pods, pod("a", None)).await;
    let binding = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
            "target": {"kind": "Node", "name": "n"}})
    };
    let place = format!("{pods}/a/binding");
    assert_eq!(sender.send("POST", &place, binding("b")).await.code, 400);
    let bindings = "/api/v1/namespaces/default/bindings";
    assert_eq!(sender.send("POST", bindings, binding("a")).await.code, 201);
    let bound = sender.get(&format!("{pods}/a")).await.value;
    assert_eq!(bound["spec"]["nodeName"], "n");
    assert_eq!(sender.send("POST", bindings, binding("a")).await.code, 409);
}

#[tokio::test]
async fn a_pod_with_two_budgets_is_not_evicted() {
    let sender = Sender::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    sender.send("POST", pods, pod("a", Some("n"))).await;
    let status = json!({"status": {"phase": "Running"}});
    let path = format!("{pods}/a/status");
    sender.send("PATCH:merge", &path, status).await;
    for name in ["one", "two"] {
        let budget = json!({"metadata": {"name": name},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}});
        let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
        assert_eq!(sender.send("POST", budgets, budget).await.code, 201);
    }
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}});
    let path = format!("{pods}/a/eviction");
    let Answer {
        code,
        value: status,
        ..
    } = sender.send("POST", &path, eviction).await;
    assert_eq!((code, &status["reason"]), (500, &Value::Null));
    assert_eq!(sender.get(&format!("{pods}/a")).await.code, 200);
}

#[tokio::test]
async fn a_second_deletion_of_a_pod_shortens_its_time_only_if_it_says_so() {
    let sender = Sender::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    sender.send("POST", pods, pod("a", Some("n"))).await;
    for (query, seconds) in [
        ("?gracePeriodSeconds=60", 60),
        ("", 60),
        ("?gracePeriodSeconds=90", 60),
        ("?gracePeriodSeconds=-3", 1),
    ] {
        let path = format!("{pods}/a{query}");
        let deleted = sender.send("DELETE", &path, Value::Null).await.value;
        let given = &deleted["metadata"]["deletionGracePeriodSeconds"];
        assert_eq!(given, seconds, "{query}");
    }
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
async fn old_kinds_come_with_a_warning() {
    let sender = Sender::new().await;
    for (path, warned) in [
        ("/api/v1/namespaces/default/endpoints", true),
        ("/api/v1/componentstatuses", true),
        (MAPS, false),
    ] {
        let request = Request::get(path)
            .body(Vec::new().into())
            .expect("a request");
        let answer = sender.client.send(request).await.expect("an answer");
        let warning = answer.headers().contains_key(http::header::WARNING);
        assert_eq!(warning, warned, "{path}");
    }
}

#[tokio::test]
async fn a_namespace_keeps_the_finalizers_that_it_is_made_with() {
    let sender = Sender::new().await;
    let namespace = json!({"metadata": {"name": "a"}, "spec": {"finalizers": ["example.com/f"]}});
    let made = sender
        .send("POST", "/api/v1/namespaces", namespace)
        .await
        .value;
    let both = json!(["example.com/f", "kubernetes"]);
    assert_eq!(made["spec"]["finalizers"], both);
    let path = "/api/v1/namespaces/a";
    let deleted = sender.send("DELETE", path, Value::Null).await.value;
    let metadata = &deleted["metadata"];
    assert!(metadata["deletionTimestamp"].is_string(), "{metadata}");
    assert!(
        metadata["deletionGracePeriodSeconds"].is_null(),
        "{metadata}"
    );
}

#[tokio::test]
async fn an_apply_makes_a_missing_object_though_it_names_a_version() {
    let sender = Sender::new().await;
    let mut one = map("one");
    one["metadata"]["resourceVersion"] = "1".into();
    assert_eq!(sender.send("POST", MAPS, &one).await.code, 400);
    let path = format!("{MAPS}/one?fieldManager=me");
    let made = sender.send("PATCH:apply", &path, &one).await;
    assert_eq!(made.code, 201, "{}", made.value);
    assert_ne!(made.value["metadata"]["resourceVersion"], "1");
    // Now the version is that of another object.
    assert_eq!(sender.send("PATCH:apply", &path, &one).await.code, 409);
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
async fn the_pods_of_a_job_stay_unless_the_deletion_says_otherwise() {
    let sender = Sender::new().await;
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    let job = json!({"metadata": {"name": "one"}, "spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    let path = format!("{jobs}/one?dryRun=All");
    sender.send("POST", jobs, job).await;
    let kept = sender.send("DELETE", &path, Value::Null).await;
    assert_eq!(kept.value["metadata"]["finalizers"], json!(["orphan"]));
    let warning = kept.warning.expect("a warning");
    assert!(
        warning.contains("child pods are preserved by default"),
        "{warning}"
    );
    let path = format!("{path}&propagationPolicy=Background");
    let gone = sender.send("DELETE", &path, Value::Null).await;
    assert_eq!(gone.value["status"], "Success", "{}", gone.value);
    assert!(gone.warning.is_none());
}
