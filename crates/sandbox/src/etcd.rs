//! One member of the etcd that the control planes of a cluster share.
//!
//! The first control plane begins a new etcd where nobody has one yet; every other joins what
//! there is, first without a vote, one after the other. A member whose data is there goes on with it. One that lost its data takes the place
//! of what it was.

use std::convert::Infallible;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use http::Request;
use kube::{Client, Config};
use nico_runtime::shutdown::{self, SecondSignal};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;

/// How long another member may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// Between two looks at something that is to become true.
const PAUSE: Duration = Duration::from_millis(200);

/// A control plane: its name and its address.
pub type Peer = (String, IpAddr);

/// Which member this is, and where it keeps what.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// The name of this member; one of `peers`.
    pub name: String,
    /// All control planes, the first one first, this one included.
    pub peers: Vec<Peer>,
    /// The directory with its data; made if it is missing.
    pub data: PathBuf,
    /// A file that is there while the member takes part in a quorum.
    pub ready: PathBuf,
}

/// Why a member does not run.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// The list of control planes does not have this one.
    #[error("{0} is not one of the control planes")]
    NotAPeer(String),
    /// A process or a file.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// `etcd` ended by itself.
    #[error("etcd ended with {0}")]
    Ended(std::process::ExitStatus),
}

/// Runs the member until a signal, or until it ends by itself.
///
/// # Errors
/// When it cannot join, or ends by itself.
pub async fn etcd(options: EtcdOptions) -> Result<(), EtcdError> {
    let stop = shutdown::on_signal(SecondSignal::EndsAtOnce).map_err(io("listen for signals"))?;
    let _ = std::fs::remove_file(&options.ready);
    let own = options
        .peers
        .iter()
        .find(|(name, _)| *name == options.name)
        .cloned()
        .ok_or_else(|| EtcdError::NotAPeer(options.name.clone()))?;
    let membership = if options.data.join("member").is_dir() {
        // What it is a member of stands in its data.
        Vec::new()
    } else {
        tokio::select! {
            membership = join(&options, &own) => membership,
            () = stop.cancelled() => return Ok(()),
        }
    };
    let mut member = start(&options, &own, &membership)?;
    // Whoever stops this process signals its whole session, and etcd with it.
    let ended = tokio::select! {
        ended = member.wait() => ended.map_err(io("wait for etcd"))?,
        never = report(&options, &own) => match never {},
    };
    let _ = std::fs::remove_file(&options.ready);
    if stop.is_cancelled() {
        return Ok(());
    }
    Err(EtcdError::Ended(ended))
}

/// What a control plane says to one that wants to join its etcd.
enum Reply {
    /// It runs none.
    NoEtcd,
    /// There is one, which takes in nobody now.
    NotNow,
    /// It is in; the options that say so.
    Joined(Vec<String>),
}

/// Becomes a member of what there is, or of something new; gives the options that say so.
///
/// Something new is begun only where no control plane has anything: two of them would each take
/// half of what is written.
async fn join(options: &EtcdOptions, own: &Peer) -> Vec<String> {
    let is_first = options.peers.first() == Some(own);
    loop {
        let mut is_there = false;
        for peer in options.peers.iter().filter(|peer| *peer != own) {
            match join_through(peer, own).await {
                Reply::NoEtcd => {}
                Reply::NotNow => is_there = true,
                Reply::Joined(membership) => return membership,
            }
        }
        if is_first && !is_there {
            return membership(&[(own.0.clone(), peer_url(own))], "new");
        }
        sleep(PAUSE).await;
    }
}

/// Asks one member to let this one in.
async fn join_through(peer: &Peer, own: &Peer) -> Reply {
    let connected = timeout(ANSWER, TcpStream::connect((peer.1, CLIENT_PORT))).await;
    if !matches!(connected, Ok(Ok(_))) {
        return Reply::NoEtcd;
    }
    let joined = add_learner(peer, own).await;
    joined.map_or(Reply::NotNow, Reply::Joined)
}

