//! The way to the server: directly, or through a proxy.
//!
//! A server that speaks TLS is reached by a tunnel through the proxy, which sees none of it. One
//! that does not is asked for by the proxy in our place.

use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use nico_runtime::proxy::Proxy;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

type AnyError = Box<dyn std::error::Error + Send + Sync>;
type Socket = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Makes connections to the server, before TLS with it.
#[derive(Clone)]
pub(super) enum Way {
    Direct(HttpConnector),
    Through {
        proxy: Proxy,
        to_proxy: HttpsConnector<HttpConnector>,
    },
}

/// There is no connection through the proxy.
#[derive(Debug, thiserror::Error)]
#[error("no connection through the proxy {proxy}")]
struct NoWay {
    proxy: Proxy,
    source: AnyError,
}

impl Way {
    pub(super) fn new(proxy: Option<Proxy>, tls: ClientConfig) -> Self {
        let mut connector = HttpConnector::new();
        // What follows is TLS, or not: that is decided elsewhere.
        connector.enforce_http(false);
        match proxy {
            None => Self::Direct(connector),
            Some(proxy) => Self::Through {
                proxy,
                to_proxy: HttpsConnectorBuilder::new()
                    .with_tls_config(tls)
                    .https_or_http()
                    .enable_http1()
                    .wrap_connector(connector),
            },
        }
    }

    async fn connect(self, server: Uri) -> Result<Socketed, AnyError> {
        let (proxy, mut to_proxy) = match self {
            Self::Direct(mut connector) => {
                let socket = connector.call(server).await?;
                return Ok(Socketed::direct(socket.into()));
            }
            Self::Through { proxy, to_proxy } => (proxy, to_proxy),
        };
        let is_tls = server.scheme_str() == Some("https");
        let connected = if is_tls {
            let mut tunnel = Tunnel::new(proxy.url().clone(), to_proxy);
            if let Some(authorization) = proxy.authorization() {
                tunnel = tunnel.with_auth(authorization.clone());
            }
            tunnel.call(server).await.map_err(AnyError::from)
        } else {
            to_proxy.call(proxy.url().clone()).await
        };
        match connected {
            Ok(socket) => Ok(Socketed {
                socket,
                is_forwarded: !is_tls,
            }),
            Err(source) => Err(NoWay { proxy, source }.into()),
        }
    }
}

impl Service<Uri> for Way {
    type Response = Socketed;
    type Error = AnyError;
    type Future = Pin<Box<dyn Future<Output = Result<Socketed, AnyError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AnyError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        Box::pin(self.clone().connect(server))
    }
}

/// A connection, and whether a proxy reads what is sent on it.
pub(super) struct Socketed {
    socket: Socket,
    is_forwarded: bool,
}

impl Socketed {
    fn direct(socket: Socket) -> Self {
        Self {
            socket,
            is_forwarded: false,
        }
    }

    fn socket(self: Pin<&mut Self>) -> Pin<&mut Socket> {
        Pin::new(&mut self.get_mut().socket)
    }
}

impl Connection for Socketed {
    fn connected(&self) -> Connected {
        self.socket.connected().proxy(self.is_forwarded)
    }
}

impl Read for Socketed {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.socket().poll_read(context, buffer)
    }
}

impl Write for Socketed {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.socket().poll_write(context, buffer)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.socket().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.socket().poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        self.socket().poll_write_vectored(context, buffers)
    }
}
