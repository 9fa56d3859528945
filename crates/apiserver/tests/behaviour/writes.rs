//! What creations, replacements, patches and applies do.

use http::Request;
use serde_json::{Value, json};

use crate::support::sender::{Answer, Sender};
use crate::{LEASES, MAPS, lease, map};

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
