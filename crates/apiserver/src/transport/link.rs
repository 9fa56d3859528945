//! A connection that can be cut off from inside a request.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// What requests know of the connection that they came on.
#[derive(Clone, Debug, Default)]
pub struct Link {
    cut: CancellationToken,
    reset: Arc<AtomicBool>,
}

/// The connection's end of a [`Link`]: a TCP stream that, once the link was reset, is closed with
/// RST.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Link {
    /// The stream of this link.
    pub fn socket(&self, stream: TcpStream) -> Socket {
        Socket {
            stream,
            reset: self.reset.clone(),
        }
    }

    /// Resets the connection. Whoever awaits this is dropped with it.
    pub async fn reset(&self) -> Infallible {
        self.reset.store(true, Ordering::Release);
        self.cut.cancel();
        std::future::pending().await
    }

    /// Returns when the connection is to be dropped.
    pub async fn was_reset(&self) {
        self.cut.cancelled().await;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Acquire)
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::debug!(%error, "cannot reset a connection; it is closed instead");
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
