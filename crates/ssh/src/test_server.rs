//! An SSH server in this process, for tests: listens on loopback, does what the test says.
//!
//! Only built with the feature `test-server`, which tests turn on.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;

pub use russh::keys::PrivateKey;
use russh::keys::PublicKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::server::{
    self, Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelMsg, Sig};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::admission;

/// What the server does with a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Runs it with `sh -c`, as the user of the test.
    Run,
    /// Gives this back, without reading stdin.
    Output {
        /// Exit status.
        status: u32,
        /// What goes to stdout.
        stdout: Vec<u8>,
        /// What goes to stderr.
        stderr: Vec<u8>,
    },
    /// Says that it runs, and nothing more.
    Hang,
    /// Cuts the connection.
    Drop,
    /// Refuses to run it.
    Refuse,
    /// Reports that a signal ended it.
    Kill,
}

impl Reply {
    /// Status 0 with this on stdout.
    pub fn stdout(text: impl Into<Vec<u8>>) -> Self {
        Self::Output {
            status: 0,
            stdout: text.into(),
            stderr: Vec::new(),
        }
    }
}

type Commands = dyn Fn(&str) -> Reply + Send + Sync;

/// What the server is like.
#[derive(Clone)]
pub struct Behaviour {
    /// Its host key.
    pub host_key: PrivateKey,
    /// Public keys that it lets in.
    pub authorized: Vec<PublicKey>,
    /// The password that it lets in.
    pub password: Option<String>,
    /// Accepts connections and then says nothing.
    pub silent: bool,
    /// What it does with commands.
    pub commands: Arc<Commands>,
}

impl Behaviour {
    /// A server with a host key, that lets nobody in and runs commands.
    pub fn new(host_key: PrivateKey) -> Self {
        Self {
            host_key,
            authorized: Vec::new(),
            password: None,
            silent: false,
            commands: Arc::new(|_| Reply::Run),
        }
    }

    /// Lets this key in.
    #[must_use]
    pub fn authorize(mut self, key: &PrivateKey) -> Self {
        self.authorized.push(key.public_key().clone());
        self
    }

    /// Does this with commands.
    #[must_use]
    pub fn on_command(mut self, commands: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        self.commands = Arc::new(commands);
        self
    }
}

/// An Ed25519 key, always the same for the same seed.
pub fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

/// A private key as it stands in a Secret.
pub fn pem(key: &PrivateKey) -> String {
    key.to_openssh(LineEnding::LF)
        .map(|text| text.to_string())
        .unwrap_or_default()
}

/// A running server. Stops listening when dropped.
#[derive(Debug)]
pub struct TestServer {
    address: SocketAddr,
    logins: watch::Receiver<usize>,
    listener: AbortHandle,
}

