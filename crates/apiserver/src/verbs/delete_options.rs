//! The options of deletions: in the query, or in a body of the kind `DeleteOptions`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use serde_json::{Value, json};

use crate::objects::Type;
use crate::request::options::dry_run_problems;
use crate::request::{Request, body, media};
use crate::status::{Cause, Status};

/// What becomes of dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They go afterwards.
    Background,
    /// They go first.
    Foreground,
    /// They stay.
    Orphan,
}

/// Options of a deletion.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// Do everything but the write.
    pub dry_run: bool,
    /// How long the object may take to end, in seconds.
    pub grace_period: Option<i64>,
    /// What becomes of dependents.
    pub propagation: Option<Propagation>,
    /// The uid that the object must have.
    pub uid: Option<String>,
    /// The resourceVersion that the object must have.
    pub resource_version: Option<String>,
}

impl DeleteOptions {
    /// Reads the options: from the body if there is one, else from the query.
    ///
    /// # Errors
    /// 400 for what cannot be read, 422 for what does not go together.
    pub fn read(request: &Request) -> Result<Self, Status> {
        if !request.body.is_empty() {
            return Self::of_body(request);
        }
        let causes = dry_run_problems(&request.query);
        if !causes.is_empty() {
            return Err(Status::invalid_options("DeleteOptions", causes));
        }
        Ok(Self {
            dry_run: request.query.has("dryRun"),
            grace_period: request.query.number("gracePeriodSeconds")?,
            propagation: propagation(
                request.query.get("propagationPolicy"),
                request.query.flag("orphanDependents"),
            )?,
            uid: None,
            resource_version: None,
        })
    }

    fn of_body(request: &Request) -> Result<Self, Status> {
        let encoding = media::object_encoding(request.header(&http::header::CONTENT_TYPE))?;
        let document = body::parse(&request.body, encoding)
            .map_err(|error| Status::bad_request(format!("couldn't get version/kind; {error}")))?;
        let mut value = document.value;
        if value["kind"]
            .as_str()
            .is_some_and(|kind| kind != "DeleteOptions")
        {
            return Err(Status::bad_request(format!(
                "the body of a DELETE is DeleteOptions, not {}",
                value["kind"]
            )));
        }
        Type::of::<meta::DeleteOptions>()
            .decode(&mut value)
            .map_err(|why| {
                Status::bad_request(format!(
                    "DeleteOptions cannot be handled as a DeleteOptions: {why}"
                ))
            })?;
        Self::of_value(&value)
    }

    /// Reads options that have the right types.
    ///
    /// # Errors
    /// 422 for what does not go together.
    pub fn of_value(value: &Value) -> Result<Self, Status> {
        let stages = value["dryRun"].as_array();
        let stages = stages.map(Vec::as_slice).unwrap_or_default();
        if stages.iter().any(|stage| stage != "All") {
            let cause = Cause::not_supported("dryRun", &value["dryRun"], &["All"]);
            return Err(Status::invalid_options("DeleteOptions", vec![cause]));
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Ok(Self {
            dry_run: !stages.is_empty(),
            grace_period: value["gracePeriodSeconds"].as_i64(),
            propagation: propagation(
                value["propagationPolicy"].as_str(),
                value["orphanDependents"].as_bool(),
            )?,
            uid: text(&value["preconditions"]["uid"]),
            resource_version: text(&value["preconditions"]["resourceVersion"]),
        })
    }
}

fn propagation(policy: Option<&str>, orphan: Option<bool>) -> Result<Option<Propagation>, Status> {
    let known = ["Background", "Foreground", "Orphan"];
    match (policy, orphan) {
        (Some("Background"), None) | (None, Some(false)) => Ok(Some(Propagation::Background)),
        (Some("Foreground"), None) => Ok(Some(Propagation::Foreground)),
        (Some("Orphan"), None) | (None, Some(true)) => Ok(Some(Propagation::Orphan)),
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            let cause = Cause::invalid("propagationPolicy", &json!(policy), why);
            Err(Status::invalid_options("DeleteOptions", vec![cause]))
        }
        (Some(other), None) => {
            let cause = Cause::not_supported("propagationPolicy", &other.into(), &known);
            Err(Status::invalid_options("DeleteOptions", vec![cause]))
        }
    }
}
