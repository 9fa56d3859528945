//! What a request, or an event of a watch, is for the rules.

use http::{Method, header};
use serde::Deserialize;

use crate::registry::Registry;
use crate::request::path::{self, ResourcePath, Target};
use crate::request::{Request, body, media};

use super::decide::Subject;
use super::rule::{EventType, Verb};

impl Subject {
    /// What a request is.
    pub fn of(request: &Request, registry: &Registry) -> Self {
        let path = match path::parse(&request.path) {
            Target::Resource(path) => path,
            _ => ResourcePath::default(),
        };
        let kind = registry.find(&path.group, &path.version, &path.resource);
        let verb = verb(request, &path);
        let agent = request.header(&header::USER_AGENT).unwrap_or_default();
        Self {
            verb,
            kind: kind.map(|kind| kind.kind.clone()).unwrap_or_default(),
            name: path.name.or_else(|| name(verb, request)),
            group: path.group,
            resource: path.resource,
            namespace: path.namespace,
            subresource: path.subresource.unwrap_or_default(),
            user: request.identity.user.clone(),
            user_agent: agent.to_owned(),
            from_cache: request.query.get("resourceVersion") == Some("0"),
            event: None,
        }
    }

    /// What an event is that a watch, which this is, sends as `line`; none for errors.
    pub fn event(&self, line: &[u8]) -> Option<Self> {
        let event: Event = serde_json::from_slice(line).ok()?;
        let object = event.object;
        // In a table, the object is in its only row.
        let metadata = match object.rows.into_iter().next() {
            Some(row) => row.object.metadata,
            None => object.metadata,
        };
        Some(Self {
            namespace: metadata.namespace,
            name: metadata.name,
            event: Some(event.event),
            ..self.clone()
        })
    }
}

fn verb(request: &Request, path: &ResourcePath) -> Verb {
    let collection = !path.resource.is_empty() && path.name.is_none();
    match request.method {
        Method::POST => Verb::Create,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch,
        Method::DELETE if collection => Verb::DeleteCollection,
        Method::DELETE => Verb::Delete,
        _ if path.watch => Verb::Watch,
        _ if collection && request.query.flag("watch") == Some(true) => Verb::Watch,
        _ if collection => Verb::List,
        _ => Verb::Get,
    }
}

/// The name that a request for a collection is about.
fn name(verb: Verb, request: &Request) -> Option<String> {
    match verb {
        Verb::Create => {
            let encoding = media::object_encoding(request.header(&header::CONTENT_TYPE)).ok()?;
            let object = body::parse(&request.body, encoding).ok()?.value;
            object["metadata"]["name"].as_str().map(str::to_owned)
        }
        Verb::List | Verb::Watch => {
            let selector = request.query.get("fieldSelector")?;
            let name = selector
                .split(',')
                .find_map(|part| part.strip_prefix("metadata.name="))?;
            Some(name.trim_start_matches('=').to_owned())
        }
        _ => None,
    }
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    event: EventType,
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    object: Partial,
}

#[derive(Deserialize)]
struct Partial {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct Metadata {
    namespace: Option<String>,
    name: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;
    use crate::request::Identity;
    use crate::request::options::Query;

    fn request(method: &Method, path: &str, query: &[(&str, &str)], body: &'static str) -> Request {
        let query = query
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Request {
            method: method.clone(),
            path: path.to_owned(),
            query: Query(query.collect()),
            headers: HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
            identity: Arc::new(Identity {
                user: "someone".to_owned(),
                groups: Vec::new(),
                ..Identity::default()
            }),
        }
    }

    fn subject(method: &Method, path: &str, query: &[(&str, &str)]) -> Subject {
        Subject::of(&request(method, path, query, ""), &Registry::new())
    }

    #[test]
    fn verbs_are_those_of_authorisation() {
        let pods = "/api/v1/namespaces/a/pods";
        let pod = "/api/v1/namespaces/a/pods/x";
        let watch: &[_] = &[("watch", "true")];
        for (method, path, query, verb) in [
            (Method::GET, pod, &[][..], Verb::Get),
            (Method::GET, pod, watch, Verb::Get),
            (Method::GET, pods, &[], Verb::List),
            (Method::GET, pods, &[("watch", "0")], Verb::List),
            (Method::GET, pods, watch, Verb::Watch),
            (Method::GET, "/api/v1/watch/pods", &[], Verb::Watch),
            (Method::GET, "/apis", &[], Verb::Get),
            (Method::POST, pods, &[], Verb::Create),
            (Method::PUT, pod, &[], Verb::Update),
            (Method::PATCH, pod, &[], Verb::Patch),
            (Method::DELETE, pod, &[], Verb::Delete),
            (Method::DELETE, pods, &[], Verb::DeleteCollection),
        ] {
            assert_eq!(subject(&method, path, query).verb, verb, "{method} {path}");
        }
    }

    #[test]
    fn the_name_is_in_the_path_the_field_selector_or_the_new_object() {
        let named = subject(&Method::GET, "/api/v1/namespaces/a/pods/x/status", &[]);
        assert_eq!(
            (named.name.as_deref(), named.subresource.as_str()),
            (Some("x"), "status")
        );
        for selector in ["metadata.name=x", "status.phase=Running,metadata.name==x"] {
            let query = [("fieldSelector", selector)];
            let listed = subject(&Method::GET, "/api/v1/pods", &query);
            assert_eq!(listed.name.as_deref(), Some("x"), "{selector}");
        }
        let body = r#"{"metadata": {"name": "x"}}"#;
        let creation = request(&Method::POST, "/api/v1/namespaces/a/pods", &[], body);
        let created = Subject::of(&creation, &Registry::new());
        assert_eq!(created.name.as_deref(), Some("x"));
        assert_eq!(
            (created.kind.as_str(), created.resource.as_str()),
            ("Pod", "pods")
        );
    }

    #[test]
    fn an_event_is_about_the_object_in_it() {
        let watch = subject(&Method::GET, "/api/v1/pods", &[("watch", "1")]);
        let lines = [
            r#"{"type":"ADDED","object":{"metadata":{"namespace":"a","name":"x"}}}"#,
            r#"{"type":"ADDED","object":{"kind":"Table","metadata":{},"rows":
               [{"cells":[],"object":{"metadata":{"namespace":"a","name":"x"}}}]}}"#,
        ];
        for line in lines {
            let event = watch.event(line.as_bytes()).unwrap();
            assert_eq!(event.event, Some(EventType::Added));
            assert_eq!(
                (event.namespace.as_deref(), event.name.as_deref()),
                (Some("a"), Some("x"))
            );
        }
        let error = r#"{"type":"ERROR","object":{"kind":"Status"}}"#;
        assert!(watch.event(error.as_bytes()).is_none());
    }
}
