//! What a recorded kube-apiserver 1.36 answers to applies, and how it keeps track of owners.

#![allow(
    clippy::needless_pass_by_value,
    reason = "the tests are tables of literals, which read better without `&`"
)]

use serde_json::{Value, json};

use super::{ApplyError, ApplyRequest, TypeInfo, UpdateRequest, apply, track_update};
use crate::schema::Schema;

/// One object and its type.
struct Store {
    object: Option<Value>,
    types: TypeInfo,
    api_version: &'static str,
    /// Seconds; every write is one later.
    clock: u32,
}

impl Store {
    fn of_kind(group: &str, kind: &str, api_version: &'static str) -> Self {
        Self {
            object: None,
            types: TypeInfo::for_kind(group, kind),
            api_version,
            clock: 0,
        }
    }

    fn config_map() -> Self {
        Self::of_kind("", "ConfigMap", "v1")
    }

    fn custom(spec: Value) -> Self {
        let schema = json!({"type": "object", "properties": {
            "spec": spec,
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }});
        let types = TypeInfo::for_custom_resource(&Schema::parse(&schema).unwrap());
        Self {
            object: None,
            types,
            api_version: "example.com/v1",
            clock: 0,
        }
    }

    fn now(&mut self) -> String {
        self.clock += 1;
        format!("2024-01-01T00:00:{:02}Z", self.clock)
    }

    fn request(&mut self, manager: &str, force: bool) -> ApplyRequest {
        ApplyRequest {
            manager: manager.into(),
            force,
            subresource: None,
            api_version: self.api_version.into(),
            now: self.now(),
            reset_fields: vec![],
        }
    }

    fn send(&mut self, applied: Value, request: &ApplyRequest) -> Result<(), ApplyError> {
        let mut applied = applied;
        applied["apiVersion"] = self.api_version.into();
        applied["kind"] = "Thing".into();
        applied["metadata"]["name"] = "one".into();
        let result = apply(self.object.as_ref(), &applied, request, &self.types)?;
        self.object = Some(result);
        Ok(())
    }

    fn apply(&mut self, manager: &str, applied: Value) -> Result<(), ApplyError> {
        let request = self.request(manager, false);
        self.send(applied, &request)
    }

    fn force(&mut self, manager: &str, applied: Value) {
        let request = self.request(manager, true);
        self.send(applied, &request).unwrap();
    }

    fn write(&mut self, manager: &str, mut object: Value) {
        let request = UpdateRequest {
            manager: manager.into(),
            subresource: None,
            api_version: self.api_version.into(),
            now: self.now(),
            reset_fields: vec![],
        };
        track_update(self.object.as_ref(), &mut object, &request, &self.types);
        self.object = Some(object);
    }

    fn patch(&mut self, manager: &str, patch: Value) {
        let mut object = self.object.clone().unwrap();
        crate::patch::merge(&mut object, &patch);
        self.write(manager, object);
    }

    fn get(&self, pointer: &str) -> Value {
        self.object
            .as_ref()
            .unwrap()
            .pointer(pointer)
            .cloned()
            .unwrap_or(Value::Null)
    }

    /// The owners in order: `manager operation fields`.
    fn owners(&self) -> Vec<String> {
        let entries = self.get("/metadata/managedFields");
        entries
            .as_array()
            .into_iter()
            .flatten()
            .map(|entry| {
                let text = |name: &str| entry[name].as_str().unwrap_or_default();
                let subresource = match text("subresource") {
                    "" => String::new(),
                    name => format!("/{name}"),
                };
                format!(
                    "{} {}{subresource} {}",
                    text("manager"),
                    text("operation"),
                    entry["fieldsV1"]
                )
            })
            .collect()
    }
}

/// The message and the fields of a refused apply.
fn conflict(result: Result<(), ApplyError>) -> (String, Vec<String>) {
    let error = result.unwrap_err();
    let ApplyError::Conflicts(conflicts) = &error else {
        panic!("{error}")
    };
    (
        error.to_string(),
        conflicts
            .iter()
            .map(|conflict| conflict.field.clone())
            .collect(),
    )
}

/// The schema that the recorded scenarios use for lists and maps.
fn lists_and_maps() -> Value {
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

#[test]
fn configurations_that_do_not_fit_are_refused() {
    let mut store = Store::custom(lists_and_maps());
    for (applied, at) in [
        (json!({"spec": {"bogus": 1}}), ".spec.bogus"),
        (json!({"spec": {"map": [{"v": "1"}]}}), ".spec.map"),
        (
            json!({"spec": {"map": [{"id": "1"}, {"id": "1"}]}}),
            ".spec.map",
        ),
        (json!({"spec": {"set": ["a", "a"]}}), ".spec.set"),
    ] {
        let Err(ApplyError::Invalid(message)) = store.apply("alpha", applied) else {
            panic!("{at} was not refused")
        };
        assert!(message.starts_with(&format!("{at}: ")), "{message}");
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
