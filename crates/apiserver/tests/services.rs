//! Services and autoscalers: what the server gives them, and in which forms it serves them.

mod support;

use std::collections::BTreeSet;

use futures::future::join_all;
use serde_json::{Value, json};

use support::sender::Sender;

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
}

fn on_nodes(port: u16) -> Value {
    json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]})
}

#[tokio::test]
async fn services_that_are_made_at_once_have_nothing_in_common() {
    let sender = Sender::new().await;
    let made = join_all((0..20).map(|index| {
        let spec = json!({"type": "NodePort", "ports": [{"port": 80}]});
        sender.send("POST", SERVICES, service(&format!("s{index}"), &spec))
    }))
    .await;
    let field = |field: &str| -> BTreeSet<String> {
        let values = made.iter().map(|answer| answer.value.pointer(field));
        values.map(|value| value.unwrap().to_string()).collect()
    };
    assert_eq!(field("/spec/clusterIP").len(), 20);
    assert_eq!(field("/spec/ports/0/nodePort").len(), 20);
}

#[tokio::test]
async fn an_address_or_port_of_another_is_free_when_that_is_gone() {
    let sender = Sender::new().await;
    let mut spec = on_nodes(30080);
    spec["clusterIP"] = "10.96.0.10".into();
    let made = sender.send("POST", SERVICES, service("first", &spec)).await;
    assert_eq!(made.code, 201, "{}", made.value);

    let refused = sender
        .send("POST", SERVICES, service("second", &spec))
        .await;
    assert_eq!(refused.code, 422);
    assert_eq!(
        refused.message(),
        "Service \"second\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.10\"]: failed \
         to allocate IP 10.96.0.10: provided IP is already allocated"
    );
    let ports = service("second", &on_nodes(30080));
    let refused = sender.send("POST", SERVICES, &ports).await;
    assert_eq!(
        refused.message(),
        "Service \"second\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided \
         port is already allocated"
    );
    // An update keeps what it has, and cannot take what another has.
    let third = service("third", &on_nodes(30081));
    assert_eq!(sender.send("POST", SERVICES, third).await.code, 201);
    let path = format!("{SERVICES}/third");
    let port =
        |port: u16| json!([{"op": "replace", "path": "/spec/ports/0/nodePort", "value": port}]);
    let same = sender.send("PATCH:json", &path, port(30081)).await;
    assert_eq!(same.code, 200, "{}", same.value);
    let taken = sender.send("PATCH:json", &path, port(30080)).await;
    assert_eq!(taken.causes(), ["spec.ports[0].nodePort FieldValueInvalid"]);

    let first = format!("{SERVICES}/first");
    assert_eq!(sender.send("DELETE", &first, Value::Null).await.code, 200);
    let again = sender
        .send("POST", SERVICES, service("second", &spec))
        .await;
    assert_eq!(again.code, 201, "{}", again.value);
}

#[tokio::test]
async fn an_autoscaler_is_served_in_both_versions() {
    let sender = Sender::new().await;
    let path = |version: &str| {
        format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers")
    };
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let old = json!({
        "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": target, "maxReplicas": 5, "targetCPUUtilizationPercentage": 60},
    });
    let made = sender.send("POST", &path("v1"), old).await;
    assert_eq!(made.code, 201, "{}", made.value);
    let new = sender.get(&format!("{}/web", path("v2"))).await.value;
    assert_eq!(new["apiVersion"], "autoscaling/v2");
    let cpu = &new["spec"]["metrics"][0]["resource"];
    assert_eq!(cpu["target"]["averageUtilization"], 60);
    assert_eq!(new["spec"]["minReplicas"], 1);

    let metric = json!({"type": "Resource", "resource": {
        "name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}});
    let more = json!([{"op": "add", "path": "/spec/metrics/-", "value": metric}]);
    let web = format!("{}/web", path("v2"));
    let changed = sender.send("PATCH:json", &web, more).await;
    assert_eq!(changed.code, 200, "{}", changed.value);
    // A change through the old version keeps what that has no field for.
    let fewer = json!({"spec": {"maxReplicas": 3}});
    let changed = sender
        .send("PATCH:merge", &format!("{}/web", path("v1")), fewer)
        .await
        .value;
    assert_eq!(changed["spec"]["targetCPUUtilizationPercentage"], 60);
    assert!(changed["spec"].get("metrics").is_none(), "{changed}");
    let new = sender.get(&web).await.value;
    assert_eq!(new["spec"]["maxReplicas"], 3);
    assert_eq!(new["spec"]["metrics"][1], metric);

    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    for version in ["v1", "v2"] {
        let shown = sender
            .send_as("GET", &path(version), Value::Null, table)
            .await;
        let cells = &shown.value["rows"][0]["cells"];
        let targets = "cpu: <unknown>/60%, memory: <unknown>/1Gi";
        assert_eq!(cells[1], "Deployment/web", "{version}");
        assert_eq!(cells[2], targets, "{version}");
    }
    let group = sender.get("/apis/autoscaling").await.value;
    assert_eq!(group["preferredVersion"]["version"], "v2");
}
