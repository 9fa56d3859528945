//! Custom resources and their definitions over time: versions, changed schemas, deletion; and
//! writes that name what cannot be.

mod support;

use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use tokio::time::timeout;

use support::sender::{Answer, Sender};

const SOON: Duration = Duration::from_secs(20);
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// What is asked of a sender here.
trait Asking {
    async fn wait_for(&self, path: &str, wanted: impl Fn(&Answer) -> bool);
    async fn define(&self, versions: Value);
}

impl Asking for Sender {
    /// Asks until the answer is as wanted.
    async fn wait_for(&self, path: &str, wanted: impl Fn(&Answer) -> bool) {
        let asked = async {
            while !wanted(&self.get(path).await) {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, asked).await.expect("it becomes so soon");
    }

    /// Defines `widgets.example.com` and waits until all served versions are there.
    async fn define(&self, versions: Value) {
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.example.com"},
            "spec": {
                "group": "example.com", "scope": "Namespaced",
                "names": {"plural": "widgets", "kind": "Widget"}, "versions": versions,
            },
        });
        let made = self.send("POST", DEFINITIONS, &definition).await;
        assert_eq!(made.code, 201, "{}", made.value);
        self.wait_for(WIDGETS, |answer| answer.code == 200).await;
    }
}

/// A version whose `spec` has these fields, all texts.
fn version(name: &str, storage: bool, fields: &[&str]) -> Value {
    let fields: serde_json::Map<String, Value> = fields
        .iter()
        .map(|field| ((*field).to_owned(), json!({"type": "string"})))
        .collect();
    json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {
        "type": "object", "properties": {"spec": {"type": "object", "properties": fields}},
    }}})
}

/// Two versions of which one is stored.
fn versions(stored: &str) -> Value {
    json!(["v1", "v2"].map(|name| version(name, stored == name, &["a"])))
}

fn widget(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name},
           "spec": spec})
}

#[tokio::test]
async fn a_field_that_the_schema_lost_is_not_shown() {
    let sender = Sender::new().await;
    sender
        .define(json!([version("v1", true, &["a", "b"])]))
        .await;
    let one = widget("one", &json!({"a": "1", "b": "2"}));
    assert_eq!(sender.send("POST", WIDGETS, &one).await.code, 201);
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let fields = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/b";
    let removal = json!([{"op": "remove", "path": fields}]);
    assert_eq!(sender.send("PATCH:json", &path, &removal).await.code, 200);
    let wanted = json!({"a": "1"});
    sender
        .wait_for(&format!("{WIDGETS}/one"), |answer| {
            answer.value["spec"] == wanted
        })
        .await;
}

#[tokio::test]
async fn only_what_the_storage_version_knows_is_stored() {
    let sender = Sender::new().await;
    let mut second = version("v2", false, &["a", "b"]);
    second["deprecated"] = true.into();
    sender
        .define(json!([version("v1", true, &["a"]), second]))
        .await;
    let widgets = "/apis/example.com/v2/namespaces/default/widgets";
    let mut one = widget("one", &json!({"a": "1", "b": "2"}));
    one["apiVersion"] = "example.com/v2".into();
    let made = sender.send("POST", widgets, &one).await;
    assert_eq!((made.code, &made.value["spec"]), (201, &json!({"a": "1"})));
    let warning = Some("299 - \"example.com/v2 Widget is deprecated\"".to_owned());
    assert_eq!(made.warning, warning);
    assert_eq!(sender.get(widgets).await.warning, warning);
    assert_eq!(sender.get(WIDGETS).await.warning, None);
}

