//! The tokens of ServiceAccounts (`kubectl create token`).

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::access::{Account, Bound, ISSUER};
use crate::answer::Answer;
use crate::api::{self, Scope};
use crate::objects::text;
use crate::request::media;
use crate::request::options::WriteOptions;
use crate::status::{Cause, ResourceName, Status};

use super::{decode, get};

/// How long a token is good unless the request says otherwise, in seconds.
const LIFETIME: i64 = 3600;
/// The shortest time for which a token can be good, in seconds.
const SHORTEST: i64 = 600;
/// The longest time for which a token can be good, in seconds.
const LONGEST: i64 = 1 << 32;

/// Gives a token of a ServiceAccount.
pub async fn create(scope: &Scope<'_>, name: &str) -> Result<Answer, Status> {
    let options = WriteOptions::read(&scope.request.query, "CreateOptions")?;
    let (_, account) = get::read(scope, name).await?;
    let encoding = media::object_encoding(scope.request.header(&http::header::CONTENT_TYPE))?;
    let mut document = decode::parse(&scope.kind, &scope.request.body, encoding)?;
    let tokens = crate::objects::Type::of::<k8s_openapi::api::authentication::v1::TokenRequest>();
    tokens
        .decode(&mut document.value)
        .map_err(Status::bad_request)?;
    let mut request = document.value;
    let namespace = scope.namespace().unwrap_or_default();
    if !request["spec"].is_object() {
        request["spec"] = json!({});
    }
    let spec = &mut request["spec"];
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or(LIFETIME);
    check_lifetime(name, seconds)?;
    spec["expirationSeconds"] = seconds.into();
    let given = spec["audiences"].as_array().into_iter().flatten();
    let mut audiences: Vec<String> = given
        .filter_map(|audience| audience.as_str().map(str::to_owned))
        .collect();
    if audiences.is_empty() {
        audiences.push(ISSUER.to_owned());
    }
    spec["audiences"] = json!(audiences);

    let mut bound = Bound {
        namespace: namespace.to_owned(),
        serviceaccount: Account {
            name: name.to_owned(),
            uid: text(&account["metadata"]["uid"]).to_owned(),
        },
        pod: None,
        secret: None,
    };
    if spec["boundObjectRef"].is_object() {
        bind(scope, &mut bound, &spec["boundObjectRef"]).await?;
    }
    let now = Timestamp::now();
    let end = now + SignedDuration::from_secs(seconds);
    request["kind"] = "TokenRequest".into();
    request["apiVersion"] = "authentication.k8s.io/v1".into();
    request["metadata"] = json!({
        "name": name, "namespace": namespace, "creationTimestamp": api::now(),
    });
    if !options.dry_run {
        let accounts = scope.api.access.accounts();
        let token = accounts.issue(bound, audiences, now.as_second(), end.as_second())?;
        request["status"] = json!({
            "token": token,
            "expirationTimestamp": api::time_text(end),
        });
    }
    Ok(Answer::Document {
        code: StatusCode::CREATED,
        value: request,
    })
}

fn check_lifetime(name: &str, seconds: i64) -> Result<(), Status> {
    let why = match seconds {
        ..SHORTEST => "may not specify a duration less than 10 minutes",
        SHORTEST..=LONGEST => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let cause = Cause::invalid("spec.expirationSeconds", &seconds.into(), why);
    let kind = ResourceName {
        group: "authentication.k8s.io",
        resource: "TokenRequest",
    };
    Err(Status::invalid(kind, name, vec![cause]))
}

/// Binds a token to the object that a reference names.
async fn bind(scope: &Scope<'_>, bound: &mut Bound, reference: &Value) -> Result<(), Status> {
    let (name, uid) = (text(&reference["name"]), text(&reference["uid"]));
    let (version, kind) = (text(&reference["apiVersion"]), text(&reference["kind"]));
    let (plural, place) = match (version, kind) {
        ("v1", "Pod") => ("pods", &mut bound.pod),
        ("v1", "Secret") => ("secrets", &mut bound.secret),
        _ => {
            return Err(Status::bad_request(format!(
                "cannot bind token for serviceaccount {:?} to type {kind:?} of {version:?}",
                bound.serviceaccount.name
            )));
        }
    };
    let resource = ResourceName {
        group: "",
        resource: plural,
    };
    let key = format!("/{plural}/{}/{name}", bound.namespace);
    let stored = scope.api.storage.get(&key).await;
    let stored = stored
        .map_err(|error| api::storage_failed(&error))?
        .ok_or_else(|| Status::not_found(resource, name))?;
    let object: Value = serde_json::from_slice(&stored.value).unwrap_or_default();
    let is = text(&object["metadata"]["uid"]);
    if !uid.is_empty() && uid != is {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(Status::conflict(resource, name, why));
    }
    *place = Some(Account {
        name: name.to_owned(),
        uid: is.to_owned(),
    });
    Ok(())
}
