//! What a Secret holds for a Git repository.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::ByteString;
use nico_api::names::GitUrl;

use crate::hash::FieldHash;
use crate::program::Redactor;

/// User name that goes with a token. GitHub needs exactly this one for tokens of apps; GitHub's
/// other tokens, GitLab, Gitea and Forgejo take any.
const TOKEN_USER: &str = "x-access-token";

/// How to log in to a Git server. `Debug` shows the kind, never the secret.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Nothing: a public repository, or a file.
    #[default]
    None,
    /// HTTP basic authentication: user name and password, or a token as the password.
    Basic {
        /// User name.
        username: String,
        /// Password or token.
        password: String,
    },
    /// SSH with a private key.
    SshKey {
        /// The key.
        key: nico_ssh::Credentials,
        /// Fingerprint of the Secret's content, which tells two keys apart.
        fingerprint: String,
        /// Lines of `known_hosts`; without them the first host key that is seen is kept.
        known_hosts: Option<String>,
    },
}

/// A Secret that cannot be used for a repository.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// None of the combinations of keys that are understood is there.
    #[error(
        "the Secret has the keys {}; set one of: token, username and password, ssh-privatekey",
        quoted(present)
    )]
    NothingUsable {
        /// The keys that are there.
        present: Vec<String>,
    },
    /// A value is not text.
    #[error("the value of the key {key:?} is not UTF-8 text")]
    NotText {
        /// The key of the Secret.
        key: &'static str,
    },
    /// The private key cannot be used.
    #[error("the key \"ssh-privatekey\" cannot be used: {0}")]
    PrivateKey(#[source] nico_ssh::KeyError),
    /// The Secret has credentials for another kind of URL.
    #[error("{url} is reached over {protocol}, for which the Secret needs {needed}")]
    WrongKind {
        /// The repository.
        url: String,
        /// `SSH` or `HTTP`.
        protocol: &'static str,
        /// The keys that the Secret would need.
        needed: &'static str,
    },
}

impl Credentials {
    /// The credentials in a Secret: `token`, or `username` and `password`, or `ssh-privatekey`
    /// with or without `known_hosts`; the one that fits the URL where there are several.
    ///
    /// # Errors
    /// [`CredentialsError`] when there is none for this URL.
    pub fn from_secret(
        data: &BTreeMap<String, ByteString>,
        url: &GitUrl,
    ) -> Result<Self, CredentialsError> {
        let over_ssh = is_ssh(url);
        let has_basic = data.contains_key("token")
            || (data.contains_key("username") && data.contains_key("password"));
        let has_key = data.contains_key("ssh-privatekey");
        match (over_ssh, has_basic, has_key) {
            (_, false, false) => Err(CredentialsError::NothingUsable {
                present: data.keys().cloned().collect(),
            }),
            (true, _, true) => ssh_key(data),
            (false, true, _) => basic(data),
            (true, true, false) => Err(CredentialsError::WrongKind {
                url: url.to_string(),
                protocol: "SSH",
                needed: "ssh-privatekey",
            }),
            (false, false, true) => Err(CredentialsError::WrongKind {
                url: url.to_string(),
                protocol: "HTTP",
                needed: "token, or username and password",
            }),
        }
    }

    /// What tells these credentials from others, without giving them away.
    pub fn fingerprint(&self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Basic { username, password } => FieldHash::default()
                .field(username)
                .field(password)
                .finish(),
            Self::SshKey { fingerprint, .. } => fingerprint.clone(),
        }
    }

    /// The value of the header `Authorization`, for HTTP.
    pub(super) fn authorization(&self) -> Option<String> {
        match self {
            Self::Basic { username, password } => {
                let pair = STANDARD.encode(format!("{username}:{password}"));
                Some(format!("Basic {pair}"))
            }
            Self::None | Self::SshKey { .. } => None,
        }
    }

    /// A redactor for all that must not be repeated.
    pub fn redactor(&self) -> Redactor {
        match self {
            Self::Basic { username, password } => Redactor::new([
                password.clone(),
                STANDARD.encode(format!("{username}:{password}")),
            ]),
            Self::None | Self::SshKey { .. } => Redactor::default(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic(…)",
            Self::SshKey { .. } => "SshKey(…)",
        })
    }
}

fn is_ssh(url: &GitUrl) -> bool {
    let has_other_scheme = url.as_str().contains("://") && !url.as_str().starts_with("ssh://");
    !has_other_scheme
}

fn basic(data: &BTreeMap<String, ByteString>) -> Result<Credentials, CredentialsError> {
    if data.contains_key("token") {
        return Ok(Credentials::Basic {
            username: TOKEN_USER.to_owned(),
            password: text(data, "token")?,
        });
    }
    Ok(Credentials::Basic {
        username: text(data, "username")?,
        password: text(data, "password")?,
    })
}

fn ssh_key(data: &BTreeMap<String, ByteString>) -> Result<Credentials, CredentialsError> {
    let private = text(data, "ssh-privatekey")?;
    let known_hosts = data
        .contains_key("known_hosts")
        .then(|| text(data, "known_hosts"))
        .transpose()?;
    let key = nico_ssh::Credentials::default()
        .with_private_key(&private)
        .map_err(CredentialsError::PrivateKey)?;
    Ok(Credentials::SshKey {
        key,
        fingerprint: FieldHash::default()
            .field(&private)
            .field(known_hosts.as_deref().unwrap_or_default())
            .finish(),
        known_hosts,
    })
}

/// The value of a key, without the line break that `echo` and editors leave at its end.
fn text(
    data: &BTreeMap<String, ByteString>,
    key: &'static str,
) -> Result<String, CredentialsError> {
    let bytes = data
        .get(key)
        .map(|value| value.0.as_slice())
        .unwrap_or_default();
    std::str::from_utf8(bytes)
        .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
        .map_err(|_| CredentialsError::NotText { key })
}

fn quoted(keys: &[String]) -> String {
    if keys.is_empty() {
        return "(none)".to_owned();
    }
    let keys: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
    keys.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, ByteString> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())))
            .collect()
    }

    fn https() -> GitUrl {
        "https://git.example/a.git".parse().unwrap()
    }

    #[test]
    fn a_token_is_preferred_over_a_password() {
        let data = data(&[("token", "t0ken\n"), ("username", "u"), ("password", "p")]);
        let credentials = Credentials::from_secret(&data, &https()).unwrap();
        assert!(matches!(credentials, Credentials::Basic { password, .. } if password == "t0ken"));
    }

    #[test]
    fn a_secret_without_a_usable_key_names_what_it_has_and_what_it_needs() {
        let error = Credentials::from_secret(&data(&[("username", "u")]), &https()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the Secret has the keys \"username\"; set one of: token, username and password, ssh-privatekey"
        );
    }

    #[test]
    fn credentials_must_fit_the_url() {
        let ssh: GitUrl = "git@git.example:a.git".parse().unwrap();
        let error = Credentials::from_secret(&data(&[("token", "t")]), &ssh).unwrap_err();
        assert!(error.to_string().contains("ssh-privatekey"), "{error}");
    }

    #[test]
    fn neither_debug_output_nor_fingerprint_shows_the_secret() {
        let data = data(&[("username", "user"), ("password", "hunter22")]);
        let credentials = Credentials::from_secret(&data, &https()).unwrap();
        let shown = format!("{credentials:?} {}", credentials.fingerprint());
        assert!(!shown.contains("hunter22"), "{shown}");
    }
}