impl TestServer {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn start(behaviour: Behaviour) -> io::Result<Self> {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), behaviour).await
    }

    /// Starts on a given address.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn start_at(address: SocketAddr, behaviour: Behaviour) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (counter, logins) = watch::channel(0);
        let serving = tokio::spawn(serve(listener, behaviour, counter));
        Ok(Self {
            address,
            logins,
            listener: serving.abort_handle(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many users logged in so far.
    pub fn logins(&self) -> usize {
        *self.logins.borrow()
    }

    /// Waits, without end, until so many users have logged in.
    pub async fn wait_for_logins(&self, count: usize) {
        // The counter lives as long as the listener, which is as long as this server.
        let _ = self
            .logins
            .clone()
            .wait_for(|logins| *logins >= count)
            .await;
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn serve(listener: TcpListener, behaviour: Behaviour, logins: watch::Sender<usize>) {
    let config = Arc::new(server::Config {
        keys: vec![behaviour.host_key.clone()],
        auth_rejection_time: std::time::Duration::ZERO,
        ..server::Config::default()
    });
    let mut silent = Vec::new();
    while let Ok((stream, _)) = listener.accept().await {
        if behaviour.silent {
            silent.push(stream);
            continue;
        }
        let connection = Connection {
            behaviour: behaviour.clone(),
            logins: logins.clone(),
        };
        tokio::spawn(converse(Arc::clone(&config), stream, connection));
    }
}

/// Clients that break off are none of the server's business.
async fn converse(config: Arc<server::Config>, stream: TcpStream, connection: Connection) {
    if let Ok(session) = server::run_stream(config, stream, connection).await {
        let _ = session.await;
    }
}

struct Connection {
    behaviour: Behaviour,
    logins: watch::Sender<usize>,
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(admission::by_key(
            &self.behaviour.authorized,
            offer.public_key,
        ))
    }

    async fn auth_publickey(
        &mut self,
        _user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(admission::by_key(
            &self.behaviour.authorized,
            key.public_key,
        ))
    }

    async fn auth_password(&mut self, _user: &str, password: &str) -> Result<Auth, russh::Error> {
        let right = self.behaviour.password.as_deref() == Some(password);
        Ok(if right { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_succeeded(&mut self, _session: &mut Session) -> Result<(), russh::Error> {
        self.logins.send_modify(|logins| *logins += 1);
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        tokio::spawn(attend(
            channel,
            session.handle(),
            Arc::clone(&self.behaviour.commands),
        ));
        Ok(())
    }
}

/// Waits for the command of a channel and does with it what the test says.
async fn attend(mut channel: Channel<Msg>, session: server::Handle, commands: Arc<Commands>) {
    let command = loop {
        match channel.wait().await {
            Some(ChannelMsg::Exec { command, .. }) => break command,
            Some(_) => {}
            None => return,
        }
    };
    let id = channel.id();
    let command = String::from_utf8_lossy(&command).into_owned();
    match commands(&command) {
        Reply::Run => run(channel, session, &command).await,
        Reply::Output {
            status,
            stdout,
            stderr,
        } => {
            let _ = session.channel_success(id).await;
            answer(&channel, &session, status, stdout, stderr).await;
        }
        Reply::Hang => {
            let _ = session.channel_success(id).await;
            while channel.wait().await.is_some() {}
        }
        Reply::Drop => {
            let _ = session
                .disconnect(
                    russh::Disconnect::ByApplication,
                    "dropped".into(),
                    String::new(),
                )
                .await;
        }
        Reply::Refuse => {
            let _ = session.channel_failure(id).await;
        }
        Reply::Kill => {
            let _ = session.channel_success(id).await;
            let _ = session
                .exit_signal_request(id, Sig::KILL, false, String::new(), String::new())
                .await;
            let _ = channel.close().await;
        }
    }
}

async fn run(mut channel: Channel<Msg>, session: server::Handle, command: &str) {
    let _ = session.channel_success(channel.id()).await;
    let started = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let Ok(mut child) = started else {
        let _ = channel.close().await;
        return;
    };
    let mut input = child.stdin.take();
    let feed = async {
        while let Some(message) = channel.wait().await {
            match (message, &mut input) {
                (ChannelMsg::Data { data }, Some(pipe)) => {
                    let written = pipe.write_all(&data).await;
                    input = input.filter(|_| written.is_ok());
                }
                (ChannelMsg::Eof, _) => input = None,
                (ChannelMsg::Close, _) => return false,
                _ => {}
            }
        }
        false
    };
    // The pipe to the child is fed until the child has ended; a client that goes away ends it.
    let output = tokio::select! {
        output = child.wait_with_output() => output,
        _ = feed => return,
    };
    if let Ok(output) = output {
        let status = output
            .status
            .code()
            .and_then(|code| u32::try_from(code).ok())
            .unwrap_or(255);
        answer(&channel, &session, status, output.stdout, output.stderr).await;
    }
}

async fn answer(
    channel: &Channel<Msg>,
    session: &server::Handle,
    status: u32,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
) {
    // A client that is gone needs no answer.
    let _ = channel.data_bytes(stdout).await;
    let _ = channel.extended_data_bytes(1, stderr).await;
    let _ = session.exit_status_request(channel.id(), status).await;
    let _ = channel.eof().await;
    let _ = channel.close().await;
}
