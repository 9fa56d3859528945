//! A way to a machine for the `ssh` program, through a session of NICO's own.
//!
//! `ssh` cannot be given a password, and programs such as `nix copy` start it by themselves. So
//! they are sent to an SSH server in this process, on loopback, which lets in nobody but the
//! holder of a key that was made for this purpose, and runs every command on the machine instead.
//! The password is used here only, and the machine's host key is checked here.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use nico_runtime::category::{Categorized, Category};
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use russh::server::{
    self, Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, VerifiedPublicKey,
};
use russh::{
    Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, MethodKind, MethodSet,
};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

use crate::admission;
use crate::agent::{Agent, AgentError};
use crate::connect::{ConnectError, connect};
use crate::credentials::Credentials;
use crate::session::Session;
use crate::target::{Deadlines, HostKeys, Target};

/// A server on loopback that stands for one machine. Gone when it is dropped.
pub struct Bridge {
    address: SocketAddr,
    host_key: PublicKey,
    agent: Agent,
    listener: AbortHandle,
}

/// Why there is no bridge.
#[derive(Debug, Error)]
pub enum BridgeError {
    /// The machine cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The agent with the key of the bridge does not start.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// No key could be made.
    #[error("cannot make a key for the way to the machine")]
    Key(#[source] russh::keys::ssh_key::Error),
    /// Loopback cannot be listened on.
    #[error("cannot listen on 127.0.0.1 for programs that copy to the machine")]
    Listen(#[source] io::Error),
}

impl Categorized for BridgeError {
    fn category(&self) -> Category {
        match self {
            Self::Connect(error) => error.category(),
            Self::Agent(error) => error.category(),
            Self::Key(_) => Category::Bug,
            Self::Listen(_) => Category::Transient,
        }
    }
}

impl Bridge {
    /// Opens a session to `target` and listens for programs that want to use it.
    ///
    /// # Errors
    /// [`BridgeError`].
    pub async fn open(
        target: &Target,
        host_key: &PublicKey,
        deadlines: &Deadlines,
    ) -> Result<Self, BridgeError> {
        let target = Target {
            host_keys: HostKeys::Pinned(vec![host_key.clone()]),
            ..target.clone()
        };
        let session = Arc::new(connect(&target, deadlines).await?);
        let (own, user) = (new_key()?, new_key()?);
        let host_key = own.public_key().clone();
        let authorized = [user.public_key().clone()];
        let agent = Agent::start(&Credentials::of_key(user)).await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(BridgeError::Listen)?;
        let address = listener.local_addr().map_err(BridgeError::Listen)?;
        let config = Arc::new(server::Config {
            keys: vec![own],
            methods: MethodSet::from(&[MethodKind::PublicKey][..]),
            auth_rejection_time: Duration::ZERO,
            nodelay: true,
            ..server::Config::default()
        });
        let visitor = Visitor {
            authorized,
            session,
            waiting: Vec::new(),
        };
        let serving = tokio::spawn(serve(listener, config, visitor));
        Ok(Self {
            address,
            host_key,
            agent,
            listener: serving.abort_handle(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The host key that it shows, which is not that of the machine.
    pub fn host_key(&self) -> &PublicKey {
        &self.host_key
    }

    /// The agent with the only key that it lets in.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Bridge")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

fn new_key() -> Result<PrivateKey, BridgeError> {
    PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).map_err(BridgeError::Key)
}

/// Serves until it is dropped, and every visitor with it.
async fn serve(listener: TcpListener, config: Arc<server::Config>, visitor: Visitor) {
    let mut visitors = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (config, visitor) = (Arc::clone(&config), visitor.clone());
        visitors.spawn(async move {
            // A program that breaks off is told by its own exit status.
            if let Ok(session) = server::run_stream(config, stream, visitor).await {
                let _ = session.await;
            }
        });
        while visitors.try_join_next().is_some() {}
    }
}

/// One connection of a program.
struct Visitor {
    authorized: [PublicKey; 1],
    session: Arc<Session>,
    /// Channels that were opened and for which no command was given yet.
    waiting: Vec<Channel<Msg>>,
}

impl Clone for Visitor {
    fn clone(&self) -> Self {
        Self {
            authorized: self.authorized.clone(),
            session: Arc::clone(&self.session),
            waiting: Vec::new(),
        }
    }
}

impl Handler for Visitor {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(admission::by_key(&self.authorized, offer.public_key))
    }

    async fn auth_publickey(
        &mut self,
        _user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(admission::by_key(&self.authorized, key.public_key))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        self.waiting.push(channel);
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        let Some(index) = self.waiting.iter().position(|channel| channel.id() == id) else {
            return session.channel_failure(id);
        };
        let near = self.waiting.swap_remove(index);
        let (handle, machine) = (session.handle(), Arc::clone(&self.session));
        let command = command.to_vec();
        tokio::spawn(async move {
            match machine.open(command).await {
                Ok(far) => {
                    let _ = handle.channel_success(id).await;
                    join(near, far, &handle).await;
                }
                // The program says that the command could not be run.
                Err(_) => {
                    let _ = handle.channel_failure(id).await;
                    let _ = near.close().await;
                }
            }
        });
        Ok(())
    }
}

/// Passes on what both sides say until the machine has ended the command. Whoever is gone needs
/// nothing any more, so that failed writes end it too.
async fn join(near: Channel<Msg>, far: Channel<russh::client::Msg>, handle: &server::Handle) {
    let (near_in, near_out) = near.split();
    let (far_in, far_out) = far.split();
    tokio::select! {
        () = answers(far_in, &near_out, handle) => {}
        () = requests(near_in, &far_out) => {}
    }
    let _ = far_out.close().await;
    let _ = near_out.close().await;
}

/// From the program to the machine; ends when the program goes away.
async fn requests(mut near: ChannelReadHalf, far: &ChannelWriteHalf<russh::client::Msg>) {
    while let Some(message) = near.wait().await {
        let passed = match message {
            ChannelMsg::Data { data } => far.data_bytes(data).await,
            ChannelMsg::Eof => far.eof().await,
            ChannelMsg::Close => return,
            _ => Ok(()),
        };
        if passed.is_err() {
            return;
        }
    }
}

/// From the machine to the program; ends with the command.
async fn answers(mut far: ChannelReadHalf, near: &ChannelWriteHalf<Msg>, handle: &server::Handle) {
    while let Some(message) = far.wait().await {
        let passed = match message {
            ChannelMsg::Data { data } => near.data_bytes(data).await.is_ok(),
            ChannelMsg::ExtendedData { data, ext } => {
                near.extended_data_bytes(ext, data).await.is_ok()
            }
            ChannelMsg::ExitStatus { exit_status } => near.exit_status(exit_status).await.is_ok(),
            ChannelMsg::ExitSignal {
                signal_name,
                core_dumped,
                error_message,
                lang_tag,
            } => handle
                .exit_signal_request(near.id(), signal_name, core_dumped, error_message, lang_tag)
                .await
                .is_ok(),
            ChannelMsg::Eof => near.eof().await.is_ok(),
            ChannelMsg::Close | ChannelMsg::Failure => return,
            _ => true,
        };
        if !passed {
            return;
        }
    }
}
