//! Checks host keys, and remembers what the connection's own task saw.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use russh::client::{self, DisconnectReason};
use russh::keys::{PublicKey, PublicKeyOrCertificate};

use super::error::Phase;
use crate::target::HostKeys;

/// What the connection's own task tells about it.
#[derive(Debug, Default)]
pub(crate) struct Observer(Mutex<Observed>);

#[derive(Debug, Default)]
struct Observed {
    host_key: Option<PublicKey>,
    end: Option<russh::Error>,
}

impl Observer {
    /// How far the connection came.
    pub(super) fn phase(&self) -> Phase {
        match self.host_key() {
            Some(_) => Phase::Authentication,
            None => Phase::KeyExchange,
        }
    }

    /// The host key that was found to be right.
    pub(super) fn host_key(&self) -> Option<PublicKey> {
        self.lock().host_key.clone()
    }

    /// Why the connection ended, if it did and nobody asked before.
    pub(crate) fn take_end(&self) -> Option<russh::Error> {
        self.lock().end.take()
    }

    fn lock(&self) -> MutexGuard<'_, Observed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks the host key, at the first key exchange and at every later one.
pub(crate) struct Verifier {
    pub(super) trusted: HostKeys,
    pub(super) observer: Arc<Observer>,
}

/// Why a handshake ended.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    HostKeyChanged {
        seen: Box<PublicKey>,
        trusted: Vec<PublicKey>,
    },
    Ssh(russh::Error),
}

impl From<russh::Error> for HandshakeError {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl client::Handler for Verifier {
    type Error = HandshakeError;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, HandshakeError> {
        let seen = PublicKey::new(shown.public_key().key_data().clone(), "");
        match &self.trusted {
            HostKeys::Pinned(keys) if !keys.iter().any(|key| key.key_data() == seen.key_data()) => {
                return Err(HandshakeError::HostKeyChanged {
                    seen: Box::new(seen),
                    trusted: keys.clone(),
                });
            }
            HostKeys::Pinned(_) => {}
            HostKeys::FirstUse => self.trusted = HostKeys::Pinned(vec![seen.clone()]),
        }
        self.observer.lock().host_key = Some(seen);
        Ok(true)
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<HandshakeError>,
    ) -> Result<(), HandshakeError> {
        let end = match reason {
            DisconnectReason::Error(HandshakeError::Ssh(error)) => error,
            DisconnectReason::Error(HandshakeError::HostKeyChanged { .. }) => {
                russh::Error::UnknownKey
            }
            DisconnectReason::ReceivedDisconnect(info) => russh::Error::IO(io::Error::other(
                format!("the server says: {}", info.message),
            )),
        };
        self.observer.lock().end = Some(end);
        Ok(())
    }
}
