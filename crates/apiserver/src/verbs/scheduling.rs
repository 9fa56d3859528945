//! Where Pods go, and how they leave: bindings and evictions.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::api::{self, Scope};
use crate::controllers::disruption;
use crate::objects::{self, text};
use crate::registry::Kind;
use crate::request::media;
use crate::request::options::WriteOptions;
use crate::status::{ResourceName, Status};

use super::delete::{check_preconditions, delete_object};
use super::delete_options::DeleteOptions;
use super::{create, decode, get, write};

/// How messages name bindings.
const BINDING: ResourceName<'_> = ResourceName {
    group: "",
    resource: "pods/binding",
};

/// Answers the creation of a Binding by itself, which names its Pod only in the body.
pub async fn create_binding(scope: &Scope<'_>) -> Result<Answer, Status> {
    let binding = read(scope, "Binding", &["v1"])?;
    let name = text(&binding["metadata"]["name"]).to_owned();
    let pods = scope.api.registry.find("", "v1", "pods");
    bind(scope, &pods.ok_or_else(Status::unknown_path)?, &name).await
}

/// Puts a Pod on a Node. `pods` is the kind of Pods.
pub async fn bind(scope: &Scope<'_>, pods: &Arc<Kind>, name: &str) -> Result<Answer, Status> {
    let options = WriteOptions::read(&scope.request.query, "CreateOptions")?;
    let binding = read(scope, "Binding", &["v1"])?;
    check_name(&binding, name, "Binding")?;
    check_target(&binding["target"])?;
    let key = pods.key(scope.namespace(), name);
    if options.dry_run {
        let found = scope.api.storage.get(&key).await;
        let stored = found
            .map_err(|error| api::storage_failed(&error))?
            .ok_or_else(|| Status::not_found(pods.resource_name(), name))?;
        bound(&api::decode(pods, &stored)?, &binding)?;
        return Ok(success());
    }
    let done = write::modify(scope.api, pods, &key, Some("binding"), None, |pod| {
        bound(pod, &binding)
    })
    .await?;
    match done {
        Some(_) => Ok(success()),
        None => Err(Status::not_found(pods.resource_name(), name)),
    }
}

/// The real server does not say which field is wrong: its errors become a plain 500.
fn check_target(target: &Value) -> Result<(), Status> {
    let kind = text(&target["kind"]);
    if !matches!(kind, "" | "Node") {
        return Err(Status::failure(format!(
            "target.kind: Unsupported value: {kind:?}: supported values: \"Node\", \"<empty>\""
        )));
    }
    if text(&target["name"]).is_empty() {
        return Err(Status::failure("target.name: Required value"));
    }
    Ok(())
}

/// The Pod as the binding makes it.
fn bound(pod: &Value, binding: &Value) -> Result<Value, Status> {
    let metadata = &pod["metadata"];
    let name = text(&metadata["name"]);
    let conflict = |why: String| Status::conflict(BINDING, name, why);
    for field in ["uid", "resourceVersion"] {
        let (wanted, is) = (text(&binding["metadata"][field]), text(&metadata[field]));
        if !wanted.is_empty() && wanted != is {
            return Err(conflict(format!(
                "Precondition failed: {field} in precondition: {wanted}, {field} in object meta: \
                 {is}"
            )));
        }
    }
    if !metadata["deletionTimestamp"].is_null() {
        let why = format!("pod {name} is being deleted, cannot be assigned to a host");
        return Err(conflict(why));
    }
    let current = text(&pod["spec"]["nodeName"]);
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
    bound["spec"]["nodeName"] = binding["target"]["name"].clone();
    let annotations = binding["metadata"]["annotations"].as_object();
    for (key, value) in annotations.into_iter().flatten() {
        bound["metadata"]["annotations"][key] = value.clone();
    }
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
}

