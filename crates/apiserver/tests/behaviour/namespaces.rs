//! How namespaces go away, and what they tell of it.

use serde_json::{Value, json};

use crate::map;
use crate::support::eventually;
use crate::support::sender::{Answer, Sender};

const TEAM: &str = "/api/v1/namespaces/team";
const TEAM_MAPS: &str = "/api/v1/namespaces/team/configmaps";

/// A server with the namespace `team`.
async fn with_team(finalizers: Value) -> Sender {
    let sender = Sender::new().await;
    let team = json!({"metadata": {"name": "team"}, "spec": {"finalizers": finalizers}});
    let made = sender.send("POST", "/api/v1/namespaces", team).await;
    assert_eq!(made.code, 201, "{}", made.value);
    sender
}

async fn delete(sender: &Sender, path: &str) {
    let deleted = sender.send("DELETE", path, Value::Null).await;
    assert_eq!(deleted.code, 200, "{}", deleted.value);
}

async fn gone(sender: &Sender, path: &str) {
    eventually(&format!("{path} is gone"), async || {
        sender.get(path).await.code == 404
    })
    .await;
}

/// The message of a condition that is True; empty if there is none.
fn trouble(answer: &Answer, kind: &str) -> String {
    let conditions = answer.value["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let found = conditions.find(|it| it["type"] == kind && it["status"] == "True");
    let message = found.and_then(|found| found["message"].as_str());
    message.unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_namespace_tells_what_holds_it() {
    let sender = with_team(json!([])).await;
    let mut held = map("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    sender.send("POST", TEAM_MAPS, held).await;
    sender.send("POST", TEAM_MAPS, map("free")).await;
    delete(&sender, TEAM).await;
    eventually("it tells what is left", async || {
        trouble(&sender.get(TEAM).await, "NamespaceContentRemaining")
            == "Some resources are remaining: configmaps. has 1 resource instances"
    })
    .await;
    let namespace = sender.get(TEAM).await;
    let what = "Some content in the namespace has finalizers remaining: example.com/hold in 1 \
                resource instances";
    assert_eq!(trouble(&namespace, "NamespaceFinalizersRemaining"), what);
    let conditions = namespace.value["status"]["conditions"].as_array();
    assert_eq!(conditions.map(Vec::len), Some(5));
    assert_eq!(namespace.value["status"]["phase"], "Terminating");
    let release = json!({"metadata": {"finalizers": null}});
    let path = format!("{TEAM_MAPS}/held");
    sender.send("PATCH:merge", &path, release).await;
    gone(&sender, TEAM).await;
}

#[tokio::test]
async fn the_pods_of_a_namespace_go_before_what_they_need() {
    let sender = with_team(json!([])).await;
    let pod = json!({
        "metadata": {"name": "one", "finalizers": ["example.com/hold"]},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    let pods = "/api/v1/namespaces/team/pods";
    assert_eq!(sender.send("POST", pods, pod).await.code, 201);
    sender.send("POST", TEAM_MAPS, map("needed")).await;
    delete(&sender, TEAM).await;
    eventually("it tells of the Pod", async || {
        trouble(&sender.get(TEAM).await, "NamespaceContentRemaining")
            == "Some resources are remaining: pods. has 1 resource instances"
    })
    .await;
    let needed = sender.get(&format!("{TEAM_MAPS}/needed")).await;
    assert_eq!(
        (needed.code, &needed.value["metadata"]["deletionTimestamp"]),
        (200, &Value::Null)
    );
    let release = json!({"metadata": {"finalizers": null}});
    let path = format!("{pods}/one");
    sender.send("PATCH:merge", &path, release).await;
    gone(&sender, TEAM).await;
}

#[tokio::test]
async fn an_empty_namespace_waits_for_finalizers_of_others() {
    let sender = with_team(json!(["example.com/f"])).await;
    delete(&sender, TEAM).await;
    eventually("its own finalizer is gone", async || {
        sender.get(TEAM).await.value["spec"]["finalizers"] == json!(["example.com/f"])
    })
    .await;
    let mut namespace = sender.get(TEAM).await.value;
    namespace["spec"] = json!({});
    let finalized = sender
        .send("PUT", &format!("{TEAM}/finalize"), namespace)
        .await;
    assert_eq!(finalized.code, 200, "{}", finalized.value);
    gone(&sender, TEAM).await;
}

#[tokio::test]
async fn the_label_of_a_namespace_is_its_name() {
    let sender = Sender::new().await;
    let label = "kubernetes.io/metadata.name";
    let team = json!({"metadata": {"name": "team", "labels": {label: "other"}}});
    let made = sender.send("POST", "/api/v1/namespaces", team).await;
    assert_eq!(made.value["metadata"]["labels"], json!({label: "team"}));
}
