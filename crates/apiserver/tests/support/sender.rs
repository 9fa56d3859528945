//! Somebody who sends plain requests and looks at what comes back.

use std::borrow::Borrow;

use futures::stream::BoxStream;
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use http::{Request, header};
use kube::Client;
use nico_apiserver::Server;
use serde_json::Value;

const JSON: &str = "application/json";

/// A server, and its administrator.
pub struct Sender {
    _server: Server,
    pub client: Client,
}

/// What came back: the code, the document and the first warning.
pub struct Answer {
    pub code: u16,
    pub value: Value,
    pub warning: Option<String>,
}

impl Answer {
    /// The fields and reasons of what is wrong.
    pub fn causes(&self) -> Vec<String> {
        let causes = self.value["details"]["causes"].as_array();
        let words = |cause: &Value| format!("{} {}", cause["field"], cause["reason"]);
        let causes = causes.into_iter().flatten();
        causes.map(|cause| words(cause).replace('"', "")).collect()
    }

    /// The text for people.
    pub fn message(&self) -> &str {
        self.value["message"].as_str().unwrap_or_default()
    }
}

impl Sender {
    pub async fn new() -> Self {
        let (server, client) = super::server().await;
        Self {
            _server: server,
            client,
        }
    }

    /// Sends a body, or none if it is null. The verb may name a patch type: `PATCH:merge`.
    pub async fn send(&self, verb: &str, path: &str, body: impl Borrow<Value>) -> Answer {
        self.send_as(verb, path, body, JSON).await
    }

    /// Sends a body and says what should come back.
    pub async fn send_as(
        &self,
        verb: &str,
        path: &str,
        body: impl Borrow<Value>,
        accept: &str,
    ) -> Answer {
        let (method, content_type) = match verb.split_once(':') {
            Some((method, "json")) => (method, "application/json-patch+json"),
            Some((method, "merge")) => (method, "application/merge-patch+json"),
            Some((method, "strategic")) => (method, "application/strategic-merge-patch+json"),
            Some((method, "apply")) => (method, "application/apply-patch+yaml"),
            _ => (verb, JSON),
        };
        let body = match body.borrow() {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::ACCEPT, accept)
            .body(body.into())
            .expect("the request is complete");
        let answer = self.client.send(request).await.expect("an answer");
        let code = answer.status().as_u16();
        let warning = answer.headers().get(header::WARNING);
        let warning = warning.map(|text| text.to_str().expect("a text").to_owned());
        let body = answer.into_body().collect_bytes().await;
        let body = body.expect("a whole answer");
        Answer {
            code,
            value: serde_json::from_slice(&body).unwrap_or_default(),
            warning,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, Value::Null).await
    }

    /// The events of a watch, as they come.
    pub async fn watch(&self, path: &str, accept: &str) -> BoxStream<'static, Value> {
        let request = Request::get(path)
            .header(header::ACCEPT, accept)
            .body(Vec::new())
            .expect("the request is complete");
        let lines = self
            .client
            .request_stream(request)
            .await
            .expect("a stream")
            .lines();
        lines
            .map_ok(|line| serde_json::from_str(&line).expect("every line is an event"))
            .map(|event| event.expect("the stream goes on"))
            .boxed()
    }
}
