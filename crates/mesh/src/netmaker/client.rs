//! The calls of Netmaker that are needed, and no more.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Method, StatusCode};
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use tokio::time::Instant;

use super::decode;
use super::error::ClientError;
use super::session::Session;
use super::settings::ClientSettings;
use super::transport::{Ask, CertificateError, Envelope, Head, Transport, shortened};
use super::types::{Host, Member, Rule, WireHost, WireMember, WireNetwork, WireRule};
use crate::metrics::Metrics;
use crate::names::{NetworkName, Uuid};
use crate::ownership::Cluster;

const EGRESS: &str = "/api/v1/egress";

/// A client of one Netmaker server. Cheap to clone.
#[derive(Clone)]
pub struct Netmaker(Arc<Inner>);

struct Inner {
    transport: Transport,
    session: Session,
}

/// A rule as it is written: whole, for the server takes a missing field for an empty one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleBody {
    /// Its name.
    pub name: String,
    /// Its network.
    pub network: NetworkName,
    /// Its description.
    pub description: String,
    /// Its range.
    pub range: String,
    /// Its routing nodes and their metrics.
    pub nodes: BTreeMap<String, i64>,
    /// No tags.
    pub tags: BTreeMap<String, i64>,
    /// No domain.
    pub domain: &'static str,
    /// No translation of addresses.
    pub nat: bool,
    /// No way of translation.
    pub mode: &'static str,
    /// It is on.
    pub status: bool,
    /// It is no way to the internet.
    pub is_internet_gateway: bool,
}

#[derive(Serialize)]
struct UpdateBody<'a> {
    id: String,
    #[serde(flatten)]
    rule: &'a RuleBody,
}

impl Serialize for NetworkName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Netmaker {
    /// A client. Nothing is sent yet.
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub fn new(settings: &ClientSettings, metrics: Metrics) -> Result<Self, CertificateError> {
        Ok(Self(Arc::new(Inner {
            transport: Transport::new(settings, metrics)?,
            session: Session::new(settings.credentials.clone()),
        })))
    }

    /// All hosts.
    ///
    /// # Errors
    /// When the answer is not whole.
    pub async fn hosts(&self) -> Result<Vec<Host>, ClientError> {
        let head = self.get("hosts", "/api/hosts", false).await?;
        decode::bare(head, WireHost::into_host).await
    }

    /// All hosts in all networks, without external clients.
    ///
    /// # Errors
    /// When the answer is not whole.
    pub async fn members(&self) -> Result<Vec<Member>, ClientError> {
        let head = self.get("nodes", "/api/nodes", false).await?;
        let now = Timestamp::now();
        let mut names = Names::default();
        decode::bare(head, move |member: WireMember| {
            let mut member = member.into_member(now)?;
            member.network = names.shared(member.network);
            Some(member)
        })
        .await
    }

    /// The names of all networks.
    ///
    /// # Errors
    /// When the answer is not whole.
    pub async fn networks(&self) -> Result<Vec<NetworkName>, ClientError> {
        // This list says that it is plain text.
        let head = self.get("networks", "/api/networks", true).await?;
        decode::bare(head, |network: WireNetwork| {
            Some(network.netid.as_str().into())
        })
        .await
    }

    /// The rules of a network, ours and those of others. A network that is not there has none, or
    /// still has those of the time when it was.
    ///
    /// # Errors
    /// When the answer is not whole.
    pub async fn rules(
        &self,
        network: &NetworkName,
        cluster: &Cluster,
    ) -> Result<Vec<Rule>, ClientError> {
        let name = utf8_percent_encode(network.as_str(), NON_ALPHANUMERIC);
        let path = format!("{EGRESS}?network={name}");
        let head = self.get("egress", &path, false).await?;
        let (network, cluster) = (network.clone(), cluster.clone());
        decode::wrapped(head, move |rule: WireRule| {
            rule.into_rule(&network, &cluster)
        })
        .await
    }

    /// Makes a rule. The server does not mind if there is one like it.
    ///
    /// # Errors
    /// When it was not made, or when that cannot be known ([`ClientError::is_ambiguous`]).
    pub async fn create(
        &self,
        rule: &RuleBody,
        deadline: Option<Instant>,
    ) -> Result<(), ClientError> {
        let body = serde_json::to_vec(rule).map_err(undecodable("POST /api/v1/egress"))?;
        self.write(Method::POST, EGRESS, Some(body), deadline).await
    }

    /// Replaces a rule whole.
    ///
    /// # Errors
    /// [`ClientError::NoSuchRecord`] when it is not there; others when it was not replaced, or when
    /// that cannot be known.
    pub async fn update(
        &self,
        id: Uuid,
        rule: &RuleBody,
        deadline: Option<Instant>,
    ) -> Result<(), ClientError> {
        let body = UpdateBody {
            id: id.to_string(),
            rule,
        };
        let body = serde_json::to_vec(&body).map_err(undecodable("PUT /api/v1/egress"))?;
        self.write(Method::PUT, EGRESS, Some(body), deadline).await
    }

    /// Removes a rule.
    ///
    /// # Errors
    /// [`ClientError::NoSuchRecord`] when it is not there; others when it was not removed, or when
    /// that cannot be known.
    pub async fn delete(&self, id: Uuid, deadline: Option<Instant>) -> Result<(), ClientError> {
        let path = format!("{EGRESS}?id={id}");
        self.write(Method::DELETE, &path, None, deadline).await
    }

    async fn get(
        &self,
        endpoint: &'static str,
        path: &str,
        text_is_fine: bool,
    ) -> Result<Head, ClientError> {
        let ask = Ask {
            endpoint,
            method: Method::GET,
            path,
            body: None,
            deadline: None,
        };
        self.send(&ask, text_is_fine).await
    }

    async fn write(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        deadline: Option<Instant>,
    ) -> Result<(), ClientError> {
        let ask = Ask {
            endpoint: "egress",
            method,
            path,
            body,
            deadline,
        };
        let head = self.send(&ask, false).await?;
        let what = head.what.clone();
        let status = head.status().as_u16();
        let body = head.short_body().await?;
        let envelope: Envelope = serde_json::from_slice(&body).map_err(undecodable(&what))?;
        if envelope.is_success() {
            return Ok(());
        }
        Err(ClientError::Refused {
            what,
            status,
            message: shortened(&envelope.message),
        })
    }

    /// Sends a request with a token that holds; with a new one if the first does not.
    async fn send(&self, ask: &Ask<'_>, text_is_fine: bool) -> Result<Head, ClientError> {
        let Inner { transport, session } = &*self.0;
        let token = session.token(transport, None).await?;
        let head = transport.send(ask, Some(&token)).await?;
        if head.status() != StatusCode::UNAUTHORIZED {
            return head.succeed(text_is_fine).await;
        }
        let token = session.token(transport, Some(&token)).await?;
        let head = transport.send(ask, Some(&token)).await?;
        head.succeed(text_is_fine)
            .await
            .map_err(|error| match error {
                ClientError::TokenRefused { message } => session.refusal(message),
                other => other,
            })
    }
}

fn undecodable(what: &str) -> impl FnOnce(serde_json::Error) -> ClientError {
    let what = what.to_owned();
    move |source| ClientError::Undecodable { what, source }
}

/// Names that many entries share, kept once.
#[derive(Default)]
struct Names(std::collections::BTreeSet<NetworkName>);

impl Names {
    fn shared(&mut self, name: NetworkName) -> NetworkName {
        if let Some(known) = self.0.get(name.as_str()) {
            return known.clone();
        }
        self.0.insert(name.clone());
        name
    }
}