/// Deletes a Pod if its disruption budgets allow it.
pub async fn evict(scope: &Scope<'_>, name: &str) -> Result<Answer, Status> {
    let request = WriteOptions::read(&scope.request.query, "CreateOptions")?;
    let eviction = read(scope, "Eviction", &["policy/v1", "policy/v1beta1"])?;
    check_name(&eviction, name, "Eviction")?;
    let mut options = DeleteOptions::of_value(&eviction["deleteOptions"])?;
    options.dry_run |= request.dry_run;
    let (_, pod) = get::read(scope, name).await?;
    let over = matches!(
        text(&pod["status"]["phase"]),
        "Succeeded" | "Failed" | "Pending"
    );
    let mut unready_of = None;
    if !over && pod["metadata"]["deletionTimestamp"].is_null() {
        let (api, namespace) = (scope.api, scope.namespace());
        unready_of = disruption::claim(api, namespace, &pod, options.dry_run).await?;
    }
    // A pod that goes because it was not ready must not have become ready since.
    let pinned = unready_of.is_some() && options.resource_version.is_none();
    if pinned {
        let version = pod["metadata"]["resourceVersion"].as_str();
        options.resource_version = version.map(str::to_owned);
    }
    match disrupt(scope, name, options).await {
        Err(status) if pinned && status.code == StatusCode::CONFLICT => {
            Err(disruption::still_processed(&unready_of.unwrap_or_default()))
        }
        done => done,
    }
}

/// Says of a Pod why it goes, and deletes it.
async fn disrupt(
    scope: &Scope<'_>,
    name: &str,
    mut options: DeleteOptions,
) -> Result<Answer, Status> {
    let kind = &scope.kind;
    if !options.dry_run {
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "lastProbeTime": null,
            "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
        });
        let key = scope.key(name);
        let mark = |pod: &Value| {
            check_preconditions(kind, name, pod, &options)?;
            let mut marked = pod.clone();
            if !objects::is_true(&pod["status"], "DisruptionTarget") {
                objects::set_condition(&mut marked["status"], condition.clone(), &api::now());
            }
            Ok(marked)
        };
        let marked = write::modify(scope.api, kind, &key, Some("status"), None, mark)
            .await?
            .ok_or_else(|| Status::not_found(kind.resource_name(), name))?;
        if options.resource_version.is_some() {
            let version = marked["metadata"]["resourceVersion"].as_str();
            options.resource_version = version.map(str::to_owned);
        }
    }
    delete_object(scope.api, kind, scope.namespace(), name, &options).await?;
    Ok(success())
}

/// A body of another kind than the scope's; it may leave its type out.
fn read(scope: &Scope<'_>, kind: &str, versions: &[&str]) -> Result<Value, Status> {
    let encoding = media::object_encoding(scope.request.header(&http::header::CONTENT_TYPE))?;
    let value = decode::parse(&scope.kind, &scope.request.body, encoding)?.value;
    let given_kind = value["kind"].as_str().unwrap_or(kind);
    let given = value["apiVersion"].as_str().unwrap_or(versions[0]);
    if given_kind != kind || !versions.contains(&given) {
        let version = given.rsplit('/').next().unwrap_or_default();
        return Err(Status::bad_request(format!(
            "{given_kind} in version {version:?} cannot be handled as a {kind}"
        )));
    }
    create::check_namespace(&scope.kind, scope.namespace(), &value)?;
    Ok(value)
}

fn check_name(value: &Value, name: &str, kind: &str) -> Result<(), Status> {
    if text(&value["metadata"]["name"]) == name {
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "name in URL does not match name in {kind} object"
    )))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_is_for_the_pod_that_it_names() {
        let pod = json!({"metadata": {"name": "a", "uid": "1"}, "spec": {}, "status": {}});
        let binding = |uid: &str| json!({"metadata": {"uid": uid}, "target": {"name": "n"}});
        assert_eq!(bound(&pod, &binding("1")).unwrap()["spec"]["nodeName"], "n");
        assert_eq!(bound(&pod, &binding("2")).unwrap_err().reason, "Conflict");
    }

    #[test]
    fn a_binding_leads_to_a_node() {
        assert!(check_target(&json!({"kind": "Node", "name": "n"})).is_ok());
        for target in [json!({"kind": "Pod", "name": "n"}), json!({"kind": "Node"})] {
            assert_eq!(check_target(&target).unwrap_err().code, 500, "{target}");
        }
    }
}
