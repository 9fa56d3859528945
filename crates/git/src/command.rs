//! The `git` program with the credentials of one repository.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nico_api::names::GitUrl;
use nico_runtime::process::ProcessGroup;
use tempfile::NamedTempFile;
use tokio::process::Command;

use crate::credentials::Credentials;
use crate::error::{GitError, without_user_information};
use crate::login::Login;

/// What a child may keep of our own environment: where programs, certificates and proxies are.
const KEPT: &[&str] = &[
    "PATH",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "no_proxy",
    "NO_PROXY",
    "all_proxy",
    "ALL_PROXY",
];

/// Variables for keys and values of settings, in the order of their numbers.
const CONFIG_NAMES: [(&str, &str); 2] = [
    ("GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0"),
    ("GIT_CONFIG_KEY_1", "GIT_CONFIG_VALUE_1"),
];

/// The `git` program, ready to talk to one repository with one set of credentials.
///
/// The SSH agent that holds a private key, or the memory that holds a password, lives as long as
/// this value.
pub struct Git {
    url: String,
    environment: Vec<(&'static str, OsString)>,
    _agent: Option<nico_ssh::Agent>,
    _login: Option<Login>,
    _known_hosts: Option<NamedTempFile>,
}

impl Git {
    /// Prepares the program for `url`. Nothing is sent yet.
    pub async fn new(url: &GitUrl, credentials: &Credentials) -> Result<Self, GitError> {
        let public_url = without_user_information(url.as_str());
        if has_password(url) {
            return Err(GitError::PasswordInUrl { url: public_url });
        }
        let mut git = Self {
            url: public_url.clone(),
            environment: plain_environment(),
            _agent: None,
            _login: None,
            _known_hosts: None,
        };
        match credentials {
            Credentials::Anonymous => {}
            Credentials::Token(token) => git.log_in_with_password(url, "x-access-token", token)?,
            Credentials::Password { username, password } => {
                git.log_in_with_password(url, username, password)?;
            }
            Credentials::Key {
                private_key,
                known_hosts,
            } => {
                if http_origin(url).is_some() {
                    return Err(GitError::UnusableCredentials {
                        url: public_url,
                        wanted: "an SSH URL",
                        instead: "token, or username and password",
                    });
                }
                let credentials = nico_ssh::Credentials::default()
                    .with_private_key(private_key)
                    .map_err(|source| GitError::PrivateKey {
                        url: public_url,
                        source,
                    })?;
                let agent = nico_ssh::Agent::start(&credentials)
                    .await
                    .map_err(GitError::Agent)?;
                git.set("SSH_AUTH_SOCK", agent.socket());
                git._agent = Some(agent);
                git.trust(known_hosts.as_deref())?;
            }
        }
        Ok(git)
    }

    /// Runs `git` with `arguments`, in `directory` if there is one, and gives what it wrote to
    /// its standard output. A child that is not done within `deadline` is ended, with all that it
    /// started; so is one whose future is dropped.
    pub async fn run(
        &self,
        arguments: &[&str],
        directory: Option<&Path>,
        deadline: Duration,
    ) -> Result<Vec<u8>, GitError> {
        let mut command = Command::new("git");
        command
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(directory) = directory {
            command.current_dir(directory);
        }
        let child = command.spawn().map_err(GitError::Start)?;
        let mut group = ProcessGroup::of(&child);
        let output = tokio::time::timeout(deadline, child.wait_with_output())
            .await
            .map_err(|_| GitError::TimedOut {
                url: self.url.clone(),
                deadline,
            })?
            .map_err(GitError::Start)?;
        group.disarm();
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(GitError::from_answer(
                &self.url,
                &String::from_utf8_lossy(&output.stderr),
            ))
        }
    }

    /// The URL without user information, as it may be shown.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn set(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.environment.push((name, value.into()));
    }

    /// Names the helper from which `git` gets user name and password, for the origin of `url`
    /// and for no other.
    fn log_in_with_password(
        &mut self,
        url: &GitUrl,
        username: &str,
        password: &str,
    ) -> Result<(), GitError> {
        let origin = http_origin(url).ok_or_else(|| GitError::UnusableCredentials {
            url: self.url.clone(),
            wanted: "an https URL",
            instead: "ssh-privatekey",
        })?;
        let login = Login::new(username, password).map_err(GitError::Login)?;
        // Some servers hide a repository from whoever does not log in at once.
        let settings = [
            (format!("credential.{origin}.helper"), login.helper()),
            (format!("http.{origin}/.proactiveAuth"), "basic".to_owned()),
        ];
        self.set("GIT_CONFIG_COUNT", settings.len().to_string());
        for ((key, value), (key_name, value_name)) in settings.into_iter().zip(CONFIG_NAMES) {
            self.set(key_name, key);
            self.set(value_name, value);
        }
        self._login = Some(login);
        Ok(())
    }

    /// Tells `ssh` which host keys to trust: those of the Secret, or else those that the
    /// operator's own user and machine know. Host keys are public, so a file may hold them.
    fn trust(&mut self, known_hosts: Option<&str>) -> Result<(), GitError> {
        let mut command =
            "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes".to_owned();
        if let Some(keys) = known_hosts {
            let mut file =
                NamedTempFile::with_prefix("nico-known-hosts-").map_err(GitError::KnownHosts)?;
            writeln!(file, "{keys}").map_err(GitError::KnownHosts)?;
            let path = nico_ssh::quote(&file.path().display().to_string());
            command += &format!(" -o UserKnownHostsFile={path} -o GlobalKnownHostsFile=/dev/null");
            self._known_hosts = Some(file);
        }
        self.set("GIT_SSH_COMMAND", command);
        Ok(())
    }
}

