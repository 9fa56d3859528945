//! Metrics of the server itself, under the names that kube-apiserver has for them.

use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::answer::Answer;
use crate::api;
use crate::registry::Kind;
use crate::request::path::ResourcePath;
use crate::status::Status;
use crate::storage::Storage;

/// The type of what [`Metrics::show`] writes.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of the durations, in seconds: those of kube-apiserver.
const DURATIONS: [f64; 22] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 45.0,
];

/// What requests ask for, as far as metrics tell them apart. Of what is not served only the verb
/// is told, so that clients cannot make any number of metrics.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Asked {
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    #[prometheus(flatten)]
    asked: Asked,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfResource {
    resource: String,
}

/// Counts requests. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<Answered, Counter>,
    durations: Family<Asked, Histogram, fn() -> Histogram>,
    running: Family<Asked, Gauge>,
}

/// A watch that is open; dropped with it.
#[derive(Debug)]
pub struct Running(Gauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let durations: fn() -> Histogram = || Histogram::new(DURATIONS);
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(durations),
            running: Family::default(),
        }
    }
}

impl Asked {
    /// What a request asks for. `verb` is that of the rules, `kind` the one that is served under
    /// the path.
    pub fn of(verb: &str, path: Option<&ResourcePath>, kind: Option<&Kind>) -> Self {
        let verb = written(verb);
        let (Some(path), Some(kind)) = (path, kind) else {
            return Self {
                verb,
                group: String::new(),
                version: String::new(),
                resource: String::new(),
                subresource: String::new(),
                scope: "",
            };
        };
        let subresource = path.subresource.as_deref().unwrap_or_default();
        let scope = match (&path.name, &path.namespace) {
            (Some(_), _) => "resource",
            _ if verb == "POST" => "resource",
            (None, Some(_)) => "namespace",
            (None, None) => "cluster",
        };
        Self {
            verb,
            group: kind.group.clone(),
            version: kind.version.clone(),
            resource: kind.plural.clone(),
            subresource: match kind.subresource(subresource) {
                Some(_) => subresource.to_owned(),
                None => String::new(),
            },
            scope,
        }
    }
}

/// A verb of the rules as metrics write it.
fn written(verb: &str) -> &'static str {
    match verb {
        "get" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" | "post" => "POST",
        "update" | "put" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        _ => "other",
    }
}

impl Metrics {
    /// Counts a request that was answered. Of a watch, only the beginning is answered by then, so
    /// that its duration is not counted.
    pub fn count(&self, asked: Asked, code: StatusCode, took: Duration) {
        if asked.verb != "WATCH" {
            self.durations
                .get_or_create(&asked)
                .observe(took.as_secs_f64());
        }
        let code = code.as_u16();
        self.requests.get_or_create(&Answered { asked, code }).inc();
    }

    /// Counts a watch as open, until what this returns is dropped.
    pub fn watch(&self, path: &ResourcePath, kind: &Kind) -> Running {
        let asked = Asked::of("watch", Some(path), Some(kind));
        let gauge = self.running.get_or_create_owned(&asked);
        gauge.inc();
        Running(gauge)
    }

    /// All metrics as text, with the numbers of objects that are stored now.
    ///
    /// # Errors
    /// 500 if the storage does not work.
    pub async fn show(&self, storage: &dyn Storage) -> Result<Answer, Status> {
        let stored = storage.list("", None, None, None).await;
        let stored = stored.map_err(|error| api::storage_failed(&error))?;
        let objects: Family<OfResource, Gauge> = Family::default();
        for entry in &stored.entries {
            let resource = resource_of(&entry.key);
            objects.get_or_create(&OfResource { resource }).inc();
        }
        let mut registry = Registry::default();
        registry.register(
            "apiserver_request",
            "Requests that were answered",
            self.requests.clone(),
        );
        registry.register(
            "apiserver_request_duration_seconds",
            "Time from a request to its answer",
            self.durations.clone(),
        );
        registry.register(
            "apiserver_longrunning_requests",
            "Watches that are open",
            self.running.clone(),
        );
        registry.register(
            "apiserver_storage_objects",
            "Objects that are stored",
            objects,
        );
        let mut text = String::new();
        encode(&mut text, &registry)
            .map_err(|error| Status::internal(format!("cannot write the metrics: {error}")))?;
        Ok(Answer::bytes(CONTENT_TYPE, text))
    }
}

/// The resource of a key (`group/resource/…`), as kube-apiserver writes it: `deployments.apps`.
fn resource_of(key: &str) -> String {
    let mut parts = key.splitn(3, '/');
    let group = parts.next().unwrap_or_default();
    let resource = parts.next().unwrap_or_default();
    match group {
        "" => resource.to_owned(),
        group => format!("{resource}.{group}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::path::{Target, parse};

    fn asked(verb: &str, path: &str) -> String {
        let Target::Resource(path) = parse(path) else {
            panic!("{path} is not the path of a resource");
        };
        let registry = crate::registry::Registry::new();
        let kind = registry.find(&path.group, &path.version, &path.resource);
        let asked = Asked::of(verb, Some(&path), kind.as_deref());
        format!(
            "{} {}/{}/{}/{} {}",
            asked.verb, asked.group, asked.version, asked.resource, asked.subresource, asked.scope
        )
    }

    #[test]
    fn requests_are_told_apart_as_the_real_server_does() {
        for (verb, path, expected) in [
            ("list", "/api/v1/pods", "LIST /v1/pods/ cluster"),
            (
                "list",
                "/api/v1/namespaces/a/pods",
                "LIST /v1/pods/ namespace",
            ),
            (
                "create",
                "/api/v1/namespaces/a/pods",
                "POST /v1/pods/ resource",
            ),
            (
                "update",
                "/apis/apps/v1/namespaces/a/deployments/b/status",
                "PUT apps/v1/deployments/status resource",
            ),
        ] {
            assert_eq!(asked(verb, path), expected);
        }
    }

    #[test]
    fn what_is_not_served_makes_no_metrics_of_its_own() {
        assert_eq!(asked("get", "/apis/no.such/v1/things/a"), "GET /// ");
        let unknown = "/api/v1/namespaces/a/pods/b/nothing";
        assert_eq!(asked("get", unknown), "GET /v1/pods/ resource");
    }

    #[test]
    fn keys_tell_their_resource() {
        assert_eq!(resource_of("/pods/default/a"), "pods");
        assert_eq!(
            resource_of("apps/deployments/default/a"),
            "deployments.apps"
        );
    }
}
