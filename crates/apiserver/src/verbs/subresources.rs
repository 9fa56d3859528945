//! Subresources: status, scale, and those that only some kinds have.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::api::{self, Scope};
use crate::request::options::WriteOptions;
use crate::status::{ResourceName, Status};

use super::delete::{DeleteOptions, delete_object};
use super::{decode, get, patch, reviews, scale, update, write};

/// Answers a request for a subresource that the kind has, with a verb that it has.
///
/// # Errors
/// The Status to send instead.
pub async fn answer(scope: Scope<'_>, subresource: &str) -> Result<Answer, Status> {
    let name = scope.path.name.clone().unwrap_or_default();
    match (subresource, &scope.request.method) {
        ("scale", _) => scale::answer(&scope, &name).await,
        ("token", _) => reviews::token(&scope, &name).await,
        ("binding", _) => bind(&scope, &name).await,
        ("eviction", _) => evict(&scope, &name).await,
        ("finalize", _) => finalize(&scope, &name).await,
        ("attach" | "exec" | "log" | "portforward" | "proxy", _) => Err(Status::bad_request(
            format!("this server runs no pods: {subresource} of {name:?} is not possible"),
        )),
        (subresource, &Method::PUT) => update::update(&scope, &name, Some(subresource)).await,
        (subresource, &Method::PATCH) => patch::patch(&scope, &name, Some(subresource)).await,
        _ => get::get(&scope, &name).await,
    }
}

/// Puts a Pod on a Node.
async fn bind(scope: &Scope<'_>, name: &str) -> Result<Answer, Status> {
    let options = WriteOptions::read(&scope.request.query, "CreateOptions")?;
    let binding = decode_plain(scope)?;
    let node = binding["target"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let kind = scope.kind.clone();
    let key = scope.key(name);
    if options.dry_run {
        get::read(scope, name).await?;
        return Ok(success());
    }
    let bound = write::modify(scope.api, &kind, &key, Some("binding"), None, |pod| {
        let binding = ResourceName {
            group: "",
            resource: "pods/binding",
        };
        let conflict = |why: String| Status::conflict(binding, name, why);
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            let why = format!("pod {name} is being deleted, cannot be assigned to a host");
            return Err(conflict(why));
        }
        let current = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        if !current.is_empty() {
            let why = format!("pod {name} is already assigned to node {current:?}");
            return Err(conflict(why));
        }
        if pod["spec"]["schedulingGates"]
            .as_array()
            .is_some_and(|gates| !gates.is_empty())
        {
            let why = format!("pod {name} has non-empty .spec.schedulingGates");
            return Err(conflict(why));
        }
        let mut bound = pod.clone();
        bound["spec"]["nodeName"] = node.as_str().into();
        let condition = json!({
            "type": "PodScheduled", "status": "True", "lastProbeTime": null,
            "lastTransitionTime": api::now(),
        });
        match bound["status"]["conditions"].as_array_mut() {
            Some(list) => {
                list.retain(|known| known["type"] != "PodScheduled");
                list.push(condition);
            }
            None => bound["status"]["conditions"] = json!([condition]),
        }
        Ok(bound)
    })
    .await?;
    match bound {
        Some(_) => Ok(success()),
        None => Err(Status::not_found(kind.resource_name(), name)),
    }
}

/// Deletes a Pod if its disruption budgets allow it.
async fn evict(scope: &Scope<'_>, name: &str) -> Result<Answer, Status> {
    let eviction = decode_plain(scope)?;
    let (_, pod) = get::read(scope, name).await?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let options = &eviction["deleteOptions"];
    let options = DeleteOptions {
        dry_run: scope.request.query.has("dryRun") || options["dryRun"].is_array(),
        grace_period: options["gracePeriodSeconds"].as_i64(),
        propagation: None,
        uid: text(&options["preconditions"]["uid"]),
        resource_version: text(&options["preconditions"]["resourceVersion"]),
    };
    let over = matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed" | "Pending")
    );
    if !over && pod["metadata"]["deletionTimestamp"].is_null() {
        crate::controllers::disruption::claim(scope.api, scope.namespace(), &pod, options.dry_run)
            .await?;
    }
    delete_object(scope.api, &scope.kind, scope.namespace(), name, &options).await?;
    Ok(success())
}

/// Replaces `spec.finalizers` of a Namespace.
async fn finalize(scope: &Scope<'_>, name: &str) -> Result<Answer, Status> {
    update::update(scope, name, Some("finalize")).await
}

/// A body of another kind than the scope's.
fn decode_plain(scope: &Scope<'_>) -> Result<Value, Status> {
    let encoding =
        crate::request::media::object_encoding(scope.request.header(&http::header::CONTENT_TYPE))?;
    Ok(decode::parse(&scope.kind, &scope.request.body, encoding)?.value)
}

fn success() -> Answer {
    let value = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
    });
    Answer::Document {
        code: StatusCode::CREATED,
        value,
    }
}
