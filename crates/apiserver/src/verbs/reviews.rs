//! Kinds that are asked, not stored: reviews of users, permissions and tokens.

use std::collections::BTreeMap;

use http::StatusCode;
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::{Value, json};

use crate::access::{Attributes, Resource};
use crate::answer::Answer;
use crate::api::Scope;
use crate::objects::text;
use crate::request::Identity;
use crate::request::options::WriteOptions;
use crate::status::{Cause, ResourceName, Status};

use super::{create, decode};

/// Answers the creation of a review.
pub async fn answer(scope: &Scope<'_>) -> Result<Answer, Status> {
    let options = WriteOptions::read(&scope.request.query, "CreateOptions")?;
    let mut value = decode::body(&scope.kind, scope.request, options.field_validation)?.object;
    create::check_namespace(&scope.kind, scope.namespace(), &value)?;
    let sender = &*scope.request.identity;
    value["status"] = match scope.kind.kind.as_str() {
        "SelfSubjectReview" => json!({"userInfo": user_info(sender)}),
        "SelfSubjectAccessReview" => {
            check(scope, &value)?;
            decision(scope, sender, &value["spec"])
        }
        "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            check(scope, &value)?;
            let spec = &value["spec"];
            decision(scope, &subject(spec), spec)
        }
        "SelfSubjectRulesReview" => {
            let namespace = value["spec"]["namespace"].as_str().unwrap_or_default();
            if namespace.is_empty() {
                return Err(Status::bad_request("no namespace on request"));
            }
            rules(scope, sender, namespace)
        }
        "TokenReview" => token(scope, &value["spec"]).await?,
        _ => return Err(Status::method_not_allowed()),
    };
    Ok(Answer::Document {
        code: StatusCode::CREATED,
        value,
    })
}

/// `UserInfo`, without what is empty.
fn user_info(identity: &Identity) -> Value {
    let mut info = json!({"username": identity.user});
    if !identity.uid.is_empty() {
        info["uid"] = identity.uid.as_str().into();
    }
    if !identity.groups.is_empty() {
        info["groups"] = json!(identity.groups);
    }
    if !identity.extra.is_empty() {
        info["extra"] = json!(identity.extra);
    }
    info
}

/// A question is about a resource or about a path, and about somebody; it has no metadata but,
/// if it is asked in a namespace, that namespace, in which it stays.
fn check(scope: &Scope<'_>, review: &Value) -> Result<(), Status> {
    let kind = scope.kind.kind.as_str();
    let local = kind == "LocalSubjectAccessReview";
    let (spec, metadata) = (&review["spec"], &review["metadata"]);
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let mut causes = Vec::new();
    if resource.is_object() && path.is_object() {
        let why = "cannot be specified in combination with resourceAttributes";
        causes.push(Cause::invalid("spec.nonResourceAttributes", path, why));
    }
    if !resource.is_object() && !path.is_object() {
        let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        let nothing = Value::Null;
        causes.push(Cause::invalid("spec.resourceAttributes", &nothing, why));
    }
    let groups = spec["groups"]
        .as_array()
        .is_some_and(|list| !list.is_empty());
    if kind != "SelfSubjectAccessReview" && text(&spec["user"]).is_empty() && !groups {
        let why = "at least one of user or group must be specified";
        causes.push(Cause::invalid("spec.user", &"".into(), why));
    }
    let given = |(name, value): (&String, &Value)| {
        let allowed = name == "managedFields" || local && name == "namespace";
        !allowed && !value.is_null()
    };
    if metadata.as_object().into_iter().flatten().any(given) {
        let why = if local {
            "must be empty except for namespace"
        } else {
            "must be empty"
        };
        causes.push(Cause::invalid("metadata", metadata, why));
    }
    if local {
        // A client may leave it to the path to say which namespace is meant.
        let namespace = scope.namespace().unwrap_or_default();
        let asked = &resource["namespace"];
        if resource.is_object() && text(asked) != namespace {
            let (field, why) = (
                "spec.resourceAttributes.namespace",
                "must match metadata.namespace",
            );
            causes.push(Cause::invalid(field, &text(asked).into(), why));
        }
        if path.is_object() {
            let why = "disallowed on this kind of request";
            causes.push(Cause::invalid("spec.nonResourceAttributes", path, why));
        }
    }
    if causes.is_empty() {
        return Ok(());
    }
    // kube-apiserver has forgotten the kind when it checks a review.
    let kind = ResourceName {
        group: "authorization.k8s.io",
        resource: "",
    };
    Err(Status::invalid(kind, "", causes))
}

fn subject(spec: &Value) -> Identity {
    let texts = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    };
    let extra: BTreeMap<String, Vec<String>> = spec["extra"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, values)| (key.clone(), texts(values)))
        .collect();
    Identity {
        user: text(&spec["user"]).to_owned(),
        uid: text(&spec["uid"]).to_owned(),
        groups: texts(&spec["groups"]),
        extra,
    }
}

/// The status of a question.
fn decision(scope: &Scope<'_>, identity: &Identity, spec: &Value) -> Value {
    let asked = &spec["resourceAttributes"];
    let attributes = if asked.is_object() {
        Attributes::Resource(Resource {
            verb: text(&asked["verb"]),
            group: text(&asked["group"]),
            resource: text(&asked["resource"]),
            subresource: text(&asked["subresource"]),
            namespace: text(&asked["namespace"]),
            name: text(&asked["name"]),
        })
    } else {
        let asked = &spec["nonResourceAttributes"];
        Attributes::Path {
            verb: text(&asked["verb"]),
            path: text(&asked["path"]),
        }
    };
    let decision = scope.api.access.decide(identity, &attributes);
    let mut status = json!({"allowed": decision.allowed});
    if !decision.reason.is_empty() {
        status["reason"] = decision.reason.into();
    }
    status
}

/// The status of `kubectl auth can-i --list`.
fn rules(scope: &Scope<'_>, identity: &Identity, namespace: &str) -> Value {
    let granted = scope.api.access.rules_of(identity, Some(namespace));
    let is_given = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    for rule in &granted.rules {
        let PolicyRule {
            verbs,
            api_groups,
            resources: names,
            resource_names,
            non_resource_urls,
        } = rule;
        if is_given(names) {
            let mut rule = json!({"verbs": verbs, "apiGroups": api_groups, "resources": names});
            if is_given(resource_names) {
                rule["resourceNames"] = json!(resource_names);
            }
            resources.push(rule);
        }
        if is_given(non_resource_urls) {
            paths.push(json!({"verbs": verbs, "nonResourceURLs": non_resource_urls}));
        }
    }
    let mut status = json!({
        "resourceRules": resources,
        "nonResourceRules": paths,
        "incomplete": !granted.problems.is_empty(),
    });
    if !granted.problems.is_empty() {
        status["evaluationError"] = granted.problems.join(", ").into();
    }
    status
}

/// The status of a question whose token something is.
async fn token(scope: &Scope<'_>, spec: &Value) -> Result<Value, Status> {
    let token = text(&spec["token"]);
    if token.is_empty() {
        return Err(Status::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let audiences: Option<Vec<String>> = spec["audiences"].as_array().map(|audiences| {
        let texts = audiences.iter().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    });
    let access = &scope.api.access;
    let identity = access
        .by_token(&*scope.api.storage, token, audiences.as_deref())
        .await?;
    Ok(match identity {
        None => json!({"user": {}, "error": "invalid bearer token"}),
        Some(identity) => {
            let mut status = json!({"authenticated": true, "user": user_info(&identity)});
            if let Some(audiences) = audiences {
                status["audiences"] = json!(audiences);
            }
            status
        }
    })
}
