//! HTTP: one request, its status and type, and a body that is read within bounds.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::error::ClientError;
use super::settings::{BaseUrl, ClientSettings, Secret};
use super::way::Way;
use crate::causes::chain;
use crate::metrics::Metrics;

/// The longest list that is read. A hundred thousand nodes fit.
pub(super) const LONGEST_LIST: u64 = 512 << 20;
/// The longest other answer that is read.
const LONGEST_ANSWER: usize = 1 << 20;
/// How much of a message from outside is passed on.
const LONGEST_MESSAGE: usize = 200;

const AGENT: &str = concat!("nico-mesh/", env!("CARGO_PKG_VERSION"));

/// Certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file has none.
    #[error("the file of NETMAKER_CA_FILE has no certificate in PEM")]
    None,
    /// The file has something else.
    #[error("the file of NETMAKER_CA_FILE is no list of certificates in PEM")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// A certificate is none.
    #[error("a certificate cannot be trusted")]
    Certificate(#[from] rustls::Error),
}

/// Connections to one server.
pub(super) struct Transport {
    client: Client<HttpsConnector<Way>, Full<Bytes>>,
    url: BaseUrl,
    /// What a proxy is shown that asks the server in our place.
    proxy_authorization: Option<HeaderValue>,
    timeout: Duration,
    /// Where requests are counted.
    metrics: Metrics,
}

/// What is asked.
pub(super) struct Ask<'a> {
    /// What it is called in metrics.
    pub(super) endpoint: &'static str,
    pub(super) method: Method,
    /// With its query.
    pub(super) path: &'a str,
    pub(super) body: Option<Vec<u8>>,
    /// Not later than this, if it comes before the usual time.
    pub(super) deadline: Option<Instant>,
}

impl Ask<'_> {
    /// How the request is called in messages.
    pub(super) fn what(&self) -> String {
        let path = self.path.split('?').next().unwrap_or_default();
        format!("{} {path}", self.method)
    }
}

/// The beginning of an answer.
pub(super) struct Head {
    pub(super) response: Response<Incoming>,
    pub(super) what: String,
    pub(super) deadline: Instant,
    timeout: Duration,
}

impl Transport {
    pub(super) fn new(
        settings: &ClientSettings,
        metrics: Metrics,
    ) -> Result<Self, CertificateError> {
        let tls =
            ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots(settings.authorities.as_deref())?)
                .with_no_client_auth();
        let proxy = settings.proxy.clone();
        let proxy_authorization = proxy
            .as_ref()
            .filter(|_| !settings.url.is_tls())
            .and_then(|proxy| proxy.authorization().cloned());
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(Way::new(proxy, tls));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .build(connector);
        Ok(Self {
            client,
            url: settings.url.clone(),
            proxy_authorization,
            timeout: settings.timeout,
            metrics,
        })
    }

    /// Sends a request, and counts it. Redirects are for the caller to see, and never followed.
    pub(super) async fn send(
        &self,
        ask: &Ask<'_>,
        token: Option<&Secret>,
    ) -> Result<Head, ClientError> {
        let start = Instant::now();
        let sent = self.head(ask, token).await;
        let code = sent.as_ref().ok().map(|head| head.status().as_u16());
        self.metrics.request(ask.endpoint, code, start.elapsed());
        sent
    }

    async fn head(&self, ask: &Ask<'_>, token: Option<&Secret>) -> Result<Head, ClientError> {
        let start = Instant::now();
        let usual = start + self.timeout;
        let deadline = ask.deadline.map_or(usual, |deadline| deadline.min(usual));
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(self.url.join(ask.path))
            .header(header::USER_AGENT, AGENT)
            .header(header::ACCEPT, "application/json");
        if let Some(token) = token {
            let mut value =
                HeaderValue::try_from(format!("Bearer {}", token.reveal())).map_err(|_| {
                    ClientError::TokenRefused {
                        message: "it has characters that no token has".to_owned(),
                    }
                })?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        if let Some(value) = &self.proxy_authorization {
            request = request.header(header::PROXY_AUTHORIZATION, value);
        }
        if ask.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = Full::from(ask.body.clone().unwrap_or_default());
        let request = request
            .body(body)
            .map_err(|error| ClientError::Unreachable {
                url: self.url.to_string(),
                source: error.into(),
            })?;
        match timeout_at(deadline, self.client.request(request)).await {
            Err(_) => Err(ClientError::Timeout {
                what: ask.what(),
                after: deadline - start,
            }),
            Ok(Err(error)) if error.is_connect() => Err(ClientError::Unreachable {
                url: self.url.to_string(),
                source: error.into(),
            }),
            Ok(Err(error)) => Err(ClientError::Broken {
                what: ask.what(),
                detail: chain(&error),
            }),
            Ok(Ok(response)) => Ok(Head {
                response,
                what: ask.what(),
                deadline,
                timeout: deadline - start,
            }),
        }
    }
}

impl Head {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The media type without its parameters.
    pub(super) fn media_type(&self) -> &str {
        let header = self.response.headers().get(header::CONTENT_TYPE);
        let text = header.and_then(|value| value.to_str().ok()).unwrap_or("");
        text.split(';').next().unwrap_or("").trim()
    }

