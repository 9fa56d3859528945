//! The `Status` object: every error that the server answers, with the codes, reasons and
//! wording of the Kubernetes API conventions.

mod cause;

use http::StatusCode;
use serde_json::{Map, Value, json};

pub use cause::Cause;

/// An error answer (or, for deletions, a success) as clients of the Kubernetes API expect it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// The HTTP status code.
    pub code: StatusCode,
    /// The machine-readable reason; empty when there is none.
    pub reason: &'static str,
    /// The text for people.
    pub message: String,
    /// What the error is about.
    pub details: Box<Details>,
}

/// `Status.details`.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// Name of the object.
    pub name: String,
    /// API group of the object.
    pub group: String,
    /// Plural resource name, or the kind in validation errors.
    pub kind: String,
    /// The uid of the object, in answers to deletions.
    pub uid: String,
    /// Single problems.
    pub causes: Vec<Cause>,
    /// When to try again, in seconds.
    pub retry_after_seconds: Option<u32>,
    /// Where a list that has expired can go on; empty if it cannot.
    pub continue_from: String,
}

/// A resource as error messages name it: `configmaps`, `leases.coordination.k8s.io`.
#[derive(Clone, Copy, Debug)]
pub struct ResourceName<'a> {
    /// API group, empty for the core group.
    pub group: &'a str,
    /// Plural name, or a kind.
    pub resource: &'a str,
}

impl std::fmt::Display for ResourceName<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.group {
            "" => f.write_str(self.resource),
            group => write!(f, "{}.{group}", self.resource),
        }
    }
}

impl Status {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: Box::default(),
        }
    }

    fn about(mut self, resource: ResourceName<'_>, name: &str) -> Self {
        self.details.name = name.to_owned();
        self.details.group = resource.group.to_owned();
        self.details.kind = resource.resource.to_owned();
        self
    }

    /// 401, for requests without valid credentials.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// 404 for an object.
    pub fn not_found(resource: ResourceName<'_>, name: &str) -> Self {
        let message = format!("{resource} {name:?} not found");
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(resource, name)
    }

    /// 404 for a path that nothing serves.
    pub fn unknown_path() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// 405, the definition of the kind is going away.
    pub fn definition_terminating() -> Self {
        let message = "create not allowed while custom resource definition is terminating";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// 409, the name is taken. `deleting` says that the object there is on its way out.
    pub fn already_exists(resource: ResourceName<'_>, name: &str, deleting: bool) -> Self {
        let prefix = if deleting {
            "object is being deleted: "
        } else {
            ""
        };
        let message = format!("{prefix}{resource} {name:?} already exists");
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(resource, name)
    }

    /// 409, a precondition does not hold.
    pub fn conflict(resource: ResourceName<'_>, name: &str, why: impl std::fmt::Display) -> Self {
        let message = format!("Operation cannot be fulfilled on {resource} {name:?}: {why}");
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(resource, name)
    }

    /// 409, the resourceVersion is not the newest.
    pub fn stale(resource: ResourceName<'_>, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and \
             try again",
        )
    }

    /// 409, other appliers own fields.
    pub fn apply_conflict(message: String, causes: Vec<Cause>) -> Self {
        let mut status = Self::new(StatusCode::CONFLICT, "Conflict", message);
        status.details.causes = causes;
        status
    }

    /// 422, the object is not valid. `kind` is the kind's name, not the plural.
    pub fn invalid(kind: ResourceName<'_>, name: &str, causes: Vec<Cause>) -> Self {
        let mut all: Vec<String> = causes
            .iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect();
        let all = match all.len() {
            1 => all.remove(0),
            _ => format!("[{}]", all.join(", ")),
        };
        let message = format!("{kind} {name:?} is invalid: {all}");
        let mut status =
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).about(kind, name);
        status.details.causes = causes;
        status
    }

    /// 422, the options of a request are not valid. `kind` is `ListOptions` or the like.
    pub fn invalid_options(kind: &str, causes: Vec<Cause>) -> Self {
        Self::invalid(
            ResourceName {
                group: "meta.k8s.io",
                resource: kind,
            },
            "",
            causes,
        )
    }

    /// 422, the patch leads to something that is not an object of its kind.
    pub fn invalid_patch(patched: &Value, why: impl std::fmt::Display) -> Self {
        let causes = vec![Cause::invalid(
            "patch",
            &Value::String(patched.to_string()),
            why,
        )];
        Self::invalid(
            ResourceName {
                group: "",
                resource: "",
            },
            "",
            causes,
        )
    }

    /// 422, a JSON patch that cannot be applied.
    pub fn rejected_patch() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 403.
    pub fn forbidden(resource: ResourceName<'_>, name: &str, why: impl std::fmt::Display) -> Self {
        let message = format!("{resource} {name:?} is forbidden: {why}");
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(resource, name)
    }

    /// 403, somebody may not do something. Empty texts are left out.
    pub fn not_authorized(resource: ResourceName<'_>, name: &str, why: &str) -> Self {
        let message = match (resource.resource, name) {
            ("", _) => format!("forbidden: {why}"),
            (_, "") => format!("{resource} is forbidden: {why}"),
            (_, name) => format!("{resource} {name:?} is forbidden: {why}"),
        };
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(resource, name)
    }

    /// 406.
    pub fn not_acceptable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// 415.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            message,
        )
    }

    /// 410, the history no longer reaches back to the wanted resourceVersion.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// 413.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            message,
        )
    }

    /// 429, as an eviction that a disruption budget does not allow.
    pub fn disruption_budget(message: String) -> Self {
        let text = "Cannot evict pod as it would violate the pod's disruption budget.";
        let mut status = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", text);
        status
            .details
            .causes
            .push(Cause::new("", "DisruptionBudget", message));
        status
    }

    /// 429, the server has too much to do.
    pub fn too_many_requests(retry_after_seconds: u32) -> Self {
        let message = "Too many requests, please try again later.";
        let mut status = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
        status.details.retry_after_seconds = Some(retry_after_seconds);
        status
    }

    /// 503.
    pub fn service_unavailable() -> Self {
        let message = "the server is currently unable to handle the request";
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            message,
        )
    }

    /// 504, the server gave up.
    pub fn timeout() -> Self {
        let message = "Timeout: request did not complete within requested timeout - context \
                       deadline exceeded";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message)
    }

    /// 429, as an eviction for which it cannot be said yet whether a budget allows it.
    pub fn disruption_budget_unsettled(message: String) -> Self {
        let mut status = Self::disruption_budget(message);
        status.details.retry_after_seconds = Some(10);
        status
    }

    /// 500 without a reason: how the real server answers what it does not turn into a Status.
    pub fn failure(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "", message)
    }

    /// 504, the server has not seen the wanted resourceVersion yet.
    pub fn too_large_resource_version(wanted: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {wanted}, current: {current}");
        let mut status = Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message);
        status.details.causes.push(Cause::new(
            "",
            "ResourceVersionTooLarge",
            "Too large resource version",
        ));
        status.details.retry_after_seconds = Some(1);
        status
    }

    /// 500.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        let message = format!("Internal error occurred: {message}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// The JSON document.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if !self.details.continue_from.is_empty() {
            status["metadata"]["continue"] = self.details.continue_from.as_str().into();
        }
        let details = self.details.to_map();
        if !details.is_empty() {
            status["details"] = Value::Object(details);
        }
        status["code"] = self.code.as_u16().into();
        status
    }
}

