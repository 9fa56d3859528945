//! Calls to the members of an etcd, one after the other until one answers.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::{Instant, sleep, timeout};
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::messages::{
    CompactionRequest, CompactionResponse, RangeRequest, RangeResponse, TxnRequest, TxnResponse,
    WatchCreateRequest, WatchRequest, WatchResponse, Watching,
};
use super::{ConnectError, EtcdOptions};

/// How long a call may take, with all its attempts.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long one member may take for a read.
const ATTEMPT: Duration = Duration::from_secs(2);
/// How long a member may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(1);
/// How long to wait when no member answers.
const PAUSE: Duration = Duration::from_millis(100);
/// How often an idle connection is tried, and how long the answer may take.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5));

/// A client of an etcd.
#[derive(Debug)]
pub struct Client {
    members: Vec<Channel>,
    /// The index of the member that answered last.
    preferred: AtomicUsize,
}

impl Client {
    /// A client that connects when it is needed.
    ///
    /// # Errors
    /// If a URL or a certificate is none.
    pub fn new(options: &EtcdOptions) -> Result<Self, ConnectError> {
        let member = |url: &String| member(url, options);
        let members: Vec<Channel> = options
            .endpoints
            .iter()
            .map(member)
            .collect::<Result<_, _>>()?;
        if members.is_empty() {
            return Err(ConnectError::NoEndpoint);
        }
        Ok(Self {
            members,
            preferred: AtomicUsize::new(0),
        })
    }

    /// Reads keys, as the quorum has them.
    ///
    /// # Errors
    /// What etcd says, or that nobody answers.
    pub async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Status> {
        self.call("/etcdserverpb.KV/Range", request, true).await
    }

    /// Writes. If that fails, it may have been done nevertheless.
    ///
    /// # Errors
    /// What etcd says, or that nobody answers.
    pub async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, Status> {
        self.call("/etcdserverpb.KV/Txn", request, false).await
    }

    /// Lets etcd forget old revisions.
    ///
    /// # Errors
    /// What etcd says, or that nobody answers.
    pub async fn compact(&self, revision: i64) -> Result<CompactionResponse, Status> {
        let request = CompactionRequest { revision };
        self.call("/etcdserverpb.KV/Compact", request, true).await
    }

    /// Begins a watch at one member. It ends when that member has no leader any more.
    ///
    /// # Errors
    /// What the member says, or that it does not answer.
    pub async fn watch(
        &self,
        create: WatchCreateRequest,
    ) -> Result<Streaming<WatchResponse>, Status> {
        let mut grpc = grpc(self.members[self.preferred()].clone());
        let request = WatchRequest {
            request: Some(Watching::Create(create)),
        };
        // etcd cancels the watches of who has nothing more to say.
        let requests = futures::StreamExt::chain(
            futures::stream::once(async { request }),
            futures::stream::pending(),
        );
        let mut request = Request::new(requests);
        request
            .metadata_mut()
            .insert("hasleader", MetadataValue::from_static("true"));
        let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
        let begin = async {
            grpc.ready().await.map_err(|error| unreachable(&error))?;
            let codec = ProstCodec::<WatchRequest, WatchResponse>::default();
            grpc.streaming(request, path, codec).await
        };
        let answer = timeout(DEADLINE, begin)
            .await
            .unwrap_or_else(|_| Err(late()));
        Ok(answer?.into_inner())
    }

    /// Goes on with the next member.
    pub fn leave_member(&self) {
        self.leave(self.preferred());
    }

    fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed)
    }

    /// Who fails at the same time as others must not jump over a member that they chose.
    fn leave(&self, index: usize) {
        let next = (index + 1) % self.members.len();
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        self.preferred.compare_exchange(index, next, set, get).ok();
    }

    async fn call<M, A>(
        &self,
        path: &'static str,
        message: M,
        repeatable: bool,
    ) -> Result<A, Status>
    where
        M: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let deadline = Instant::now() + DEADLINE;
        let mut failures = 0;
        loop {
            let index = self.preferred();
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = if repeatable { left.min(ATTEMPT) } else { left };
            let call = unary(self.members[index].clone(), path, message.clone());
            let status = match timeout(limit, call).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(status)) if is_answer(&status) => return Err(status),
                Ok(Err(status)) => status,
                Err(_) => late(),
            };
            tracing::debug!(%status, path, member = index, "a member of etcd failed");
            self.leave(index);
            failures += 1;
            let again = repeatable || was_not_done(&status);
            let pause = if failures % self.members.len() == 0 {
                PAUSE
            } else {
                Duration::ZERO
            };
            if !again || Instant::now() + pause >= deadline {
                return Err(status);
            }
            sleep(pause).await;
        }
    }
}

fn member(url: &str, options: &EtcdOptions) -> Result<Channel, ConnectError> {
    let invalid = |why: &dyn Error| ConnectError::Endpoint {
        url: url.to_owned(),
        why: why.to_string(),
    };
    let mut endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| invalid(&error))?;
    let uri = endpoint.uri();
    let scheme = uri.scheme_str().unwrap_or_default().to_owned();
    let bare = uri.path_and_query().is_none_or(|path| path == "/");
    if uri.host().is_none() || !bare {
        return Err(ConnectError::Endpoint {
            url: url.to_owned(),
            why: "it must be of the form http://HOST:PORT or https://HOST:PORT".to_owned(),
        });
    }
    match scheme.as_str() {
        "http" => {}
        "https" => {
            let mut tls = ClientTlsConfig::new();
            if let Some(authority) = &options.authority {
                tls = tls.ca_certificate(Certificate::from_pem(authority));
            }
            if let Some((certificate, key)) = &options.identity {
                tls = tls.identity(Identity::from_pem(certificate, key));
            }
            endpoint = endpoint.tls_config(tls).map_err(|error| invalid(&error))?;
        }
        other => {
            return Err(ConnectError::Endpoint {
                url: url.to_owned(),
                why: format!("{other:?} is neither http nor https"),
            });
        }
    }
    let (interval, patience) = KEEP_ALIVE;
    Ok(endpoint
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(interval)
        .keep_alive_timeout(patience)
        .connect_lazy())
}

fn grpc(channel: Channel) -> Grpc<Channel> {
    // A list or a burst of changes can be large, and etcd is trusted.
    Grpc::new(channel).max_decoding_message_size(usize::MAX)
}

async fn unary<M, A>(channel: Channel, path: &'static str, message: M) -> Result<A, Status>
where
    M: Message + 'static,
    A: Message + Default + 'static,
{
    let mut grpc = grpc(channel);
    grpc.ready().await.map_err(|error| unreachable(&error))?;
    let path = PathAndQuery::from_static(path);
    let codec = ProstCodec::<M, A>::default();
    let answer = grpc.unary(Request::new(message), path, codec).await?;
    Ok(answer.into_inner())
}

fn unreachable(error: &dyn Error) -> Status {
    Status::unavailable(format!("cannot connect: {error}"))
}

fn late() -> Status {
    Status::deadline_exceeded("no answer in time")
}

/// Whether another member would say the same.
fn is_answer(status: &Status) -> bool {
    !matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
    )
}

/// Whether a write certainly never reached a leader.
fn was_not_done(status: &Status) -> bool {
    let message = status.message();
    if message.contains("etcdserver: no leader") || message.contains("raft proposal dropped") {
        return true;
    }
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}
