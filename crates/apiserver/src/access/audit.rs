//! A log of all requests, as kube-apiserver's `--audit-log-path` writes it at the level
//! `Metadata`: who asked for what, whether they might, by which rule, and what was answered.

use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::request::Request;

use super::attributes::Attributes;
use super::policy::Decision;

/// Writes a line of JSON for each request. No line holds a body or a secret.
#[derive(Debug)]
pub struct Audit {
    file: Mutex<std::fs::File>,
}

impl Audit {
    /// Adds to a file, which is made if it is missing.
    ///
    /// # Errors
    /// If it cannot be written to.
    pub fn to_file(path: &Path) -> std::io::Result<Self> {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)?;
        Ok(Self {
            file: Mutex::new(file),
        })
    }

    /// Notes a request that came in at `received`.
    pub fn note(
        &self,
        request: &Request,
        attributes: &Attributes<'_>,
        decision: &Decision,
        code: StatusCode,
        received: Timestamp,
    ) {
        let line = format!("{}\n", event(request, attributes, decision, code, received));
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(line.as_bytes()) {
            tracing::warn!(%error, "cannot write to the audit log");
        }
    }
}

fn event(
    request: &Request,
    attributes: &Attributes<'_>,
    decision: &Decision,
    code: StatusCode,
    received: Timestamp,
) -> Value {
    let identity = &request.identity;
    let verb = match attributes {
        Attributes::Resource(wanted) => wanted.verb,
        Attributes::Path { verb, .. } => verb,
    };
    let time = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    let mut event = json!({
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": uuid::Uuid::new_v4().to_string(),
        // The answer to a watch has only begun.
        "stage": if verb == "watch" { "ResponseStarted" } else { "ResponseComplete" },
        "requestURI": request.path,
        "verb": verb,
        "user": {"username": identity.user, "groups": identity.groups},
        "userAgent": request.header(&http::header::USER_AGENT).unwrap_or_default(),
        "responseStatus": {"metadata": {}, "code": code.as_u16()},
        "requestReceivedTimestamp": time(received),
        "stageTimestamp": time(Timestamp::now()),
        "annotations": {
            "authorization.k8s.io/decision": if decision.allowed { "allow" } else { "forbid" },
            "authorization.k8s.io/reason": decision.reason,
        },
    });
    if let Attributes::Resource(wanted) = attributes {
        let parts = [
            ("resource", wanted.resource),
            ("namespace", wanted.namespace),
            ("name", wanted.name),
            ("apiGroup", wanted.group),
            ("subresource", wanted.subresource),
        ];
        let given = parts.into_iter().filter(|(_, text)| !text.is_empty());
        event["objectRef"] = given
            .map(|(key, text)| (key.to_owned(), Value::from(text)))
            .collect();
    }
    event
}
