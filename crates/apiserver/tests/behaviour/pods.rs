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
