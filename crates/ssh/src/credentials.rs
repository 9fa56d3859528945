//! Private keys and passwords: parsed once, held in memory, never shown.

use std::fmt;
use std::sync::Arc;

use nico_runtime::category::{Categorized, Category};
use russh::keys::{self, PrivateKey, PublicKey};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::target::fingerprint;

/// What a user may prove to an SSH server. Keys are tried first, in order, then the password.
///
/// `Debug` shows fingerprints, never secrets; memory is overwritten when the last copy goes.
#[derive(Clone, Default)]
pub struct Credentials {
    keys: Vec<Arc<PrivateKey>>,
    password: Option<Arc<Zeroizing<String>>>,
}

/// Why a text is no private key that NICO can use. Never quotes the text.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The key is encrypted; nobody could type the passphrase.
    #[error(
        "the private key is protected by a passphrase, which nobody can type here; store the key without one (ssh-keygen -p -N '')"
    )]
    Passphrase,
    /// A public key was stored instead of the private one.
    #[error("this is a public key; store the private key, which begins with -----BEGIN")]
    PublicKey,
    /// There is no PEM block of a private key.
    #[error(
        "there is no private key in it; it must begin with -----BEGIN OPENSSH PRIVATE KEY----- or another PEM header of a private key"
    )]
    NotAPrivateKey,
    /// The key is damaged or of a kind that is not supported.
    #[error(
        "the private key is damaged or of an unsupported kind ({reason}); use an Ed25519, ECDSA or RSA key"
    )]
    Unsupported {
        /// What the decoder says.
        reason: String,
    },
}

impl Categorized for KeyError {
    fn category(&self) -> Category {
        Category::InvalidInput
    }
}

impl Credentials {
    /// Adds a private key in OpenSSH, PKCS#1, PKCS#8 or SEC1 PEM form.
    ///
    /// # Errors
    /// [`KeyError`] when the text is no private key without a passphrase.
    pub fn with_private_key(mut self, pem: &str) -> Result<Self, KeyError> {
        self.keys.push(Arc::new(parse(pem)?));
        Ok(self)
    }

    /// One private key that exists already.
    pub(crate) fn of_key(key: PrivateKey) -> Self {
        Self {
            keys: vec![Arc::new(key)],
            password: None,
        }
    }

    /// Sets the password, which is tried when no key is accepted.
    #[must_use]
    pub fn with_password(mut self, password: Zeroizing<String>) -> Self {
        self.password = Some(Arc::new(password));
        self
    }

    /// Whether there is neither key nor password.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.password.is_none()
    }

    /// Whether there is a private key, which is all that child programs can use.
    pub fn has_key(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The public halves of the private keys.
    pub fn public_keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys.iter().map(|key| key.public_key())
    }

    /// Lends the password, if there is one, to what hands it to a program that asks for it.
    pub fn expose_password(&self, lend: impl FnOnce(&str)) {
        if let Some(password) = self.password() {
            lend(password);
        }
    }

    pub(crate) fn keys(&self) -> &[Arc<PrivateKey>] {
        &self.keys
    }

    pub(crate) fn password(&self) -> Option<&str> {
        self.password.as_deref().map(|password| password.as_str())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credentials")
            .field(
                "keys",
                &self.public_keys().map(fingerprint).collect::<Vec<_>>(),
            )
            .field("password", &self.password.as_ref().map(|_| "…"))
            .finish()
    }
}

fn parse(pem: &str) -> Result<PrivateKey, KeyError> {
    let pem = pem.trim();
    if pem.parse::<PublicKey>().is_ok() {
        return Err(KeyError::PublicKey);
    }
    if !pem.contains("PRIVATE KEY-----") && !pem.starts_with("PuTTY-User-Key-File-") {
        return Err(KeyError::NotAPrivateKey);
    }
    if pem.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(KeyError::Passphrase);
    }
    keys::decode_secret_key(pem, None).map_err(|error| match error {
        keys::Error::KeyIsEncrypted => KeyError::Passphrase,
        other => KeyError::Unsupported {
            reason: other.to_string(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::{Credentials, KeyError};
    use zeroize::Zeroizing;

    const PASSPHRASE_OPENSSH: &str = "-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jYmMAAAAGYmNyeXB0AAAAGAAAABDLGyfA39
J2FcJygtYqi5ISAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIN+Wjn4+4Fcvl2Jl
KpggT+wCRxpSvtqqpVrQrKN1/A22AAAAkOHDLnYZvYS6H9Q3S3Nk4ri3R2jAZlQlBbUos5
FkHpYgNw65KCWCTXtP7ye2czMC3zjn2r98pJLobsLYQgRiHIv/CUdAdsqbvMPECB+wl/UQ
e+JpiSq66Z6GIt0801skPh20jxOO3F52SoX1IeO5D5PXfZrfSZlw6S8c7bwyp2FHxDewRx
7/wNsnDM0T7nLv/Q==
-----END OPENSSH PRIVATE KEY-----";
    const PUBLIC: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ me";

    fn reject(text: &str) -> KeyError {
        Credentials::default()
            .with_private_key(text)
            .expect_err("no usable key")
    }

    #[test]
    fn a_key_with_a_passphrase_is_told_from_a_damaged_one() {
        assert!(matches!(reject(PASSPHRASE_OPENSSH), KeyError::Passphrase));
        assert!(matches!(
            reject(
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----"
            ),
            KeyError::Passphrase
        ));
        assert!(matches!(
            reject("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----"),
            KeyError::Unsupported { .. }
        ));
    }

    #[test]
    fn a_public_key_and_plain_text_are_recognised() {
        assert!(matches!(reject(PUBLIC), KeyError::PublicKey));
        assert!(matches!(reject("hunter2"), KeyError::NotAPrivateKey));
        assert!(matches!(reject(""), KeyError::NotAPrivateKey));
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let credentials =
            Credentials::default().with_password(Zeroizing::new("hunter2".to_owned()));
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
