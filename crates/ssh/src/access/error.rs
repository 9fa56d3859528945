//! Why a session to a Machine cannot even be tried.

use nico_runtime::category::{Categorized, Category};
use russh::keys::ssh_key;
use thiserror::Error;

use crate::credentials::KeyError;

/// What is wrong with a Machine's credentials or trusted host keys. Names objects as
/// `namespace/name`, never their contents.
#[derive(Debug, Error)]
pub enum AccessError {
    /// The spec has neither address nor host name.
    #[error("Machine {machine} has no address; set spec.ipAddress or spec.hostname")]
    NoAddress {
        /// The Machine.
        machine: String,
    },
    /// The spec names no Secret.
    #[error(
        "Machine {machine} names no credentials; set spec.sshKeySecretRef or spec.sshPasswordSecretRef"
    )]
    NoCredentials {
        /// The Machine.
        machine: String,
    },
    /// The Secret is in another namespace.
    #[error(
        "Machine {machine} refers to Secret {secret} of another namespace, which the operator does not allow; copy the Secret, or run the operator with NIO_ALLOW_CROSS_NAMESPACE_SECRETS=true"
    )]
    CrossNamespace {
        /// The Machine.
        machine: String,
        /// The Secret.
        secret: String,
    },
    /// There is no such Secret.
    #[error(
        "cannot read key \"{key}\" of Secret {secret}: there is no such Secret; create it, or correct spec.{field}"
    )]
    SecretNotFound {
        /// The Secret.
        secret: String,
        /// The key that is wanted of it.
        key: String,
        /// The field of the spec that names it.
        field: &'static str,
    },
    /// The Secret lacks the key.
    #[error("cannot read key \"{key}\" of Secret {secret}: {}; add the key, or correct spec.{field}", describe_keys(.present))]
    KeyNotFound {
        /// The Secret.
        secret: String,
        /// The key that is wanted of it.
        key: String,
        /// The field of the spec that names the Secret.
        field: &'static str,
        /// The keys that it has.
        present: Vec<String>,
    },
    /// The value is no UTF-8 text, or empty.
    #[error(
        "cannot use key \"{key}\" of Secret {secret}: it is empty or no text; store the value as it is, without encoding it twice"
    )]
    NotText {
        /// The Secret.
        secret: String,
        /// The key of the Secret.
        key: String,
    },
    /// The value is no usable private key.
    #[error("cannot use key \"{key}\" of Secret {secret}")]
    InvalidKey {
        /// The Secret.
        secret: String,
        /// The key of the Secret.
        key: String,
        /// What is wrong with it.
        #[source]
        source: KeyError,
    },
    /// An entry of `spec.sshHostKeys` is no public key.
    #[error(
        "spec.sshHostKeys[{index}] of Machine {machine} is no public key in OpenSSH form (such as \"ssh-ed25519 AAAA…\", as in /etc/ssh/ssh_host_ed25519_key.pub)"
    )]
    InvalidHostKey {
        /// The Machine.
        machine: String,
        /// Position in the list, from 0.
        index: usize,
        /// What the decoder says.
        #[source]
        source: ssh_key::Error,
    },
    /// What is stored as a pinned key is none.
    #[error(
        "key \"{key}\" of Secret {secret} holds no list of public keys in OpenSSH form; correct it, or remove it to trust the next key that is seen"
    )]
    DamagedPin {
        /// The Secret.
        secret: String,
        /// The key of the Secret.
        key: String,
        /// What the decoder says.
        #[source]
        source: ssh_key::Error,
    },
    /// Another key was pinned meanwhile.
    #[error(
        "the host key {seen} cannot be pinned under key \"{key}\" of Secret {secret}: {pinned} was pinned before"
    )]
    PinnedOtherwise {
        /// The Secret.
        secret: String,
        /// The key of the Secret.
        key: String,
        /// Fingerprint of the key that was to be pinned.
        seen: String,
        /// Fingerprints of the keys that are pinned.
        pinned: String,
    },
    /// The Kubernetes API did not do what was asked.
    #[error("cannot {action} Secret {secret}")]
    Api {
        /// `read`, `create` or `update`.
        action: &'static str,
        /// The Secret.
        secret: String,
        /// What it said.
        #[source]
        source: kube::Error,
    },
}

impl Categorized for AccessError {
    fn category(&self) -> Category {
        match self {
            Self::SecretNotFound { .. } | Self::KeyNotFound { .. } => Category::Waiting,
            Self::PinnedOtherwise { .. } => Category::Conflict,
            Self::Api { source, .. } => source.category(),
            Self::NoAddress { .. }
            | Self::NoCredentials { .. }
            | Self::CrossNamespace { .. }
            | Self::NotText { .. }
            | Self::InvalidKey { .. }
            | Self::InvalidHostKey { .. }
            | Self::DamagedPin { .. } => Category::InvalidInput,
        }
    }
}

fn describe_keys(present: &[String]) -> String {
    match present {
        [] => "the Secret is empty".to_owned(),
        [key] => format!("the Secret has only the key \"{key}\""),
        keys => format!("the Secret has the keys \"{}\"", keys.join("\", \"")),
    }
}

#[cfg(test)]
mod tests {
    use super::AccessError;

    #[test]
    fn a_missing_key_is_reported_with_the_keys_that_are_there() {
        let error = AccessError::KeyNotFound {
            secret: "default/ssh".to_owned(),
            key: "ssh-privatekey".to_owned(),
            field: "sshKeySecretRef",
            present: vec!["id_rsa".to_owned(), "id_rsa.pub".to_owned()],
        };
        assert_eq!(
            error.to_string(),
            "cannot read key \"ssh-privatekey\" of Secret default/ssh: the Secret has the keys \
             \"id_rsa\", \"id_rsa.pub\"; add the key, or correct spec.sshKeySecretRef"
        );
    }
}
