//! Subresources: status, scale, and those that only some kinds have.

use http::Method;

use crate::answer::Answer;
use crate::api::Scope;
use crate::status::Status;

use super::{get, patch, scale, scheduling, token, update};

/// Answers a request for a subresource that the kind has, with a verb that it has.
///
/// # Errors
/// The Status to send instead.
pub async fn answer(scope: Scope<'_>, subresource: &str) -> Result<Answer, Status> {
    let name = scope.path.name.clone().unwrap_or_default();
    match (subresource, &scope.request.method) {
        ("scale", _) => scale::answer(&scope, &name).await,
        ("token", _) => token::create(&scope, &name).await,
        ("binding", _) => scheduling::bind(&scope, &scope.kind, &name).await,
        ("eviction", _) => scheduling::evict(&scope, &name).await,
        ("finalize", _) => finalize(&scope, &name).await,
        ("attach" | "exec" | "log" | "portforward" | "proxy", _) => Err(Status::bad_request(
            format!("this server runs no pods: {subresource} of {name:?} is not possible"),
        )),
        (subresource, &Method::PUT) => update::update(&scope, &name, Some(subresource)).await,
        (subresource, &Method::PATCH) => patch::patch(&scope, &name, Some(subresource)).await,
        _ => get::get(&scope, &name).await,
    }
}

/// Replaces `spec.finalizers` of a Namespace.
async fn finalize(scope: &Scope<'_>, name: &str) -> Result<Answer, Status> {
    update::update(scope, name, Some("finalize")).await
}