#[tokio::test]
async fn a_definition_that_goes_away_takes_no_new_objects() {
    let sender = Sender::new().await;
    sender.define(json!([version("v1", true, &["a"])])).await;
    let mut held = widget("held", &json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    assert_eq!(sender.send("POST", WIDGETS, &held).await.code, 201);
    let path = format!("{DEFINITIONS}/widgets.example.com");
    assert_eq!(sender.send("DELETE", &path, &Value::Null).await.code, 200);
    sender
        .wait_for(&path, |answer| {
            let conditions = answer.value["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            conditions.any(|known| known["reason"] == "InstanceDeletionInProgress")
        })
        .await;
    let refused = sender
        .send("POST", WIDGETS, &widget("new", &json!({})))
        .await;
    assert_eq!(refused.code, 405, "{}", refused.value);
    let freed = json!({"metadata": {"finalizers": null}});
    let held = format!("{WIDGETS}/held");
    assert_eq!(sender.send("PATCH:merge", &held, &freed).await.code, 200);
    sender.wait_for(&path, |answer| answer.code == 404).await;
}

#[tokio::test]
async fn a_write_cannot_change_what_an_object_is() {
    let sender = Sender::new().await;
    sender.define(json!([version("v1", true, &["a"])])).await;
    let mut wrong = widget("one", &json!({}));
    wrong["kind"] = "Gadget".into();
    let refused = sender.send("POST", WIDGETS, &wrong).await;
    assert_eq!(
        (refused.code, refused.causes()),
        (422, vec!["kind FieldValueInvalid".into()])
    );

    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}});
    assert_eq!(sender.send("POST", MAPS, &map).await.code, 201);
    let path = format!("{MAPS}/one");
    let refused = sender
        .send("PATCH:merge", &path, &json!({"kind": "Secret"}))
        .await;
    assert_eq!(
        (refused.code, refused.causes()),
        (422, vec!["patch FieldValueInvalid".into()])
    );
    let uid = json!({"metadata": {"uid": "00000000-0000-4000-8000-000000000000"}});
    let refused = sender.send("PATCH:merge", &path, &uid).await;
    let twice = vec!["metadata.uid FieldValueInvalid".to_owned(); 2];
    assert_eq!((refused.code, refused.causes()), (422, twice));

    let mut applied = map.clone();
    applied["metadata"] = json!({"name": "two", "uid": uid["metadata"]["uid"]});
    let path = format!("{MAPS}/two?fieldManager=test");
    let refused = sender.send("PATCH:apply", &path, &applied).await;
    assert_eq!(
        (refused.code, &refused.value["reason"]),
        (409, &json!("Conflict"))
    );
}

#[tokio::test]
async fn an_applied_scale_conflicts_with_those_who_set_the_replicas() {
    let sender = Sender::new().await;
    let path = "/apis/apps/v1/namespaces/default/deployments/one";
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "one"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": "one"}},
            "template": {"metadata": {"labels": {"app": "one"}},
                         "spec": {"containers": [{"name": "main", "image": "main:1"}]}},
        },
    });
    let by_alpha = format!("{path}?fieldManager=alpha");
    assert_eq!(
        sender
            .send("PATCH:apply", &by_alpha, &deployment)
            .await
            .code,
        201
    );
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale",
                       "metadata": {"name": "one"}, "spec": {"replicas": 3}});
    let by_beta = format!("{path}/scale?fieldManager=beta");
    let refused = sender.send("PATCH:apply", &by_beta, &scale).await;
    let conflict = vec![".spec.replicas FieldManagerConflict".to_owned()];
    assert_eq!((refused.code, refused.causes()), (409, conflict));
    let forced = format!("{by_beta}&force=true");
    let scaled = sender.send("PATCH:apply", &forced, &scale).await;
    assert_eq!(
        (scaled.code, &scaled.value["spec"]["replicas"]),
        (200, &json!(3))
    );

    let entries = sender.get(path).await.value["metadata"]["managedFields"].take();
    let entries = entries.as_array().expect("a list");
    let of = |manager: &str| entries.iter().find(|entry| entry["manager"] == manager);
    let beta = of("beta").expect("an entry");
    assert_eq!(
        (&beta["operation"], &beta["subresource"]),
        (&json!("Apply"), &json!("scale"))
    );
    assert_eq!(beta["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    let alpha = of("alpha").expect("an entry");
    assert_eq!(alpha["fieldsV1"]["f:spec"]["f:replicas"], Value::Null);
}

#[tokio::test]
async fn versions_that_need_a_webhook_fail_as_if_it_were_down() {
    let sender = Sender::new().await;
    sender.define(versions("v1")).await;
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let one = format!("{WIDGETS}/one");
    let made = widget("one", &json!({"a": "1"}));
    assert_eq!(sender.send("POST", WIDGETS, &made).await.code, 201);
    let others = "/apis/example.com/v2/namespaces/default/widgets";
    assert_eq!(sender.get(others).await.code, 200);
    let mut watch = sender.watch(&format!("{others}?watch=1"), "").await;
    let first = watch.next().await.expect("the object that is there");
    assert_eq!(first["type"], "ADDED");

    let webhook = json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"],
        "clientConfig": {"service": {"name": "hook", "namespace": "default", "path": "/convert"}},
    }}}});
    let changed = sender.send("PATCH:merge", &path, &webhook).await;
    assert_eq!(changed.code, 200, "{}", changed.value);
    sender.wait_for(others, |answer| answer.code == 500).await;
    let why = "conversion webhook for example.com/v1, Kind=Widget failed: Post \
               \"https://hook.default.svc:443/convert?timeout=30s\": this server calls no webhooks";
    for path in [others, &format!("{others}/one")] {
        let failed = sender.get(path).await;
        assert_eq!((failed.code, failed.message()), (500, why), "{path}");
        assert_eq!(failed.value["reason"], Value::Null);
    }
    let mut other = widget("two", &json!({"a": "2"}));
    other["apiVersion"] = "example.com/v2".into();
    let refused = sender.send("POST", others, &other).await;
    assert_eq!(refused.code, 500, "{}", refused.value);
    let from = "conversion webhook for example.com/v2, Kind=Widget failed";
    assert!(refused.message().starts_with(from), "{}", refused.message());

    // The version in which objects are stored needs nobody, and neither does the deletion.
    let change = json!({"spec": {"a": "3"}});
    assert_eq!(sender.send("PATCH:merge", &one, &change).await.code, 200);
    let mut watch = sender
        .watch(&format!("{others}?watch=1&resourceVersion=1"), "")
        .await;
    let failed = watch.next().await.expect("an event");
    assert_eq!(
        (&failed["type"], &failed["object"]["message"]),
        (&json!("ERROR"), &json!(why))
    );
    assert!(watch.next().await.is_none(), "the watch ends");
    assert_eq!(sender.send("DELETE", &path, &Value::Null).await.code, 200);
    sender.wait_for(&path, |answer| answer.code == 404).await;
}

