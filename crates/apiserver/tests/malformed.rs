//! Whatever a client sends, the server answers and goes on.

mod inputs;
mod support;

use std::time::Duration;

use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
struct Sent {
    method: &'static str,
    path: String,
    query: String,
    content_type: &'static str,
    accept: &'static str,
    body: Vec<u8>,
}

/// Objects with the right type and name, and anything else.
fn objects() -> impl Strategy<Value = Value> {
    let kinds = select(vec![
        ("v1", "ConfigMap"),
        ("v1", "Pod"),
        ("v1", "Namespace"),
        ("v1", "Node"),
        ("v1", "Secret"),
        ("apps/v1", "Deployment"),
        ("batch/v1", "Job"),
        ("coordination.k8s.io/v1", "Lease"),
        ("policy/v1", "PodDisruptionBudget"),
        ("events.k8s.io/v1", "Event"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("v1", "DeleteOptions"),
    ]);
    (kinds, inputs::values(), inputs::values(), inputs::values()).prop_map(
        |((version, kind), metadata, spec, status)| {
            let mut object = json!({
                "apiVersion": version, "kind": kind, "spec": spec, "status": status,
            });
            match metadata {
                Value::Object(mut map) => {
                    map.insert("name".to_owned(), "one".into());
                    object["metadata"] = map.into();
                }
                other => object["metadata"] = other,
            }
            object
        },
    )
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => objects().prop_map(|value| value.to_string().into_bytes()),
        2 => inputs::values().prop_map(|value| value.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..60),
        1 => prop::collection::vec(any::<u8>(), 0..60)
            .prop_map(|bytes| [b"k8s\0".as_slice(), &bytes].concat()),
        1 => Just(Vec::new()),
    ]
}

fn requests() -> impl Strategy<Value = Sent> {
    let paths = prop_oneof![
        6 => (
            select(vec![
                "/api/v1/namespaces/default/configmaps",
                "/api/v1/namespaces/default/pods",
                "/api/v1/namespaces/default/secrets",
                "/api/v1/nodes",
                "/api/v1/namespaces",
                "/apis/apps/v1/namespaces/default/deployments",
                "/apis/batch/v1/namespaces/default/jobs",
                "/apis/coordination.k8s.io/v1/namespaces/default/leases",
                "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
                "/apis/events.k8s.io/v1/namespaces/default/events",
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            ]),
            select(vec![
                "", "/one", "/one/status", "/one/scale", "/one/binding", "/one/eviction",
                "/one/finalize", "/one/log", "/one/two/three",
            ]),
        )
            .prop_map(|(collection, rest)| format!("{collection}{rest}")),
        1 => "/(api|apis|openapi|version|healthz)(/[a-z0-9%.]{0,6}){0,5}",
    ];
    let queries = prop_oneof![
        2 => Just(String::new()),
        1 => select(vec![
            "fieldManager=x", "fieldManager=x&force=true", "dryRun=All", "fieldValidation=Strict",
            "watch=true&timeoutSeconds=1", "limit=1", "limit=-1", "continue=e30",
            "resourceVersion=0&resourceVersionMatch=NotOlderThan",
            "labelSelector=a%20in%20(", "fieldSelector=metadata.name%3Done",
            "propagationPolicy=Orphan", "gracePeriodSeconds=9223372036854775807",
            "timeoutSeconds=9223372036854775807&watch=1", "includeObject=None",
        ])
        .prop_map(str::to_owned),
        1 => "[a-zA-Z=&%0-9]{0,30}",
    ];
    let methods = select(vec!["GET", "POST", "PUT", "PATCH", "DELETE"]);
    let content_types = select(vec![
        "application/json",
        "application/yaml",
        "application/merge-patch+json",
        "application/json-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
        "application/vnd.kubernetes.protobuf",
    ]);
    let accepts = select(vec![
        "application/json",
        "application/yaml",
        "application/json;as=Table;v=v1;g=meta.k8s.io",
        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    ]);
    (methods, paths, queries, content_types, accepts, bodies()).prop_map(
        |(method, path, query, content_type, accept, body)| Sent {
            method,
            path,
            query,
            content_type,
            accept,
            body,
        },
    )
}

/// The status of the answer; none if the request cannot even be written.
async fn send(client: &Client, sent: &Sent) -> Option<u16> {
    let uri = match sent.query.as_str() {
        "" => sent.path.clone(),
        query => format!("{}?{query}", sent.path),
    };
    let request = Request::builder()
        .method(Method::from_bytes(sent.method.as_bytes()).ok()?)
        .uri(uri)
        .header(http::header::CONTENT_TYPE, sent.content_type)
        .header(http::header::ACCEPT, sent.accept)
        .body(Body::from(sent.body.clone()))
        .ok()?;
    let answer = timeout(SOON, client.send(request)).await;
    // Only the head is read: a watch has no end.
    Some(
        answer
            .expect("an answer in time")
            .expect("an answer")
            .status()
            .as_u16(),
    )
}

#[test]
fn no_request_brings_the_server_down() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_server, client) = runtime.block_on(support::server());
    let config = Config {
        cases: 400,
        failure_persistence: None,
        ..Config::default()
    };
    let cases = prop::collection::vec(requests(), 1..8);
    TestRunner::new(config)
        .run(&cases, |requests| {
            runtime.block_on(async {
                for sent in &requests {
                    let Some(code) = send(&client, sent).await else {
                        continue;
                    };
                    prop_assert!(code < 500, "{code} for {sent:?}");
                }
                let health = Request::get("/healthz").body(Vec::new()).unwrap();
                let health = timeout(SOON, client.request_text(health)).await;
                prop_assert_eq!(health.unwrap().unwrap(), "ok");
                Ok(())
            })
        })
        .unwrap();
}