/// Adds this member, as one without a vote: one that does not come would cost the others their
/// quorum. There may be one such at a time. None if it cannot be done now.
async fn add_learner(peer: &Peer, own: &Peer) -> Option<Vec<String>> {
    let client = client(peer)?;
    let url = peer_url(own);
    let mut members: Vec<(String, String)> = Vec::new();
    for member in members_at(&client).await? {
        let of = member["peerURLs"][0].as_str().unwrap_or_default();
        if of == url {
            let request = json!({"ID": member["ID"]});
            ask(&client, "/v3/cluster/member/remove", request).await?;
        } else {
            let name = member["name"].as_str().unwrap_or_default();
            members.push((name.to_owned(), of.to_owned()));
        }
    }
    let request = json!({"peerURLs": [url], "isLearner": true});
    ask(&client, "/v3/cluster/member/add", request).await?;
    members.push((own.0.clone(), url));
    Some(membership(&members, "existing"))
}

async fn members_at(client: &Client) -> Option<Vec<Value>> {
    let found = ask(client, "/v3/cluster/member/list", json!({})).await?;
    found["members"].as_array().cloned()
}

/// Asks the others to give this member a vote. They do it once it knows what they know.
async fn ask_for_vote(options: &EtcdOptions, own: &Peer) {
    let url = peer_url(own);
    for peer in options.peers.iter().filter(|peer| *peer != own) {
        let Some(client) = client(peer) else {
            continue;
        };
        let members = members_at(&client).await.unwrap_or_default();
        let learner = members
            .iter()
            .find(|member| member["peerURLs"][0] == *url && member["isLearner"] == true);
        if let Some(learner) = learner {
            let request = json!({"ID": learner["ID"]});
            ask(&client, "/v3/cluster/member/promote", request).await;
        }
    }
}

fn membership(members: &[(String, String)], state: &str) -> Vec<String> {
    let members: Vec<String> = members
        .iter()
        .map(|(name, url)| format!("{name}={url}"))
        .collect();
    vec![
        format!("--initial-cluster={}", members.join(",")),
        format!("--initial-cluster-state={state}"),
    ]
}

fn start(options: &EtcdOptions, own: &Peer, membership: &[String]) -> Result<Child, EtcdError> {
    let (name, address) = own;
    Command::new("etcd")
        .arg(format!("--name={name}"))
        .arg(format!("--data-dir={}", options.data.display()))
        .arg(format!("--listen-peer-urls=http://{address}:{PEER_PORT}"))
        .arg(format!("--initial-advertise-peer-urls={}", peer_url(own)))
        .arg(format!(
            "--listen-client-urls=http://127.0.0.1:{CLIENT_PORT},http://{address}:{CLIENT_PORT}"
        ))
        .arg(format!(
            "--advertise-client-urls=http://{address}:{CLIENT_PORT}"
        ))
        .args(membership)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(io("start etcd; on Debian it is in the package etcd-server"))
}

/// Writes the file that says so as soon as the member takes part in a quorum.
async fn report(options: &EtcdOptions, own: &Peer) -> Infallible {
    while !has_quorum(own).await || std::fs::write(&options.ready, "").is_err() {
        ask_for_vote(options, own).await;
        sleep(PAUSE).await;
    }
    std::future::pending().await
}

/// A read that is no older than the moment of asking needs a quorum.
async fn has_quorum(own: &Peer) -> bool {
    let Some(client) = client(own) else {
        return false;
    };
    ask(&client, "/v3/kv/range", json!({"key": "AA=="}))
        .await
        .is_some()
}

fn client(peer: &Peer) -> Option<Client> {
    let url = format!("http://{}:{CLIENT_PORT}", peer.1).parse().ok()?;
    let mut config = Config::new(url);
    config.connect_timeout = Some(ANSWER);
    config.read_timeout = Some(ANSWER);
    Client::try_from(config).ok()
}

async fn ask(client: &Client, path: &str, request: Value) -> Option<Value> {
    let request = Request::post(path).body(request.to_string().into_bytes());
    let answer = timeout(ANSWER, client.request(request.ok()?)).await;
    match answer {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::debug!(path, %error, "etcd does not do it");
            None
        }
        Err(_) => None,
    }
}

fn peer_url((_, address): &Peer) -> String {
    format!("http://{address}:{PEER_PORT}")
}

fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> EtcdError {
    move |source| EtcdError::Io { what, source }
}
