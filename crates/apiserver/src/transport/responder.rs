//! Answers the requests on a connection.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::Query;
use axum::response::Response;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::answer;
use crate::api::Api;
use crate::faults::Faults;
use crate::request::options;
use crate::request::{Identity, Request};
use crate::status::Status;

use super::Link;

/// The largest body that is read, in bytes; the real server takes 3 MiB.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// Reads requests and has them answered.
#[derive(Clone, Debug)]
pub struct Responder {
    /// What is served.
    pub api: Arc<Api>,
    /// What goes wrong on purpose.
    pub faults: Faults,
}

impl Responder {
    /// Answers the requests that come on a stream, in HTTP/1.1 or HTTP/2, until it ends.
    /// `connection` is who the connection itself says that the client is.
    ///
    /// # Errors
    /// If what comes is not HTTP, or the stream breaks.
    pub async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        connection: Option<&Arc<Identity>>,
        link: &Link,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let service = service_fn(|request| {
            let (responder, identity, link) = (self.clone(), connection.cloned(), link.clone());
            async move {
                Ok::<_, Infallible>(responder.respond(request, identity.as_ref(), &link).await)
            }
        });
        let server = auto::Builder::new(TokioExecutor::new());
        server.serve_connection(TokioIo::new(stream), service).await
    }

    async fn respond(
        &self,
        request: hyper::Request<Incoming>,
        connection: Option<&Arc<Identity>>,
        link: &Link,
    ) -> Response {
        let begun = Instant::now();
        let method = request.method().clone();
        let uri = request.uri().clone();
        let response = match self.read(request, connection).await {
            Ok(request) => self.faults.serve(&self.api, &request, link).await,
            Err(status) => answer::error(&status),
        };
        tracing::debug!(
            %method,
            path = uri.path(),
            query = uri.query().unwrap_or_default(),
            status = response.status().as_u16(),
            elapsed = ?begun.elapsed(),
            "request"
        );
        answer::finish(response, &method)
    }

    async fn read(
        &self,
        request: hyper::Request<Incoming>,
        connection: Option<&Arc<Identity>>,
    ) -> Result<Request, Status> {
        let (head, body) = request.into_parts();
        let access = &self.api.access;
        let identity = access
            .identify(&*self.api.storage, &head.headers, connection)
            .await?;
        let Query(query) = Query::<Vec<(String, String)>>::try_from_uri(&head.uri)
            .map_err(|error| Status::bad_request(format!("cannot read the query: {error}")))?;
        let body = Limited::new(body, BODY_LIMIT)
            .collect()
            .await
            .map_err(|error| {
                if error.is::<LengthLimitError>() {
                    Status::too_large(format!("limit is {BODY_LIMIT} bytes"))
                } else {
                    Status::bad_request(format!("cannot read the body: {error}"))
                }
            })?;
        Ok(Request {
            method: head.method,
            path: head.uri.path().to_owned(),
            query: options::Query(query),
            headers: head.headers,
            body: body.to_bytes(),
            identity,
        })
    }
}
