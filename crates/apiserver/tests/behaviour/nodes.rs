//! What is special about Nodes: the addresses of their Pods.

use serde_json::{Value, json};

use crate::support::sender::Sender;

const NODES: &str = "/api/v1/nodes";

#[tokio::test]
async fn the_range_of_pods_has_two_names_and_is_given_once() {
    let sender = Sender::new().await;
    let node = json!({"metadata": {"name": "a"}});
    assert_eq!(sender.send("POST", NODES, node).await.code, 201);
    let path = format!("{NODES}/a");
    let give = async |range: Value| {
        let patch = json!({"spec": {"podCIDR": range}});
        sender.send("PATCH:merge", &path, patch).await
    };
    let refused = give("ten".into()).await;
    assert_eq!(refused.causes(), ["spec.podCIDRs[0] FieldValueInvalid"]);
    let given = give("10.42.0.0/24".into()).await;
    assert_eq!(given.code, 200, "{}", given.value);
    assert_eq!(given.value["spec"]["podCIDRs"], json!(["10.42.0.0/24"]));
    let refused = give("10.42.1.0/24".into()).await;
    assert_eq!(refused.causes(), ["spec.podCIDRs FieldValueForbidden"]);
}