/// An environment in which `git` asks nobody, reads nobody's configuration, speaks English, and
/// opens no other kinds of URL than a spec may name.
fn plain_environment() -> Vec<(&'static str, OsString)> {
    let kept = KEPT
        .iter()
        .filter_map(|name| std::env::var_os(name).map(|value| (*name, value)));
    let set = [
        ("LC_ALL", "C"),
        ("HOME", "/nonexistent"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_ALLOW_PROTOCOL", "https:http:ssh:file"),
    ];
    kept.chain(set.map(|(name, value)| (name, value.into())))
        .collect()
}

/// `https://host:port` of an HTTP URL; `None` for other URLs.
fn http_origin(url: &GitUrl) -> Option<String> {
    let (scheme, rest) = url.as_str().split_once("://")?;
    let authority = rest.split('/').next()?;
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    matches!(scheme, "http" | "https").then(|| format!("{scheme}://{host}"))
}

/// Whether somebody wrote a password into an HTTP URL, where everybody sees it.
fn has_password(url: &GitUrl) -> bool {
    let authority = url
        .as_str()
        .split_once("://")
        .and_then(|(_, rest)| rest.split('/').next());
    authority
        .and_then(|authority| authority.rsplit_once('@'))
        .is_some_and(|(user, _)| http_origin(url).is_some() && user.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> GitUrl {
        text.parse().unwrap()
    }

    #[test]
    fn the_origin_is_scheme_host_and_port() {
        let origin = |text: &str| http_origin(&url(text));
        assert_eq!(
            origin("https://me:pw@git.example:8443/a/b.git").as_deref(),
            Some("https://git.example:8443")
        );
        assert_eq!(
            origin("http://git.example").as_deref(),
            Some("http://git.example")
        );
        assert_eq!(origin("ssh://git@git.example/a"), None);
        assert_eq!(origin("git@git.example:a"), None);
        assert_eq!(origin("file:///srv/a"), None);
    }

    #[tokio::test]
    async fn a_token_is_handed_to_its_own_origin_only_and_is_in_no_variable() {
        let git = Git::new(
            &url("https://git.example/clusters.git"),
            &Credentials::Token("t0ken".to_owned()),
        )
        .await
        .unwrap();
        let value = |name: &str| {
            git.environment
                .iter()
                .find(|(set, _)| *set == name)
                .map(|(_, value)| value.to_string_lossy().into_owned())
        };
        assert_eq!(
            value("GIT_CONFIG_KEY_0").as_deref(),
            Some("credential.https://git.example.helper")
        );
        assert_eq!(value("GIT_TERMINAL_PROMPT").as_deref(), Some("0"));
        let shows = |(_, value): &(&str, OsString)| value.to_string_lossy().contains("t0ken");
        assert!(!git.environment.iter().any(shows));
    }

    #[tokio::test]
    async fn a_password_in_the_url_is_refused_without_repeating_it() {
        let secret = url("https://me:hunter22@git.example/clusters.git");
        let error = Git::new(&secret, &Credentials::Anonymous)
            .await
            .err()
            .unwrap();
        assert!(matches!(error, GitError::PasswordInUrl { .. }), "{error}");
        assert!(!error.to_string().contains("hunter22"), "{error}");
        for fine in [
            "https://me@git.example/a",
            "ssh://git@git.example:22/a",
            "git@h:a",
        ] {
            assert!(
                Git::new(&url(fine), &Credentials::Anonymous).await.is_ok(),
                "{fine}"
            );
        }
    }

    #[tokio::test]
    async fn credentials_for_another_kind_of_url_are_refused() {
        let token = Credentials::Token("t".to_owned());
        let key = Credentials::Key {
            private_key: "k".to_owned(),
            known_hosts: None,
        };
        for (address, credentials) in [
            ("git@git.example:x", &token),
            ("ssh://git@git.example/x", &token),
            ("https://git.example/x", &key),
        ] {
            let error = Git::new(&url(address), credentials).await.err();
            assert!(
                matches!(error, Some(GitError::UnusableCredentials { .. })),
                "{address}: {error:?}"
            );
        }
    }
}
