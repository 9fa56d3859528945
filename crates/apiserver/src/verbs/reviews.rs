//! Kinds that are asked, not stored: reviews of users and permissions, tokens, bindings.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::api::Scope;
use crate::request::media;
use crate::request::options::WriteOptions;
use crate::status::{Cause, ResourceName, Status};

use super::{decode, get};

/// How long a token is said to last unless the request says otherwise, in seconds.
const TOKEN_LIFETIME: i64 = 3600;

/// Answers the creation of a review.
pub async fn answer(scope: &Scope<'_>) -> Result<Answer, Status> {
    let options = WriteOptions::read(&scope.request.query, "CreateOptions")?;
    let mut value = decode::body(&scope.kind, scope.request, options.field_validation)?.object;
    match scope.kind.kind.as_str() {
        "SelfSubjectReview" => {
            value["status"] = json!({"userInfo": {
                "username": scope.request.identity.user,
                "groups": scope.request.identity.groups,
            }});
        }
        "SelfSubjectAccessReview" | "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            check_attributes(&scope.kind.kind, &value["spec"])?;
            value["status"] = json!({"allowed": true, "reason": "everybody may do everything"});
        }
        "SelfSubjectRulesReview" => {
            value["status"] = json!({
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                "incomplete": false,
            });
        }
        "TokenReview" => {
            value["status"] = json!({"user": {}, "error": "this server knows no service tokens"});
        }
        _ => return Err(Status::method_not_allowed()),
    }
    Ok(Answer::Document {
        code: StatusCode::CREATED,
        value,
    })
}

/// A question is about a resource or about a path.
fn check_attributes(kind: &str, spec: &Value) -> Result<(), Status> {
    if spec["resourceAttributes"].is_object() != spec["nonResourceAttributes"].is_object() {
        return Ok(());
    }
    let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
    let cause = Cause::invalid("spec.resourceAttributes", &spec["resourceAttributes"], why);
    let kind = ResourceName {
        group: "authorization.k8s.io",
        resource: kind,
    };
    Err(Status::invalid(kind, "", vec![cause]))
}

/// A token of a ServiceAccount. It has the form of a token but opens nothing: this server knows
/// its administrators only.
pub async fn token(scope: &Scope<'_>, name: &str) -> Result<Answer, Status> {
    WriteOptions::read(&scope.request.query, "CreateOptions")?;
    let (_, account) = get::read(scope, name).await?;
    let encoding = media::object_encoding(scope.request.header(&http::header::CONTENT_TYPE))?;
    let mut document = decode::parse(&scope.kind, &scope.request.body, encoding)?;
    let tokens = crate::objects::Type::of::<k8s_openapi::api::authentication::v1::TokenRequest>();
    tokens
        .decode(&mut document.value)
        .map_err(Status::bad_request)?;
    let mut request = document.value;
    let spec = &mut request["spec"];
    if !spec.is_object() {
        *spec = json!({});
    }
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or(TOKEN_LIFETIME);
    if seconds < 600 {
        let why = "may not specify a duration less than 10 minutes";
        let cause = Cause::invalid("spec.expirationSeconds", &seconds.into(), why);
        let kind = ResourceName {
            group: "authentication.k8s.io",
            resource: "TokenRequest",
        };
        return Err(Status::invalid(kind, name, vec![cause]));
    }
    spec["expirationSeconds"] = seconds.into();
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds.min(1 << 32));
    let claims = json!({
        "sub": format!("system:serviceaccount:{}:{name}", scope.namespace().unwrap_or_default()),
        "exp": end.as_second(),
        "uid": account["metadata"]["uid"],
    });
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let token = format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims));
    request["kind"] = "TokenRequest".into();
    request["apiVersion"] = "authentication.k8s.io/v1".into();
    request["metadata"] = json!({"name": name, "namespace": scope.namespace().unwrap_or_default()});
    request["status"] = json!({
        "token": token,
        "expirationTimestamp": end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    Ok(Answer::Document {
        code: StatusCode::CREATED,
        value: request,
    })
}
