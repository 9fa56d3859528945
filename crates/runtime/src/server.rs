//! Probes and metrics over HTTP.
//!
//! `/metrics` in the OpenMetrics text format; `/healthz` and `/livez` while the process works;
//! `/readyz` once it can do its job (it is the leader, or a healthy stand-by).

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Whether the process can do its job; shared with `/readyz`.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says whether the process can do its job.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    /// Whether the process can do its job.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A server that could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on port {port} for {purpose}")]
pub struct ListenError {
    port: u16,
    purpose: &'static str,
    source: std::io::Error,
}

/// Serves `/metrics` on all addresses until `shutdown`; port 0 picks a free one.
///
/// Returns the address that it listens on.
///
/// # Errors
/// When the port cannot be listened on.
pub async fn serve_metrics(
    port: u16,
    registry: Registry,
    shutdown: CancellationToken,
) -> Result<SocketAddr, ListenError> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .with_state(Arc::new(registry));
    serve(port, "metrics", router, shutdown).await
}

/// Serves `/healthz`, `/livez` and `/readyz` on all addresses until `shutdown`; port 0 picks a
/// free one.
///
/// Returns the address that it listens on.
///
/// # Errors
/// When the port cannot be listened on.
pub async fn serve_probes(
    port: u16,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> Result<SocketAddr, ListenError> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .with_state(readiness);
    serve(port, "probes", router, shutdown).await
}

async fn serve(
    port: u16,
    purpose: &'static str,
    router: Router,
    shutdown: CancellationToken,
) -> Result<SocketAddr, ListenError> {
    let failed = |source| ListenError {
        port,
        purpose,
        source,
    };
    let listener = listen(port).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    tokio::spawn(async move {
        let server = axum::serve(listener, router);
        if let Err(error) = server
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await
        {
            tracing::error!(%error, purpose, "server ended");
        }
    });
    Ok(address)
}

/// Both address families where the machine has IPv6, else IPv4 alone.
async fn listen(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => {
            TcpListener::bind(("0.0.0.0", port)).await
        }
        bound => bound,
    }
}

async fn metrics(State(registry): State<Arc<Registry>>) -> impl IntoResponse {
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn ready(State(readiness): State<Readiness>) -> impl IntoResponse {
    if readiness.get() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting")
    }
}
