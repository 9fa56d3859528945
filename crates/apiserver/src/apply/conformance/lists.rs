//! Lists and maps of all types.

use serde_json::{Value, json};

use super::{Store, conflict};

/// The schema that the recorded scenarios use for lists and maps.
pub(super) fn lists_and_maps() -> Value {
    let pair = json!({"type": "object",
                      "properties": {"x": {"type": "string"}, "y": {"type": "string"}}});
    let mut whole = pair.clone();
    whole["x-kubernetes-map-type"] = "atomic".into();
    json!({"type": "object", "properties": {
        "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "atom": {"type": "array", "items": {"type": "string"}},
        "map": {"type": "array", "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["id"],
                "items": {"type": "object", "required": ["id"], "properties":
                          {"id": {"type": "string"}, "v": {"type": "string"}}}},
        "whole": whole,
        "free": pair,
    }})
}

#[test]
fn keyed_items_have_owners_of_their_own() {
    let mut store = Store::custom(lists_and_maps());
    let first = json!([{"id": "1", "v": "a"}, {"id": "2", "v": "b"}]);
    store
        .apply("alpha", json!({"spec": {"map": first, "free": {"x": "1"}}}))
        .unwrap();
    let second = json!([{"id": "3", "v": "c"}, {"id": "1"}]);
    store
        .apply("beta", json!({"spec": {"map": second, "free": {"y": "2"}}}))
        .unwrap();
    assert_eq!(
        store.get("/spec"),
        json!({"free": {"x": "1", "y": "2"},
               "map": [{"id": "3", "v": "c"}, {"id": "1", "v": "a"}, {"id": "2", "v": "b"}]})
    );
    store
        .apply("alpha", json!({"spec": {"map": [{"id": "2", "v": "b"}]}}))
        .unwrap();
    assert_eq!(
        store.get("/spec"),
        json!({"free": {"y": "2"},
               "map": [{"id": "3", "v": "c"}, {"id": "1"}, {"id": "2", "v": "b"}]})
    );
    let owners = store.get("/metadata/managedFields");
    assert_eq!(
        owners
            .as_array()
            .unwrap()
            .iter()
            .map(|owner| &owner["fieldsV1"])
            .collect::<Vec<_>>(),
        [
            &json!({"f:spec": {"f:free": {"f:y": {}}, "f:map": {
                r#"k:{"id":"1"}"#: {".": {}, "f:id": {}},
                r#"k:{"id":"3"}"#: {".": {}, "f:id": {}, "f:v": {}}}}}),
            &json!({"f:spec": {"f:map": {
                r#"k:{"id":"2"}"#: {".": {}, "f:id": {}, "f:v": {}}}}}),
        ]
    );
    let (message, fields) = conflict(store.apply(
        "beta",
        json!({"spec": {"map": [{"id": "2", "v": "other"}]}}),
    ));
    assert_eq!(fields, [".spec.map[id=\"2\"].v"]);
    assert_eq!(
        message,
        "Apply failed with 1 conflict: conflict with \"alpha\": .spec.map[id=\"2\"].v"
    );
}

#[test]
fn new_items_go_where_their_applier_put_them() {
    let mut store = Store::custom(lists_and_maps());
    for (manager, applied, expected) in [
        ("alpha", "bd", "bd"),
        ("beta", "adc", "badc"),
        ("alpha", "db", "adcb"),
        ("beta", "c", "dcb"),
    ] {
        let items: Vec<_> = applied
            .chars()
            .map(|id| json!({"id": id.to_string(), "v": "1"}))
            .collect();
        store
            .apply(manager, json!({"spec": {"map": items}}))
            .unwrap();
        let order: String = store
            .get("/spec/map")
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(order, expected, "{manager} applied {applied}");
    }
}

#[test]
fn sets_are_merged_and_atomic_lists_are_not() {
    let mut store = Store::custom(lists_and_maps());
    store
        .apply(
            "alpha",
            json!({"spec": {"set": ["a", "b"], "atom": ["a", "b"]}}),
        )
        .unwrap();
    store
        .apply("beta", json!({"spec": {"set": ["b", "c"]}}))
        .unwrap();
    assert_eq!(
        store.get("/spec"),
        json!({"atom": ["a", "b"], "set": ["a", "b", "c"]})
    );
    let (_, fields) = conflict(store.apply("beta", json!({"spec": {"atom": ["c"]}})));
    assert_eq!(fields, [".spec.atom"]);
    store
        .apply("alpha", json!({"spec": {"set": ["b"], "atom": ["a", "b"]}}))
        .unwrap();
    assert_eq!(
        store.get("/spec"),
        json!({"atom": ["a", "b"], "set": ["b", "c"]})
    );
    assert_eq!(
        store.owners(),
        [
            r#"beta Apply {"f:spec":{"f:set":{"v:\"b\"":{},"v:\"c\"":{}}}}"#,
            r#"alpha Apply {"f:spec":{"f:atom":{},"f:set":{"v:\"b\"":{}}}}"#,
        ]
    );
}

#[test]
fn atomic_maps_have_one_owner() {
    let mut store = Store::custom(lists_and_maps());
    store
        .apply("alpha", json!({"spec": {"whole": {"x": "1"}}}))
        .unwrap();
    assert_eq!(store.owners(), [r#"alpha Apply {"f:spec":{"f:whole":{}}}"#]);
    let (_, fields) = conflict(store.apply("beta", json!({"spec": {"whole": {"y": "1"}}})));
    assert_eq!(fields, [".spec.whole"]);
    store.force("beta", json!({"spec": {"whole": {"y": "1"}}}));
    assert_eq!(store.get("/spec/whole"), json!({"y": "1"}));
}

#[test]
fn containers_are_shared_by_name() {
    let mut store = Store::of_kind("apps", "Deployment", "apps/v1");
    let template = |containers: Value| {
        json!({"spec": {"template": {"spec":
        {"containers": containers}}}})
    };
    let mut first = template(json!([{"name": "a", "image": "a:1"}]));
    first["spec"]["replicas"] = json!(0);
    first["spec"]["selector"] = json!({"matchLabels": {"app": "one"}});
    first["spec"]["template"]["metadata"] = json!({"labels": {"app": "one"}});
    store.apply("alpha", first).unwrap();
    assert_eq!(
        store.get("/metadata/managedFields/0/fieldsV1"),
        json!({"f:spec": {"f:replicas": {}, "f:selector": {}, "f:template": {
            "f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {"f:containers": {r#"k:{"name":"a"}"#:
                {".": {}, "f:image": {}, "f:name": {}}}}}}})
    );
    let both = json!([{"name": "b", "image": "b:1"}, {"name": "a", "imagePullPolicy": "Always"}]);
    store.apply("beta", template(both)).unwrap();
    assert_eq!(
        store.get("/spec/template/spec/containers"),
        json!([{"name": "b", "image": "b:1"},
               {"name": "a", "image": "a:1", "imagePullPolicy": "Always"}])
    );
    store
        .apply("beta", template(json!([{"name": "b", "image": "b:1"}])))
        .unwrap();
    assert_eq!(
        store.get("/metadata/managedFields/1/fieldsV1"),
        json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {r#"k:{"name":"b"}"#:
            {".": {}, "f:image": {}, "f:name": {}}}}}}})
    );
    store.apply("beta", json!({})).unwrap();
    assert_eq!(
        store.get("/spec/template/spec/containers"),
        json!([{"name": "a", "image": "a:1"}])
    );
}