#[tokio::test]
async fn what_cannot_be_read_keeps_a_namespace_but_not_the_rest_of_it() {
    let sender = Sender::new().await;
    sender.define(versions("v1")).await;
    let team = "/api/v1/namespaces/team";
    let namespace = json!({"metadata": {"name": "team"}});
    sender.send("POST", "/api/v1/namespaces", &namespace).await;
    let widgets = "/apis/example.com/v1/namespaces/team/widgets";
    let made = sender
        .send("POST", widgets, &widget("one", &json!({"a": "1"})))
        .await;
    assert_eq!(made.code, 201, "{}", made.value);
    // What comes in the order of kinds before the widgets, and what comes behind.
    let others = [
        "/apis/apps/v1/namespaces/team/controllerrevisions",
        "/apis/networking.k8s.io/v1/namespaces/team/networkpolicies",
    ];
    for others in others {
        let mut other = json!({"metadata": {"name": "other"}, "revision": 1});
        if others.ends_with("policies") {
            other = json!({"metadata": {"name": "other"}, "spec": {"podSelector": {}}});
        }
        let made = sender.send("POST", others, &other).await;
        assert_eq!(made.code, 201, "{}", made.value);
    }

    let path = format!("{DEFINITIONS}/widgets.example.com");
    let conversion =
        |strategy: Value| json!({"spec": {"versions": versions("v2"), "conversion": strategy}});
    let webhook = json!({"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://hook.example.com"},
    }});
    let changed = sender
        .send("PATCH:merge", &path, &conversion(webhook))
        .await;
    assert_eq!(changed.code, 200, "{}", changed.value);
    let unreadable = "/apis/example.com/v2/namespaces/team/widgets";
    sender
        .wait_for(unreadable, |answer| answer.code == 500)
        .await;

    sender.send("DELETE", team, &Value::Null).await;
    for others in others {
        let gone = |answer: &Answer| answer.code == 404;
        sender.wait_for(&format!("{others}/other"), gone).await;
    }
    let failed = |answer: &Answer| {
        let conditions = answer.value["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|condition| {
            let message = condition["message"].as_str().unwrap_or_default();
            condition["type"] == "NamespaceDeletionContentFailure"
                && condition["status"] == "True"
                && message.starts_with("Failed to delete all resource types, 1 remaining: ")
                && message.contains("conversion webhook for example.com/v1, Kind=Widget failed")
        })
    };
    sender.wait_for(team, failed).await;

    let none = json!({"strategy": "None", "webhook": null});
    let changed = sender.send("PATCH:merge", &path, &conversion(none)).await;
    assert_eq!(changed.code, 200, "{}", changed.value);
    sender.wait_for(team, |answer| answer.code == 404).await;
}

#[tokio::test]
async fn a_definition_tells_that_its_objects_cannot_be_removed() {
    let sender = Sender::new().await;
    sender.define(versions("v1")).await;
    let made = widget("one", &json!({"a": "1"}));
    assert_eq!(sender.send("POST", WIDGETS, &made).await.code, 201);
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let webhook = json!({"spec": {"versions": versions("v2"), "conversion": {
    "strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://hook.example.com"},
    }}}});
    let changed = sender.send("PATCH:merge", &path, &webhook).await;
    assert_eq!(changed.code, 200, "{}", changed.value);
    let others = "/apis/example.com/v2/namespaces/default/widgets";
    sender.wait_for(others, |answer| answer.code == 500).await;
    sender.send("DELETE", &path, &Value::Null).await;
    let failed = |answer: &Answer| {
        let conditions = answer.value["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|condition| {
            condition["type"] == "Terminating" && condition["reason"] == "InstanceDeletionFailed"
        })
    };
    sender.wait_for(&path, failed).await;
    let none = json!({"spec": {"conversion": {"strategy": "None", "webhook": null}}});
    sender.send("PATCH:merge", &path, &none).await;
    sender.wait_for(&path, |answer| answer.code == 404).await;
}