impl Details {
    fn to_map(&self) -> Map<String, Value> {
        let mut details = Map::new();
        let texts = [
            ("name", &self.name),
            ("group", &self.group),
            ("kind", &self.kind),
            ("uid", &self.uid),
        ];
        for (key, text) in texts {
            if !text.is_empty() {
                details.insert(key.into(), text.as_str().into());
            }
        }
        if !self.causes.is_empty() {
            let causes = self.causes.iter().map(Cause::to_value).collect();
            details.insert("causes".into(), Value::Array(causes));
        }
        if let Some(seconds) = self.retry_after_seconds {
            details.insert("retryAfterSeconds".into(), seconds.into());
        }
        details
    }
}

/// The answer to a deletion that removed the object at once.
pub fn deleted(resource: ResourceName<'_>, name: &str, uid: &str) -> Value {
    let details = Details {
        name: name.to_owned(),
        group: resource.group.to_owned(),
        kind: resource.resource.to_owned(),
        uid: uid.to_owned(),
        ..Details::default()
    };
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details.to_map(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_follows_the_resource_and_the_core_group_is_silent() {
        let leases = ResourceName {
            group: "coordination.k8s.io",
            resource: "leases",
        };
        assert_eq!(
            Status::not_found(leases, "a").message,
            "leases.coordination.k8s.io \"a\" not found"
        );
        let pods = ResourceName {
            group: "",
            resource: "pods",
        };
        assert_eq!(Status::not_found(pods, "a").message, "pods \"a\" not found");
    }

    #[test]
    fn several_causes_are_put_in_brackets() {
        let kind = ResourceName {
            group: "",
            resource: "Pod",
        };
        let causes = vec![Cause::required("a", ""), Cause::required("b", "why")];
        assert_eq!(
            Status::invalid(kind, "p", causes).message,
            "Pod \"p\" is invalid: [a: Required value, b: Required value: why]"
        );
    }

    #[test]
    fn a_status_without_details_leaves_them_out() {
        assert!(Status::unknown_path().to_value().get("details").is_none());
    }
}
