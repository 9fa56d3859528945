//! Accepts connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::authenticate::from_certificate;
use super::{Connections, Link, Responder};

/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long to wait when the system has no sockets left.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Serves an API over TLS.
#[derive(Clone)]
pub struct Listener {
    /// What answers requests.
    pub responder: Responder,
    /// Certificates and the like.
    pub tls: Arc<rustls::ServerConfig>,
    /// Where connections run.
    pub tasks: TaskTracker,
    /// What a restart cuts.
    pub connections: Arc<Connections>,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener")
            .field("responder", &self.responder)
            .finish_non_exhaustive()
    }
}

impl Listener {
    /// Accepts connections until the server ends.
    pub async fn run(self, socket: TcpListener) {
        let shutdown = self.responder.api.shutdown.clone();
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
        let shutdown = self.responder.api.shutdown.clone();
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
        if let Err(error) = self.responder.serve(stream, identity.as_ref(), link).await {
            tracing::debug!(%peer, %error, "connection ended");
        }
    }
}
