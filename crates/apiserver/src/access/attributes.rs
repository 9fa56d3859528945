//! What a request wants to do, as the rules see it.

use http::Method;

use crate::request::path::{ResourcePath, Target};
use crate::request::{Identity, Request};
use crate::status::{ResourceName, Status};

/// A verb, and what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attributes<'a> {
    /// Something of a resource.
    Resource(Resource<'a>),
    /// A path that belongs to no resource.
    Path {
        /// The method in lower case.
        verb: &'a str,
        /// The path.
        path: &'a str,
    },
}

/// A verb of a resource. Texts are empty where the request says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resource<'a> {
    /// The verb, such as `list`.
    pub verb: &'a str,
    /// The API group.
    pub group: &'a str,
    /// The plural name.
    pub resource: &'a str,
    /// The subresource.
    pub subresource: &'a str,
    /// The namespace.
    pub namespace: &'a str,
    /// The object's name.
    pub name: &'a str,
}

impl<'a> Attributes<'a> {
    /// What a request for a target wants.
    pub fn of(request: &'a Request, target: &'a Target) -> Self {
        match target {
            Target::Resource(path) => Self::Resource(Resource::of(request, path)),
            _ => Self::Path {
                verb: lower_case(&request.method),
                path: &request.path,
            },
        }
    }

    /// The answer to somebody who may not; `why` may be empty.
    pub fn forbidden(&self, identity: &Identity, why: &str) -> Status {
        let user = &identity.user;
        let (group, resource, name, mut text) = match self {
            Self::Path { verb, path } => {
                let text = format!("User {user:?} cannot {verb} path {path:?}");
                ("", "", "", text)
            }
            Self::Resource(wanted) => {
                let whole = match wanted.subresource {
                    "" => wanted.resource.to_owned(),
                    subresource => format!("{}/{subresource}", wanted.resource),
                };
                let place = match wanted.namespace {
                    "" => "at the cluster scope".to_owned(),
                    namespace => format!("in the namespace {namespace:?}"),
                };
                let text = format!(
                    "User {user:?} cannot {} resource {whole:?} in API group {:?} {place}",
                    wanted.verb, wanted.group
                );
                (wanted.group, wanted.resource, wanted.name, text)
            }
        };
        if !why.is_empty() {
            text = format!("{text}: {why}");
        }
        Status::not_authorized(ResourceName { group, resource }, name, &text)
    }
}

impl<'a> Resource<'a> {
    fn of(request: &'a Request, path: &'a ResourcePath) -> Self {
        let mut name = path.name.as_deref().unwrap_or_default();
        let collection = path.name.is_none();
        let verb = match request.method {
            _ if path.watch => "watch",
            Method::GET | Method::HEAD if collection => {
                if request.query.flag("watch") == Some(true) {
                    "watch"
                } else {
                    "list"
                }
            }
            Method::GET | Method::HEAD => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if collection => "deletecollection",
            Method::DELETE => "delete",
            _ => "",
        };
        if collection && matches!(verb, "list" | "watch" | "deletecollection") {
            // Who may see one object may ask for it by a selection too.
            name = request
                .query
                .get("fieldSelector")
                .and_then(named)
                .unwrap_or_default();
        }
        // A namespace lies in itself, so that what is bound there can allow to read it.
        let namespace = match (path.namespace.as_deref(), path.resource.as_str()) {
            (None, "namespaces") if path.group.is_empty() => {
                path.name.as_deref().unwrap_or_default()
            }
            (namespace, _) => namespace.unwrap_or_default(),
        };
        let subresource = path.subresource.as_deref().unwrap_or_default();
        Self {
            verb,
            group: &path.group,
            resource: &path.resource,
            // What follows behind a slash is for the subresource alone.
            subresource: subresource.split('/').next().unwrap_or_default(),
            namespace,
            name,
        }
    }
}

/// The name that a field selector asks for.
fn named(selector: &str) -> Option<&str> {
    selector.split(',').find_map(|term| {
        let name = term.strip_prefix("metadata.name=")?;
        Some(name.strip_prefix('=').unwrap_or(name))
    })
}

