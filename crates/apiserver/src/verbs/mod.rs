//! The verbs of resources: create, get, list, watch, update, patch, delete, and subresources.

mod addresses;
mod apply;
mod create;
mod decode;
mod delete;
mod delete_options;
mod event_lines;
mod get;
mod list;
mod patch;
mod priorities;
mod reviews;
mod sameness;
mod scale;
mod scheduling;
mod subresources;
mod system_fields;
mod token;
mod update;
mod watch;
mod write;

use http::Method;

use crate::answer::Answer;
use crate::api::Scope;
use crate::objects;
use crate::request::media;
use crate::status::Status;

pub use delete::delete_object;
pub use delete_options::{DeleteOptions, Propagation};
pub use event_lines::EventLines;
pub use scale::replicas;
pub use write::{is_ready_to_go, modify};

/// Answers a request for a resource.
///
/// # Errors
/// The Status to send instead.
pub async fn answer(scope: Scope<'_>) -> Result<Answer, Status> {
    let accept = scope
        .request
        .header(&http::header::ACCEPT)
        .map(str::to_owned);
    let warning = objects::warnings::of_kind(&scope.kind);
    let answer = match (&scope.path.name, &scope.path.subresource) {
        (None, _) => {
            check_verb(&scope, None)?;
            media::negotiate(accept.as_deref())?;
            collection(scope).await
        }
        (Some(_), None) => {
            check_verb(&scope, None)?;
            media::negotiate(accept.as_deref())?;
            object(scope).await
        }
        (Some(_), Some(subresource)) => {
            let subresource = subresource.clone();
            check_verb(&scope, Some(&subresource))?;
            media::negotiate(accept.as_deref())?;
            subresources::answer(scope, &subresource).await
        }
    };
    match warning {
        Some(warning) => answer.map(|answer| answer.with_warning(warning.to_owned())),
        None => answer,
    }
}

async fn collection(scope: Scope<'_>) -> Result<Answer, Status> {
    match scope.request.method {
        Method::POST if scope.kind.is("", "Binding") => scheduling::create_binding(&scope).await,
        Method::POST if !scope.kind.verbs.is_stored() => reviews::answer(&scope).await,
        Method::POST => create::create(&scope).await,
        Method::DELETE => delete::collection(&scope).await,
        _ => list::list_or_watch(&scope).await,
    }
}

async fn object(scope: Scope<'_>) -> Result<Answer, Status> {
    let name = scope.path.name.clone().unwrap_or_default();
    match scope.request.method {
        Method::PUT => update::update(&scope, &name, None).await,
        Method::PATCH => patch::patch(&scope, &name, None).await,
        Method::DELETE => delete::delete(&scope, &name).await,
        _ if scope.path.watch => list::list_or_watch(&scope).await,
        _ => get::get(&scope, &name).await,
    }
}

/// 404 for subresources that do not exist, 405 for verbs that they or the resource do not have.
fn check_verb(scope: &Scope<'_>, subresource: Option<&str>) -> Result<(), Status> {
    let named = scope.path.name.is_some();
    let verb = match (&scope.request.method, named) {
        (&Method::GET | &Method::HEAD, true) => "get",
        (&Method::GET | &Method::HEAD, false) => "list",
        (&Method::POST, _) => "create",
        (&Method::PUT, _) => "update",
        (&Method::PATCH, _) => "patch",
        (&Method::DELETE, true) => "delete",
        (&Method::DELETE, false) => "deletecollection",
        _ => return Err(Status::method_not_allowed()),
    };
    let verbs = match subresource {
        Some(name) => {
            scope
                .kind
                .subresource(name)
                .ok_or_else(Status::unknown_path)?
                .verbs
        }
        None => scope.kind.verbs.names(),
    };
    let wrong_place = subresource.is_none()
        && match verb {
            "create" => named || scope.kind.namespaced && scope.namespace().is_none(),
            "update" | "patch" => !named,
            "deletecollection" => scope.kind.namespaced && scope.namespace().is_none(),
            _ => false,
        };
    let unnamespaced = named
        && scope.kind.namespaced
        && scope.namespace().is_none()
        && scope.kind.verbs.is_stored();
    // Reviews without a namespace are cluster-wide questions; their kinds are not namespaced.
    if unnamespaced {
        return Err(Status::unknown_path());
    }
    if wrong_place || !verbs.contains(&verb) {
        return Err(Status::method_not_allowed());
    }
    Ok(())
}

/// Makes an object on the server's own behalf.
///
/// # Errors
/// 409 if the name is taken, 422 if the object is not valid.
pub async fn create_object(
    api: &std::sync::Arc<crate::api::Api>,
    kind: &crate::registry::Kind,
    namespace: Option<&str>,
    object: serde_json::Value,
) -> Result<serde_json::Value, Status> {
    write::create(api, kind, namespace, object, None, false).await
}
