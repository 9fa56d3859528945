//! Owners by plain writes.

use serde_json::json;

use super::{Store, conflict};

#[test]
fn plain_writes_own_what_they_change() {
    let mut store = Store::config_map();
    store.write(
        "maker",
        json!({"metadata": {"labels": {"l": "m"}}, "data": {"a": "1"}}),
    );
    let labels = r#""f:metadata":{"f:labels":{".":{},"f:l":{}}}"#;
    assert_eq!(
        store.owners(),
        [format!(
            r#"maker Update {{"f:data":{{".":{{}},"f:a":{{}}}},{labels}}}"#
        )]
    );
    store.patch("other", json!({"data": {"b": "2"}}));
    store.patch("third", json!({"data": {"a": null}}));
    assert_eq!(
        store.owners(),
        [
            format!(r#"maker Update {{"f:data":{{}},{labels}}}"#),
            r#"other Update {"f:data":{"f:b":{}}}"#.to_owned(),
        ]
    );
    store.patch("maker", json!({"data": {"c": "3"}}));
    assert_eq!(
        store.owners()[1],
        format!(r#"maker Update {{"f:data":{{".":{{}},"f:c":{{}}}},{labels}}}"#)
    );
}

#[test]
fn plain_writes_take_fields_from_appliers() {
    let mut store = Store::config_map();
    store
        .apply("alpha", json!({"data": {"a": "1", "b": "2"}}))
        .unwrap();
    store.patch("editor", json!({"data": {"a": "9"}}));
    let owners = [
        r#"alpha Apply {"f:data":{"f:b":{}}}"#,
        r#"editor Update {"f:data":{"f:a":{}}}"#,
    ];
    assert_eq!(store.owners(), owners);
    let (message, _) = conflict(store.apply("alpha", json!({"data": {"a": "1", "b": "2"}})));
    assert_eq!(
        message,
        "Apply failed with 1 conflict: conflict with \"editor\" using v1: .data.a"
    );
    store
        .apply("alpha", json!({"data": {"a": "9", "b": "2"}}))
        .unwrap();
    assert_eq!(
        store.owners()[0],
        r#"alpha Apply {"f:data":{"f:a":{},"f:b":{}}}"#
    );
    store.apply("alpha", json!({"data": {"b": "2"}})).unwrap();
    assert_eq!(store.get("/data"), json!({"a": "9", "b": "2"}));
    assert_eq!(store.owners(), owners);
}

#[test]
fn a_write_that_changes_nothing_leaves_owners_alone() {
    let mut store = Store::config_map();
    store.write("maker", json!({"data": {"a": "1"}}));
    let before = store.object.clone();
    store.patch("other", json!({"data": {"a": "1"}}));
    assert_eq!(store.object, before);
}

#[test]
fn creating_a_deployment_owns_its_fields_not_its_structure() {
    let mut store = Store::of_kind("apps", "Deployment", "apps/v1");
    store.write(
        "maker",
        json!({
            "metadata": {"name": "one"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "one"}},
                     "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
                     "template": {"metadata": {"labels": {"app": "one"}}, "spec": {
                         "containers": [{"name": "a", "image": "a:1", "resources": {},
                                         "ports": [{"containerPort": 80, "protocol": "TCP"}]}],
                         "securityContext": {}}}},
            "status": {},
        }),
    );
    assert_eq!(
        store.get("/metadata/managedFields/0/fieldsV1"),
        json!({"f:spec": {
            "f:replicas": {},
            "f:selector": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
            "f:template": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {
                    "f:containers": {r#"k:{"name":"a"}"#: {
                        ".": {}, "f:image": {}, "f:name": {}, "f:resources": {},
                        "f:ports": {".": {}, r#"k:{"containerPort":80,"protocol":"TCP"}"#:
                            {".": {}, "f:containerPort": {}, "f:protocol": {}}}}},
                    "f:securityContext": {}}}}})
    );
}

#[test]
fn an_object_that_nobody_kept_track_of_belongs_to_those_before() {
    let mut store = Store::config_map();
    store.object = Some(json!({"metadata": {"name": "one"}, "data": {"a": "1"}}));
    store.patch("editor", json!({"data": {"b": "2"}}));
    assert_eq!(store.owners(), [""; 0]);
    let (message, _) = conflict(store.apply("alpha", json!({"data": {"a": "x"}})));
    assert_eq!(
        message,
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.a"
    );
    store.apply("alpha", json!({"data": {"a": "1"}})).unwrap();
    assert_eq!(
        store.owners(),
        [
            r#"alpha Apply {"f:data":{"f:a":{}}}"#,
            r#"before-first-apply Update {"f:data":{".":{},"f:a":{},"f:b":{}}}"#,
        ]
    );
}

#[test]
fn clients_can_edit_and_reset_managed_fields() {
    let mut store = Store::config_map();
    store.write("maker", json!({"data": {"a": "1"}}));
    store.patch("editor", json!({"metadata": {"managedFields": []}}));
    assert_eq!(store.owners().len(), 1, "an empty list is not a reset");
    store.patch(
        "editor",
        json!({"metadata": {"managedFields": [{"operation": "Bogus"}]}}),
    );
    assert_eq!(
        store.owners().len(),
        1,
        "what cannot be understood is not taken"
    );
    store.patch("editor", json!({"metadata": {"managedFields": [{}]}}));
    assert_eq!(store.get("/metadata"), json!({}));
}

#[test]
fn the_oldest_writers_are_put_together() {
    let mut store = Store::config_map();
    store.write("m00", json!({"data": {"k00": "v"}}));
    for writer in 1..12 {
        let key = format!("k{writer:02}");
        store.patch(&format!("m{writer:02}"), json!({"data": {key: "v"}}));
    }
    let owners = store.owners();
    assert_eq!(owners.len(), 10);
    assert!(
        owners[0]
            .starts_with("ancient-changes Update {\"f:data\":{\".\":{},\"f:k00\":{},\"f:k01\"")
    );
}
