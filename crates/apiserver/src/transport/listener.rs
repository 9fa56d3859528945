//! Accepts connections and serves requests on them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::Query;
use axum::response::Response;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::answer;
use crate::api::Api;
use crate::faults::Faults;
use crate::request::options;
use crate::request::{Identity, Request};
use crate::status::Status;

use super::authenticate::from_certificate;
use super::{Connections, Link};

/// The largest body that is read, in bytes; the real server takes 3 MiB.
const BODY_LIMIT: usize = 3 * 1024 * 1024;
/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long to wait when the system has no sockets left.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Serves an API over TLS.
#[derive(Clone)]
pub struct Listener {
    /// What is served.
    pub api: Arc<Api>,
    /// Certificates and the like.
    pub tls: Arc<rustls::ServerConfig>,
    /// Where connections run.
    pub tasks: TaskTracker,
    /// What a restart cuts.
    pub connections: Arc<Connections>,
    /// What goes wrong on purpose.
    pub faults: Faults,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener")
            .field("api", &self.api)
            .finish_non_exhaustive()
    }
}

impl Listener {
    /// Accepts connections until the server ends.
    pub async fn run(self, socket: TcpListener) {
        let shutdown = self.api.shutdown.clone();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    self.tasks.spawn(self.clone().connection(stream, peer));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    async fn connection(self, stream: TcpStream, peer: SocketAddr) {
        let shutdown = self.api.shutdown.clone();
        let connections = self.connections.clone();
        let link = Link::default();
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = link.was_reset() => {}
            () = connections.serve(self.serve(stream, peer, &link)) => {}
        }
    }

    async fn serve(self, stream: TcpStream, peer: SocketAddr, link: &Link) {
        // Small answers must not wait for more.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let acceptor = TlsAcceptor::from(self.tls.clone());
        let stream =
            match tokio::time::timeout(HANDSHAKE, acceptor.accept(link.socket(stream))).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::debug!(%peer, %error, "TLS handshake failed");
                    return;
                }
                Err(_) => {
                    tracing::debug!(%peer, "TLS handshake took too long");
                    return;
                }
            };
        let identity = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(|chain| chain.first())
            .and_then(from_certificate)
            .map(Arc::new);
        let service = service_fn(|request| {
            let (listener, identity, link) = (self.clone(), identity.clone(), link.clone());
            async move { Ok::<_, Infallible>(listener.respond(request, identity.as_ref(), &link).await) }
        });
        let server = auto::Builder::new(TokioExecutor::new());
        if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%peer, %error, "connection ended");
        }
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