fn lower_case(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::HEAD => "head",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::OPTIONS => "options",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::request::options::Query;
    use crate::request::path;

    fn request(method: &str, path: &str, query: &[(&str, &str)]) -> Request {
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Request {
            method: method.parse().unwrap(),
            path: path.to_owned(),
            query: Query(query.iter().map(pair).collect()),
            headers: http::HeaderMap::new(),
            body: bytes::Bytes::new(),
            identity: Arc::default(),
        }
    }

    /// Verb, group, resource with subresource, namespace, name.
    fn seen(method: &str, path: &str, query: &[(&str, &str)]) -> String {
        let request = request(method, path, query);
        match Attributes::of(&request, &path::parse(path)) {
            Attributes::Path { verb, path } => format!("{verb} {path}"),
            Attributes::Resource(r) => format!(
                "{} {}|{}/{}|{}|{}",
                r.verb, r.group, r.resource, r.subresource, r.namespace, r.name
            ),
        }
    }

    #[test]
    fn requests_are_seen_as_the_real_server_sees_them() {
        for (method, path, query, expected) in [
            ("GET", "/api/v1/pods", &[][..], "list |pods/||"),
            (
                "GET",
                "/api/v1/pods",
                &[("watch", "true")],
                "watch |pods/||",
            ),
            (
                "GET",
                "/api/v1/pods",
                &[("watch", "false")],
                "list |pods/||",
            ),
            ("GET", "/api/v1/watch/pods", &[], "watch |pods/||"),
            (
                "GET",
                "/api/v1/namespaces/a/pods/p",
                &[("watch", "1")],
                "get |pods/|a|p",
            ),
            (
                "GET",
                "/api/v1/namespaces/a/pods/p/log",
                &[],
                "get |pods/log|a|p",
            ),
            ("GET", "/api/v1/namespaces/a", &[], "get |namespaces/|a|a"),
            (
                "PUT",
                "/api/v1/namespaces/a/status",
                &[],
                "update |namespaces/status|a|a",
            ),
            (
                "GET",
                "/api/v1/nodes",
                &[("fieldSelector", "metadata.name=n")],
                "list |nodes/||n",
            ),
            (
                "DELETE",
                "/apis/apps/v1/namespaces/a/deployments",
                &[],
                "deletecollection apps|deployments/|a|",
            ),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/a/deployments/d",
                &[],
                "patch apps|deployments/|a|d",
            ),
            ("POST", "/api/v1/namespaces", &[], "create |namespaces/||"),
            ("GET", "/apis/apps/v1", &[], "get /apis/apps/v1"),
            ("GET", "/healthz", &[], "get /healthz"),
            ("GET", "/nowhere", &[], "get /nowhere"),
        ] {
            assert_eq!(seen(method, path, query), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_refusal_has_the_words_of_the_real_server() {
        let identity = Identity {
            user: "x".to_owned(),
            ..Identity::default()
        };
        let wanted = Resource {
            verb: "list",
            group: "nio.homystack.com",
            resource: "machines",
            namespace: "default",
            ..Resource::default()
        };
        let said = |attributes: Attributes<'_>, why| attributes.forbidden(&identity, why).message;
        assert_eq!(
            said(Attributes::Resource(wanted), ""),
            "machines.nio.homystack.com is forbidden: User \"x\" cannot list resource \"machines\" \
             in API group \"nio.homystack.com\" in the namespace \"default\""
        );
        let wanted = Resource {
            verb: "update",
            resource: "nodes",
            subresource: "status",
            name: "n",
            ..Resource::default()
        };
        assert_eq!(
            said(Attributes::Resource(wanted), "RBAC: why"),
            "nodes \"n\" is forbidden: User \"x\" cannot update resource \"nodes/status\" in API \
             group \"\" at the cluster scope: RBAC: why"
        );
        let path = Attributes::Path {
            verb: "get",
            path: "/metrics",
        };
        assert_eq!(
            said(path, ""),
            "forbidden: User \"x\" cannot get path \"/metrics\""
        );
    }
}