    fn is_json(&self) -> bool {
        self.media_type().eq_ignore_ascii_case("application/json")
    }

    /// Reads an answer that is short.
    pub(super) async fn short_body(self) -> Result<Bytes, ClientError> {
        let what = self.what;
        let body = Limited::new(self.response.into_body(), LONGEST_ANSWER);
        match timeout_at(self.deadline, body.collect()).await {
            Err(_) => Err(ClientError::Timeout {
                what,
                after: self.timeout,
            }),
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                Err(ClientError::TooLong {
                    what,
                    limit: LONGEST_ANSWER as u64,
                })
            }
            Ok(Err(error)) => Err(ClientError::Broken {
                what,
                detail: chain(error.as_ref()),
            }),
        }
    }

    /// Goes on with an answer that is 200; turns every other into an error.
    pub(super) async fn succeed(self, text_is_fine: bool) -> Result<Self, ClientError> {
        let status = self.status();
        if status == StatusCode::OK || status == StatusCode::CREATED {
            let is_text = text_is_fine && self.media_type().eq_ignore_ascii_case("text/plain");
            if self.is_json() || is_text {
                return Ok(self);
            }
            let found = format!("{status} and the type {:?}", self.media_type());
            return Err(ClientError::NotNetmaker {
                what: self.what,
                found,
            });
        }
        Err(self.failure().await)
    }

    async fn failure(self) -> ClientError {
        let status = self.status();
        if status.is_redirection() {
            let place = self.response.headers().get(header::LOCATION);
            let place = place.and_then(|value| value.to_str().ok()).unwrap_or("");
            let found = format!("a redirect ({status}) to {}", shortened(place));
            return ClientError::NotNetmaker {
                what: self.what,
                found,
            };
        }
        let what = self.what.clone();
        // Where requests are too many, or too slow, the next one may do.
        let is_of_server = status.is_server_error()
            || status == StatusCode::TOO_MANY_REQUESTS
            || status == StatusCode::REQUEST_TIMEOUT;
        let is_json = self.is_json();
        let media_type = self.media_type().to_owned();
        let server_failed = |message| ClientError::Server {
            what: what.clone(),
            status: status.as_u16(),
            message,
        };
        if !is_json {
            let found = format!("{status} and the type {media_type:?}");
            return if is_of_server {
                server_failed(format!("an answer of the type {media_type:?}"))
            } else {
                ClientError::NotNetmaker { what, found }
            };
        }
        let message = match self.short_body().await {
            Ok(body) => serde_json::from_slice::<Envelope>(&body)
                .map_or_else(|_| String::new(), |envelope| shortened(&envelope.message)),
            Err(error) => return error,
        };
        match (status.as_u16(), message.as_str()) {
            (400, "record not found") => ClientError::NoSuchRecord { what },
            (400, text) if text.starts_with("invalid routing node") => {
                ClientError::NoSuchNode { what }
            }
            (401, _) => ClientError::TokenRefused { message },
            (403, _) => ClientError::Forbidden { what, message },
            _ if is_of_server => server_failed(message),
            (400..=499, _) => ClientError::Refused {
                what,
                status: status.as_u16(),
                message,
            },
            _ => server_failed(message),
        }
    }

    /// The body as it comes, with an error at its deadline and at its limit.
    pub(super) fn chunks(self) -> Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>> {
        let (body, deadline) = (self.response.into_body(), self.deadline);
        Box::pin(futures::stream::unfold(
            Some((body, 0_u64)),
            move |state| async move {
                let (mut body, read) = state?;
                loop {
                    let frame = match timeout_at(deadline, body.frame()).await {
                        Err(_) => return Some((Err(io::ErrorKind::TimedOut.into()), None)),
                        Ok(None) => return None,
                        Ok(Some(Err(error))) => {
                            return Some((Err(io::Error::other(chain(&error))), None));
                        }
                        Ok(Some(Ok(frame))) => frame,
                    };
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    let read = read + data.len() as u64;
                    if read > LONGEST_LIST {
                        return Some((Err(io::ErrorKind::FileTooLarge.into()), None));
                    }
                    return Some((Ok(data), Some((body, read))));
                }
            },
        ))
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// What Netmaker wraps its answers in.
#[derive(Deserialize)]
pub(super) struct Envelope {
    #[serde(rename = "Code", default)]
    pub(super) code: i64,
    #[serde(rename = "Message", default)]
    pub(super) message: String,
}

impl Envelope {
    /// 0 stands for a code that is missing.
    pub(super) fn is_success(&self) -> bool {
        matches!(self.code, 0 | 200 | 201)
    }
}

/// A text from outside, of one short line.
pub(super) fn shortened(text: &str) -> String {
    let clean = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.chars().take(LONGEST_MESSAGE).map(clean).collect()
}

fn roots(authorities: Option<&[u8]>) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    // Certificates of the system that cannot be read are no reason to stop: those that are needed
    // are missed when they are needed.
    let system = rustls_native_certs::load_native_certs().certs;
    roots.add_parsable_certificates(system);
    if let Some(pem) = authorities {
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate?)?;
            count += 1;
        }
        if count == 0 {
            return Err(CertificateError::None);
        }
    }
    Ok(roots)
}
