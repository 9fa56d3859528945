//! The server: it listens, answers, and keeps a log of what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State as Extract};
use axum::http::{Method, Response, Uri, header};
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::answer::Answer;
use super::egress::{self, Rule};
use super::faults::{Fault, Faults, show};
use super::hosts;
use super::route;
use super::state::{AccessToken, Account, Host, Network, State};
use super::token::{ACCESS, Claims, LOGIN, Signer};

/// Longer request bodies are not read.
const LARGEST_BODY: usize = 1 << 20;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When it came.
    pub at: Instant,
    /// Its method.
    pub method: Method,
    /// Its path.
    pub path: String,
    /// The account that sent it; empty where the request needed none, or was refused.
    pub user: String,
}

impl Seen {
    /// Whether it asks for a change of egress rules.
    pub fn is_write(&self) -> bool {
        self.path == "/api/v1/egress" && self.method != Method::GET
    }
}

/// The server cannot listen where it should.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct NetmakerServer {
    address: SocketAddr,
    inner: Arc<Inner>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    faults: Faults,
    log: Mutex<Vec<Seen>>,
}

impl NetmakerServer {
    /// Starts an empty server: no account, no network. Port 0 picks a free one.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(listen: SocketAddr) -> Result<Self, ListenError> {
        let failed = |source| ListenError {
            address: listen,
            source,
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let inner = Arc::new(Inner {
            state: Mutex::new(State::new()),
            faults: Faults::default(),
            log: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let router = Router::new()
            .fallback(respond)
            .with_state(Arc::clone(&inner));
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                ended = axum::serve(listener, router) => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "the Netmaker stand-in ended");
                    }
                }
                () = stopped.cancelled() => {}
            }
        });
        Ok(Self {
            address,
            inner,
            stop,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients are given as its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What goes wrong from now on.
    pub fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// The requests that came, in order.
    pub fn seen(&self) -> Vec<Seen> {
        let log = self.inner.log.lock();
        log.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the requests that came.
    pub fn forget_seen(&self) {
        let log = self.inner.log.lock();
        log.unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Adds an account that may do everything.
    pub fn add_account(&self, name: &str, password: &str) {
        let account = Account {
            password: password.to_owned(),
            role: "super-admin",
            is_disabled: false,
            second_factor: None,
        };
        self.state().accounts.insert(name.to_owned(), account);
    }

    /// Lets an account need a second factor.
    pub fn require_second_factor(&self, name: &str) {
        if let Some(account) = self.state().accounts.get_mut(name) {
            account.second_factor = Some(Vec::new());
        }
    }

    /// Disables an account.
    pub fn disable_account(&self, name: &str) {
        if let Some(account) = self.state().accounts.get_mut(name) {
            account.is_disabled = true;
        }
    }

    /// Makes an access token of an account that holds for an hour.
    pub fn access_token(&self, user: &str) -> String {
        let mut state = self.state();
        let now = Timestamp::now();
        let id = Uuid::new_v4().to_string();
        let end = now.as_second() + 3600;
        let mut claims = Claims::new(user, "super-admin", ACCESS, now.as_second(), end);
        claims.jti.clone_from(&id);
        let token = state.signer.sign(&claims);
        state.access_tokens.insert(
            id,
            AccessToken {
                name: "test".to_owned(),
                user: user.to_owned(),
                created_by: user.to_owned(),
                created_at: now,
                expires_at: String::new(),
            },
        );
        token
    }

    /// From now on no token holds that was given before.
    pub fn end_tokens(&self) {
        self.state().signer = Signer::new();
    }

    /// Adds a network.
    pub fn add_network(&self, name: &str, range: &str) {
        let network = Network {
            range: range.to_owned(),
            range6: String::new(),
            addresses: 0,
        };
        self.state().networks.insert(name.to_owned(), network);
    }

    /// Removes a network with its nodes; its rules stay.
    pub fn remove_network(&self, name: &str) {
        let mut state = self.state();
        let nodes = state.nodes.extract_if(.., |_, node| node.network == name);
        let nodes: Vec<String> = nodes.map(|(id, _)| id).collect();
        state.networks.remove(name);
        for host in state.hosts.values_mut() {
            host.rendered = None;
            if let Some(own) = &mut host.nodes {
                own.retain(|id| !nodes.contains(id));
            }
        }
    }

    /// Adds a host, and lets it join networks that exist. Returns its id.
    pub fn add_host(&self, name: &str, networks: &[&str]) -> String {
        let mut state = self.state();
        let id = Uuid::new_v4().to_string();
        let reported = serde_json::json!({
            "version": super::status::VERSION,
            "os": "linux",
            "listenport": 51821,
            "mtu": 1420,
            "interfaces": [],
            "endpointip": "192.0.2.1",
            "publickey": "",
            "macaddress": "",
        });
        let host = Host {
            reported,
            name: name.to_owned(),
            nodes: None,
            rendered: None,
        };
        state.hosts.insert(id.clone(), host);
        drop(state);
        for network in networks {
            self.join(&id, network);
        }
        id
    }

    /// Lets a host join a network. Returns the id of its node there, if both exist.
    pub fn join(&self, host: &str, network: &str) -> Option<String> {
        let mut state = self.state();
        hosts::join(&mut state, host, network, Timestamp::now()).ok()?;
        let nodes = state.hosts.get(host)?.nodes.as_ref()?;
        nodes.last().cloned()
    }

    /// The ids of the nodes of a host, in a network.
    pub fn nodes(&self, host: &str, network: &str) -> Vec<String> {
        let state = self.state();
        let nodes = state.nodes.iter();
        nodes
            .filter(|(_, node)| node.host == host && node.network == network)
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Lets a host leave a network: at once, or by a mark that stays.
    pub fn leave(&self, host: &str, network: &str, at_once: bool) {
        for id in self.nodes(host, network) {
            let mut state = self.state();
            if at_once {
                state.remove_node(&id);
            } else if let Some(node) = state.nodes.get_mut(&id) {
                node.is_leaving = true;
                node.rendered = None;
            }
        }
    }

    /// Removes a host with its nodes; its rules stay, with nobody in them.
    pub fn remove_host(&self, host: &str) {
        let mut state = self.state();
        let Some(removed) = state.hosts.remove(host) else {
            return;
        };
        for node in removed.nodes.unwrap_or_default() {
            state.remove_node(&node);
        }
    }

    /// Gives a host another name.
    pub fn rename_host(&self, host: &str, name: &str) {
        if let Some(host) = self.state().hosts.get_mut(host) {
            name.clone_into(&mut host.name);
            host.rendered = None;
        }
    }

    /// Says whether a host checks in.
    pub fn set_online(&self, host: &str, is_online: bool) {
        for node in self.state().nodes.values_mut() {
            if node.host == host {
                node.is_online = is_online;
                node.rendered = None;
            }
        }
    }

    /// The rules of a network, in the order in which they were made.
    pub fn rules(&self, network: &str) -> Vec<Rule> {
        let state = self.state();
        egress::of_network(&state, network)
            .into_iter()
            .cloned()
            .collect()
    }

    /// Makes a rule as `user` with this body, as a client would. Returns its id.
    pub fn add_rule(&self, user: &str, body: &Value) -> Option<String> {
        let mut state = self.state();
        let now = Timestamp::now().as_second();
        let claims = Claims::new(user, "admin", LOGIN, now, now + 60);
        let token = format!("Bearer {}", state.signer.sign(&claims));
        let uri = Uri::from_static("/api/v1/egress");
        let body = body.to_string().into();
        let before = state.rules_made;
        route::answer(&mut state, &Method::POST, &uri, Some(&token), body);
        egress::made_after(&state, before)
    }

    /// Edits a rule by hand.
    pub fn edit_rule(&self, id: &str, change: impl FnOnce(&mut Rule)) {
        if let Some(rule) = self.state().rules.get_mut(id) {
            change(rule);
        }
    }

    /// Removes a rule by hand.
    pub fn remove_rule(&self, id: &str) {
        self.state().rules.remove(id);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state()
    }
}

impl Drop for NetmakerServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, method: &Method, path: &str, user: String) {
        let seen = Seen {
            at: Instant::now(),
            method: method.clone(),
            path: path.to_owned(),
            user,
        };
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(seen);
    }
}

async fn respond(Extract(inner): Extract<Arc<Inner>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, LARGEST_BODY).await else {
        return Answer::bad_request("http: request body too large").into_response();
    };
    let fault = inner.faults.next(&parts.method, parts.uri.path());
    if fault == Some(Fault::TokensEnd) {
        inner.state().signer = Signer::new();
    }
    let authorization = parts.headers.get(header::AUTHORIZATION);
    let authorization = authorization.and_then(|value| value.to_str().ok());
    let mut user = String::new();
    let mut answer = None;
    if fault.as_ref().is_none_or(Fault::lets_through) {
        let (given, by) = route::answer(
            &mut inner.state(),
            &parts.method,
            &parts.uri,
            authorization,
            body,
        );
        answer = Some(given.into_response());
        user = by;
    }
    inner.note(&parts.method, parts.uri.path(), user);
    match (fault, answer) {
        (None, Some(answer)) => answer,
        (Some(fault), answer) => show(fault, answer).await,
        (None, None) => Answer::internal("no answer").into_response(),
    }
}
