//! Faults around the handling of a request.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use tokio::time::sleep;

use crate::answer;
use crate::api::{self, Api};
use crate::request::Request;
use crate::status::{ResourceName, Status};
use crate::transport::Link;

use super::decide::{Hit, Stage, Subject};
use super::rule::{Fault, Refusal, Verb, When};
use super::{Faults, past, stream};

impl Faults {
    /// Answers a request that came over `link`, with the faults that the rules have for it.
    pub(crate) async fn serve(&self, api: &Arc<Api>, request: &Request, link: &Link) -> Response {
        // Rules can come while a watch is open.
        let may_be_watch = request.query.has("watch") || request.path.contains("/watch/");
        if self.are_none() && !may_be_watch {
            return handle(api, request).await;
        }
        let subject = Subject::of(request, &api.registry);
        let hits = self.decide(Stage::Request, &subject, 0);
        let mut as_of = None;
        for Hit { fault, .. } in &hits {
            match fault {
                Fault::Latency { before, .. } => wait(*before).await,
                Fault::Stale { as_of: past, .. } => as_of = Some(*past),
                fault => {
                    if let Some(answer) = settle(fault, When::Before, &subject, link).await {
                        return answer;
                    }
                }
            }
        }
        let handled = handle(api, request);
        let response = match as_of {
            None => handled.await,
            Some(as_of) => past::show(&*api.storage, as_of, handled)
                .await
                .unwrap_or_else(|error| answer::error(&api::storage_failed(&error))),
        };
        for Hit { id, fault } in &hits {
            if fault.comes_after() {
                self.has_come(*id);
            }
            match fault {
                Fault::Latency { after, .. } => wait(*after).await,
                fault => {
                    if let Some(answer) = settle(fault, When::After, &subject, link).await {
                        return answer;
                    }
                }
            }
        }
        if subject.verb == Verb::Watch && response.status().is_success() {
            return stream::watch(self, subject, response);
        }
        response
    }
}

async fn handle(api: &Arc<Api>, request: &Request) -> Response {
    match api.handle(request).await {
        Ok(answer) => answer.respond(request),
        Err(status) => answer::error(&status),
    }
}

/// Waits; not even for a moment if there is nothing to wait for.
async fn wait(latency: Duration) {
    if !latency.is_zero() {
        sleep(latency).await;
    }
}

/// Does what comes at this point and settles the request; none if nothing does.
async fn settle(fault: &Fault, now: When, subject: &Subject, link: &Link) -> Option<Response> {
    match fault {
        Fault::Refuse { with, when } if *when == now => {
            Some(answer::error(&status(*with, subject)))
        }
        Fault::Reset { when } if *when == now => match link.reset().await {},
        _ => None,
    }
}

fn status(refusal: Refusal, subject: &Subject) -> Status {
    let resource = ResourceName {
        group: &subject.group,
        resource: &subject.resource,
    };
    let name = subject.name.as_deref().unwrap_or_default();
    match refusal {
        Refusal::Conflict if subject.verb == Verb::Create && subject.subresource.is_empty() => {
            Status::already_exists(resource, name, false)
        }
        Refusal::Conflict => Status::stale(resource, name),
        Refusal::TooManyRequests { retry_after } => Status::too_many_requests(retry_after),
        Refusal::InternalError => Status::internal("etcdserver: request timed out"),
        Refusal::ServiceUnavailable => Status::service_unavailable(),
        Refusal::Timeout => Status::timeout(),
    }
}
