//! Applying, refusing to apply, letting go.

use serde_json::{Value, json};

use super::{Store, conflict};
use crate::apply::ApplyError;

#[test]
fn applying_creates_the_object() {
    let mut store = Store::config_map();
    store
        .apply(
            "alpha",
            json!({"metadata": {"labels": {"l": "m"}}, "data": {"a": "1"}}),
        )
        .unwrap();
    assert_eq!(store.get("/data"), json!({"a": "1"}));
    assert_eq!(
        store.get("/metadata/managedFields"),
        json!([{"manager": "alpha", "operation": "Apply", "apiVersion": "v1",
                "time": "2024-01-01T00:00:01Z", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:data": {"f:a": {}}, "f:metadata": {"f:labels": {"f:l": {}}}}}])
    );
}

#[test]
fn conflicts_name_every_field_and_its_owner() {
    let mut store = Store::config_map();
    store
        .apply("alpha", json!({"data": {"a": "1", "b": "2"}}))
        .unwrap();
    assert_eq!(
        conflict(store.apply("beta", json!({"data": {"a": "x", "b": "y", "c": "z"}}))),
        (
            "Apply failed with 2 conflicts: conflicts with \"alpha\":\n- .data.a\n- .data.b".into(),
            vec![".data.a".into(), ".data.b".into()]
        )
    );
    store.apply("beta", json!({"data": {"c": "z"}})).unwrap();
    assert_eq!(store.get("/data"), json!({"a": "1", "b": "2", "c": "z"}));
    let (message, _) =
        conflict(store.apply("alpha", json!({"data": {"c": "other", "a": "1", "b": "2"}})));
    assert_eq!(
        message,
        "Apply failed with 1 conflict: conflict with \"beta\": .data.c"
    );
}

#[test]
fn a_field_stays_until_its_last_owner_lets_go() {
    let mut store = Store::config_map();
    store
        .apply("alpha", json!({"data": {"a": "1", "b": "2"}}))
        .unwrap();
    store.apply("beta", json!({"data": {"a": "1"}})).unwrap();
    store.apply("alpha", json!({"data": {"b": "2"}})).unwrap();
    assert_eq!(store.get("/data"), json!({"a": "1", "b": "2"}));
    assert_eq!(
        store.owners(),
        [
            r#"alpha Apply {"f:data":{"f:b":{}}}"#,
            r#"beta Apply {"f:data":{"f:a":{}}}"#
        ]
    );
    store.apply("beta", json!({})).unwrap();
    assert_eq!(store.get("/data"), json!({"b": "2"}));
    assert_eq!(store.owners(), [r#"alpha Apply {"f:data":{"f:b":{}}}"#]);
}

#[test]
fn leaving_a_field_out_removes_it() {
    let mut store = Store::config_map();
    let metadata = json!({"labels": {"l": "m"}, "annotations": {"n": "o"}});
    store
        .apply(
            "alpha",
            json!({"metadata": metadata, "data": {"a": "1", "b": "2"}}),
        )
        .unwrap();
    store.apply("alpha", json!({"data": {"a": "1"}})).unwrap();
    assert_eq!(store.get("/data"), json!({"a": "1"}));
    assert_eq!(store.get("/metadata/labels"), Value::Null);
    assert_eq!(store.owners(), [r#"alpha Apply {"f:data":{"f:a":{}}}"#]);
    store.apply("alpha", json!({})).unwrap();
    assert_eq!(
        store.object,
        Some(json!({"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "one"}}))
    );
}

#[test]
fn force_takes_fields_from_their_owners() {
    let mut store = Store::config_map();
    store
        .apply("alpha", json!({"data": {"a": "1", "b": "2"}}))
        .unwrap();
    store.force("beta", json!({"data": {"a": "x"}}));
    assert_eq!(store.get("/data"), json!({"a": "x", "b": "2"}));
    assert_eq!(
        store.owners(),
        [
            r#"alpha Apply {"f:data":{"f:b":{}}}"#,
            r#"beta Apply {"f:data":{"f:a":{}}}"#
        ]
    );
    let (message, _) = conflict(store.apply("alpha", json!({"data": {"a": "1", "b": "2"}})));
    assert_eq!(
        message,
        "Apply failed with 1 conflict: conflict with \"beta\": .data.a"
    );
}

#[test]
fn applying_the_same_again_changes_nothing() {
    let mut store = Store::config_map();
    store.apply("alpha", json!({"data": {"a": "1"}})).unwrap();
    let before = store.object.clone();
    store.apply("alpha", json!({"data": {"a": "1"}})).unwrap();
    assert_eq!(store.object, before);
}

#[test]
fn status_has_owners_of_its_own() {
    let mut store = Store::custom(json!({"type": "object", "properties":
        {"size": {"type": "integer"}}}));
    let mut main = store.request("alpha", false);
    main.reset_fields = vec!["status".into()];
    let mut status = store.request("ctl", false);
    status.subresource = Some("status".into());
    status.reset_fields = vec!["spec".into(), "metadata".into()];
    store
        .send(
            json!({"spec": {"size": 1}, "status": {"dropped": "yes"}}),
            &main,
        )
        .unwrap();
    assert_eq!(store.get("/status"), Value::Null);
    store
        .send(
            json!({"spec": {"size": 5}, "status": {"phase": "ok"}}),
            &status,
        )
        .unwrap();
    assert_eq!(store.get("/spec/size"), 1);
    assert_eq!(
        store.owners(),
        [
            r#"alpha Apply {"f:spec":{"f:size":{}}}"#,
            r#"ctl Apply/status {"f:status":{"f:phase":{}}}"#,
        ]
    );
    store.send(json!({"spec": {"size": 2}}), &main).unwrap();
    store
        .send(json!({"status": {"phase": "ok", "n": 1}}), &status)
        .unwrap();
    assert_eq!(store.get("/status"), json!({"phase": "ok", "n": 1}));
    assert_eq!(
        store.owners()[1],
        r#"ctl Apply/status {"f:status":{"f:n":{},"f:phase":{}}}"#
    );
}

#[test]
fn configurations_that_do_not_fit_are_refused() {
    let mut store = Store::custom(super::lists::lists_and_maps());
    for (applied, at) in [
        (json!({"spec": {"bogus": 1}}), ".spec.bogus"),
        (json!({"spec": {"map": [{"v": "1"}]}}), ".spec.map"),
        (
            json!({"spec": {"map": [{"id": "1"}, {"id": "1"}]}}),
            ".spec.map",
        ),
        (json!({"spec": {"set": ["a", "a"]}}), ".spec.set"),
    ] {
        let refused = store.apply("alpha", applied).unwrap_err().to_string();
        let beginning = format!(
            "failed to create typed patch object (/one; example.com/v1, Kind=Thing): {at}: "
        );
        assert!(refused.starts_with(&beginning), "{refused}");
    }
    let owned = json!({"metadata": {"managedFields": [{"manager": "x", "operation": "Apply"}]}});
    let refused = store.apply("alpha", owned);
    assert_eq!(
        refused,
        Err(ApplyError::BadRequest(
            "metadata.managedFields must be nil".into()
        ))
    );
}

#[test]
fn kubectl_takes_over_what_it_applied_on_the_client() {
    let mut store = Store::config_map();
    let annotation = "kubectl.kubernetes.io/last-applied-configuration";
    let mut configuration = json!({"metadata": {"name": "one"}, "data": {"a": "1", "b": "2"}});
    let text = configuration.to_string();
    configuration["metadata"]["annotations"] = json!({annotation: text});
    store.write("kubectl-client-side-apply", configuration);
    store.patch("editor", json!({"data": {"b": "edited"}}));
    let applied = json!({"data": {"a": "9", "b": "9"}});
    let (_, fields) = conflict(store.apply("other", applied.clone()));
    assert_eq!(fields, [".data.b", ".data.a"]);
    let (_, fields) = conflict(store.apply("kubectl", applied));
    assert_eq!(fields, [".data.b"], "what others changed since is theirs");
    store.apply("kubectl", json!({"data": {"a": "9"}})).unwrap();
    assert_eq!(store.get("/data"), json!({"a": "9", "b": "edited"}));
    let kept = store.get("/metadata/annotations")[annotation]
        .as_str()
        .unwrap()
        .to_owned();
    let kept: Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(kept["data"], json!({"a": "9"}));
}

#[test]
fn letting_go_of_a_field_leaves_those_beside_it_that_nobody_owns() {
    let mut store = Store::custom(json!({
        "type": "object", "properties": {
            "own": {"type": "object", "additionalProperties": {"type": "string"}},
            "defaulted": {"type": "string"},
        },
    }));
    store
        .apply("alpha", json!({"spec": {"own": {"a": "1"}}}))
        .unwrap();
    store.object.as_mut().unwrap()["spec"]["defaulted"] = "x".into();
    store.apply("alpha", json!({"spec": {}})).unwrap();
    assert_eq!(store.get("/spec"), json!({"defaulted": "x"}));
}
