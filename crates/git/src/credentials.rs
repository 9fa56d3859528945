//! What a Secret says about how to log in to a Git server.

use std::fmt;

use k8s_openapi::api::core::v1::Secret;

/// How to log in to a Git server.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub enum Credentials {
    /// Not at all: the repository is public.
    #[default]
    Anonymous,
    /// With a token over HTTP(S). It is sent as the password of the user `x-access-token`,
    /// which the large hosting services take for any kind of token.
    Token(String),
    /// With a user name and a password over HTTP(S).
    Password {
        /// User name.
        username: String,
        /// Password, or a token for a service that wants a certain user name with it.
        password: String,
    },
    /// With a private key over SSH.
    Key {
        /// Private key in OpenSSH or PEM form.
        private_key: String,
        /// Host keys to trust, in the form of `known_hosts`. Without it, those that the
        /// operator's own user and machine know.
        known_hosts: Option<String>,
    },
}

/// A Secret that says nothing about how to log in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot use Secret {secret} for Git: {problem}; set one of token, username and password, ssh-privatekey"
)]
pub struct CredentialsError {
    secret: String,
    problem: String,
}

impl Credentials {
    /// Reads `token`, or `username` and `password`, or `ssh-privatekey` and `known_hosts`; the
    /// first of them that is there wins. Line breaks at the end of a value do not count, except
    /// in a private key, which needs one.
    pub fn from_secret(secret: &Secret) -> Result<Self, CredentialsError> {
        let failed = |problem: String| CredentialsError {
            secret: full_name(secret),
            problem,
        };
        let text = |key: &str| -> Result<Option<String>, CredentialsError> {
            let Some(value) = secret.data.as_ref().and_then(|data| data.get(key)) else {
                return Ok(None);
            };
            let text = std::str::from_utf8(&value.0)
                .map_err(|_| failed(format!("the value of key {key:?} is not UTF-8 text")))?
                .trim_end_matches(['\r', '\n']);
            if text.is_empty() {
                return Err(failed(format!("the value of key {key:?} is empty")));
            }
            Ok(Some(text.to_owned()))
        };

        if let Some(token) = text("token")? {
            return Ok(Self::Token(token));
        }
        if let (Some(username), Some(password)) = (text("username")?, text("password")?) {
            return Ok(Self::Password { username, password });
        }
        if let Some(private_key) = text("ssh-privatekey")? {
            return Ok(Self::Key {
                private_key: private_key + "\n",
                known_hosts: text("known_hosts")?,
            });
        }
        Err(failed(match keys(secret).as_slice() {
            [] => "it has no keys".to_owned(),
            keys => format!("it has the keys {}", keys.join(", ")),
        }))
    }
}

/// Says which kind it is, and nothing of what it holds.
impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Token(_) => "Token(…)",
            Self::Password { .. } => "Password(…)",
            Self::Key { .. } => "Key(…)",
        })
    }
}

fn full_name(secret: &Secret) -> String {
    let namespace = secret.metadata.namespace.as_deref().unwrap_or_default();
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    format!("{namespace}/{name}")
}

fn keys(secret: &Secret) -> Vec<&str> {
    secret
        .data
        .iter()
        .flat_map(|data| data.keys().map(String::as_str))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    fn secret(entries: &[(&str, &str)]) -> Secret {
        let mut secret = Secret {
            data: Some(
                entries
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())))
                    .collect(),
            ),
            ..Secret::default()
        };
        secret.metadata.namespace = Some("default".to_owned());
        secret.metadata.name = Some("git-creds".to_owned());
        secret
    }

    #[test]
    fn a_token_wins_over_a_password_and_a_password_over_a_key() {
        let all = [
            ("token", "t0ken\n"),
            ("username", "me"),
            ("password", "pass"),
            ("ssh-privatekey", "key\n"),
        ];
        let credentials = |entries: &[(&str, &str)]| Credentials::from_secret(&secret(entries));
        assert_eq!(
            credentials(&all),
            Ok(Credentials::Token("t0ken".to_owned()))
        );
        assert_eq!(
            credentials(&all[1..]),
            Ok(Credentials::Password {
                username: "me".to_owned(),
                password: "pass".to_owned()
            })
        );
        assert_eq!(
            credentials(&all[2..]),
            Ok(Credentials::Key {
                private_key: "key\n".to_owned(),
                known_hosts: None
            })
        );
    }

    #[test]
    fn a_secret_without_credentials_is_refused_with_the_keys_it_has() {
        let error = Credentials::from_secret(&secret(&[("password", "x")])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot use Secret default/git-creds for Git: it has the keys password; \
             set one of token, username and password, ssh-privatekey"
        );
    }

    #[test]
    fn an_empty_value_is_named() {
        let error = Credentials::from_secret(&secret(&[("token", "\n")])).unwrap_err();
        assert!(error.to_string().contains("\"token\" is empty"), "{error}");
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let credentials = Credentials::Password {
            username: "me".to_owned(),
            password: "hunter2".to_owned(),
        };
        assert_eq!(format!("{credentials:?}"), "Password(…)");
    }
}
