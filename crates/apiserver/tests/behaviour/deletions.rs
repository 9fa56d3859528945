//! What deletions do, and what is held back from them.

use serde_json::{Value, json};

use crate::support::sender::{Answer, Sender};
use crate::{MAPS, map};

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

#[tokio::test]
async fn options_of_the_wrong_type_delete_nothing() {
    let sender = Sender::new().await;
    sender.send("POST", MAPS, map("one")).await;
    let path = format!("{MAPS}/one");
    for options in [
        json!({"gracePeriodSeconds": "soon"}),
        json!([]),
        json!({"preconditions": 1}),
    ] {
        assert_eq!(
            sender.send("DELETE", &path, &options).await.code,
            400,
            "{options}"
        );
    }
    assert_eq!(sender.get(&path).await.code, 200);
}
