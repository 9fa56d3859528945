//! What is special about Pods: bindings, evictions, deletions with grace.

use serde_json::{Value, json};

use crate::support::sender::{Answer, Sender};

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
async fn an_eviction_says_of_the_pod_why_it_goes() {
    let sender = Sender::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    sender.send("POST", pods, pod("a", Some("n"))).await;
    let path = format!("{pods}/a/eviction");
    let eviction = |options: Value| json!({"metadata": {"name": "a"}, "deleteOptions": options});
    let condition = async || {
        let pod = sender.get(&format!("{pods}/a")).await.value;
        pod["status"]["conditions"][0].clone()
    };
    let trial = sender
        .send("POST", &path, eviction(json!({"dryRun": ["All"]})))
        .await;
    assert_eq!((trial.code, condition().await), (201, Value::Null));
    let other = json!({"preconditions": {"uid": "other"}});
    let refused = sender.send("POST", &path, eviction(other)).await;
    assert_eq!((refused.code, condition().await), (409, Value::Null));
    let version =
        sender.get(&format!("{pods}/a")).await.value["metadata"]["resourceVersion"].clone();
    let same = json!({"preconditions": {"resourceVersion": version}});
    let evicted = sender.send("POST", &path, eviction(same)).await;
    assert_eq!(evicted.code, 201, "{}", evicted.value);
    let condition = condition().await;
    assert_eq!(condition["type"], "DisruptionTarget");
    assert_eq!(condition["reason"], "EvictionByEvictionAPI");
}

#[tokio::test]
async fn a_budget_with_an_empty_selector_is_for_every_pod() {
    let sender = Sender::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    sender.send("POST", pods, pod("a", Some("n"))).await;
    let running = json!({"status": {"phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}]}});
    sender
        .send("PATCH:merge", &format!("{pods}/a/status"), running)
        .await;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({"metadata": {"name": "all"}, "spec": {"minAvailable": 1, "selector": {}}});
    assert_eq!(sender.send("POST", budgets, budget).await.code, 201);
    let eviction = json!({"metadata": {"name": "a"}});
    let refused = sender
        .send("POST", &format!("{pods}/a/eviction"), eviction)
        .await;
    assert_eq!(refused.code, 429, "{}", refused.value);
}

#[tokio::test]
async fn all_that_is_wrong_with_a_pod_is_told_at_once() {
    let sender = Sender::new().await;
    let pod = json!({"metadata": {"name": "a"}, "spec": {
        "tolerations": [{"operator": "Equal"}],
        "containers": [{"name": "c", "image": "i", "livenessProbe": {},
            "env": [{"name": "A", "valueFrom": {}}]}],
        "initContainers": [{"name": "c", "image": "i"}],
        "ephemeralContainers": [{"name": "d", "image": "i"}],
    }});
    let refused = sender
        .send("POST", "/api/v1/namespaces/default/pods", pod)
        .await;
    let mut causes = refused.causes();
    causes.sort();
    assert_eq!(
        causes,
        [
            "spec.containers[0].env[0].valueFrom FieldValueInvalid",
            "spec.containers[0].livenessProbe FieldValueRequired",
            "spec.ephemeralContainers FieldValueForbidden",
            "spec.initContainers[0].name FieldValueDuplicate",
            "spec.tolerations[0].operator FieldValueInvalid",
        ]
    );
}

#[tokio::test]
async fn a_pod_has_the_priority_of_a_class_that_there_is() {
    let sender = Sender::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    let of_class = |name: &str, class: Value| {
        let mut pod = pod(name, None);
        pod["spec"]["priorityClassName"] = class;
        pod
    };
    let refused = sender
        .send("POST", pods, of_class("a", "none".into()))
        .await;
    assert_eq!(refused.code, 403);
    let why = "pods \"a\" is forbidden: no PriorityClass with name none was found";
    assert_eq!(refused.message(), why);
    let critical = of_class("a", "system-node-critical".into());
    let made = sender.send("POST", pods, critical).await.value;
    assert_eq!(made["spec"]["priority"], 2_000_001_000);
    let plain = sender
        .send("POST", pods, of_class("b", Value::Null))
        .await
        .value;
    assert_eq!(plain["spec"]["priority"], 0);
    // A replacement that knows nothing of what the server gave changes nothing.
    let mut again = of_class("b", Value::Null);
    again["metadata"]["resourceVersion"] = plain["metadata"]["resourceVersion"].clone();
    let replaced = sender.send("PUT", &format!("{pods}/b"), again).await;
    assert_eq!(replaced.code, 200, "{}", replaced.value);
    assert_eq!(replaced.value["spec"], plain["spec"]);
}
