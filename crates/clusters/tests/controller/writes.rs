//! A client that stops dead after its nth write, as if the process were killed: the write
//! reaches the server, and no answer ever comes.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http::{Method, Request};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tokio::sync::Notify;
use tower::{Layer, Service};

/// Counts writes, and stops after the last one that is allowed. Events do not count: nothing
/// depends on them.
#[derive(Clone)]
pub(crate) struct Writes {
    allowed: usize,
    seen: Arc<AtomicUsize>,
    stopped: Arc<Notify>,
}

impl Writes {
    pub(crate) fn allow(allowed: usize) -> Self {
        Self {
            allowed,
            seen: Arc::default(),
            stopped: Arc::default(),
        }
    }

    /// How many writes there were.
    pub(crate) fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    /// Waits for the last write that is allowed.
    pub(crate) async fn stopped(&self) {
        self.stopped.notified().await;
    }
}

pub(crate) fn limited(config: Config, writes: &Writes) -> Client {
    ClientBuilder::try_from(config)
        .unwrap()
        .with_layer(&Limit(writes.clone()))
        .build()
}

struct Limit(Writes);

#[derive(Clone)]
struct Limited<S> {
    writes: Writes,
    inner: S,
}

impl<S> Layer<S> for Limit {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Limited<S> {
        Limited {
            writes: self.0.clone(),
            inner,
        }
    }
}

impl<S> Service<Request<Body>> for Limited<S>
where
    S: Service<Request<Body>>,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_write = request.method() != Method::GET && !request.uri().path().contains("/events");
        if !is_write {
            return Box::pin(self.inner.call(request));
        }
        let number = self.writes.seen.fetch_add(1, Ordering::SeqCst) + 1;
        let writes = self.writes.clone();
        if number > writes.allowed {
            return Box::pin(never());
        }
        let sent = self.inner.call(request);
        Box::pin(async move {
            let answer = sent.await;
            if number < writes.allowed {
                return answer;
            }
            writes.stopped.notify_one();
            never().await
        })
    }
}

async fn never<T>() -> T {
    match std::future::pending::<Infallible>().await {}
}
