//! Where Netmaker is, and how a client shows who it is.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use nico_runtime::proxy::{Proxy, ProxyError};
use zeroize::Zeroizing;

/// A text that is never shown.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("<hidden>")
    }
}

/// How a client shows who it is.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// By a login, which is renewed.
    Password {
        /// The account.
        username: String,
        /// Its password.
        password: Secret,
    },
    /// By an access token.
    Token(Secret),
    /// By an access token in a file that may change.
    TokenFile(PathBuf),
}

/// The address of a Netmaker API: scheme, host, perhaps a port and a path; no slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(String);

/// A text is no address of a Netmaker API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; it should look like https://api.netmaker.example.com")]
pub struct BaseUrlError(&'static str);

impl std::str::FromStr for BaseUrl {
    type Err = BaseUrlError;

    fn from_str(text: &str) -> Result<Self, BaseUrlError> {
        let text = text.trim().trim_end_matches('/');
        let url: Uri = text.parse().map_err(|_| BaseUrlError("it is no URL"))?;
        if !matches!(url.scheme_str(), Some("http" | "https")) {
            return Err(BaseUrlError("it does not begin with http:// or https://"));
        }
        let authority = url.authority().map_or("", http::uri::Authority::as_str);
        if authority.is_empty() || authority.starts_with(':') {
            return Err(BaseUrlError("it has no host"));
        }
        if authority.contains('@') {
            return Err(BaseUrlError("it has a user name in it"));
        }
        if url.query().is_some() || text.contains('#') {
            return Err(BaseUrlError("it has a query or a fragment"));
        }
        if url.path().contains("//") {
            return Err(BaseUrlError("it has a doubled slash"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl BaseUrl {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The proxy that the environment wants on the way there; `variable` reads the environment.
    ///
    /// # Errors
    /// When the variable that counts names no proxy.
    pub fn proxy(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Proxy>, ProxyError> {
        let url: Uri = self.0.parse().unwrap_or_default();
        Proxy::on_the_way_to(&url, variable)
    }

    pub(super) fn is_tls(&self) -> bool {
        let scheme = self.0.split(':').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case("https")
    }

    pub(super) fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a client needs.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// The server.
    pub url: BaseUrl,
    /// Who we are.
    pub credentials: Credentials,
    /// Certificates in PEM that are trusted beside those of the system.
    pub authorities: Option<Vec<u8>>,
    /// The proxy on the way to the server.
    pub proxy: Option<Proxy>,
    /// How long one request may take, with its answer.
    pub timeout: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D9: a slash at the end of the address broke the login.
    #[test]
    fn d9_a_slash_at_the_end_is_no_harm() {
        for (text, url) in [
            (
                "https://netmaker.example.com",
                "https://netmaker.example.com",
            ),
            (
                "https://netmaker.example.com/",
                "https://netmaker.example.com",
            ),
            (" http://10.0.0.1:8081// ", "http://10.0.0.1:8081"),
            (
                "https://example.com/netmaker/",
                "https://example.com/netmaker",
            ),
        ] {
            assert_eq!(text.parse(), Ok(BaseUrl(url.to_owned())));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "netmaker.example.com",
            "ftp://example.com",
            "https://",
            "https://user:secret@example.com",
            "https://example.com?x=1",
            "https://example.com//api",
            "https://exa mple.com",
        ] {
            assert!(text.parse::<BaseUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let credentials = Credentials::Password {
            username: "robot".to_owned(),
            password: Secret::new("hunter2"),
        };
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
