//! Which proxy the environment wants on the way to a server: `HTTPS_PROXY`, `HTTP_PROXY`,
//! `ALL_PROXY` and `NO_PROXY`, in capitals or small, as Go's programs and `curl` read them.
//!
//! Servers on this machine are never behind a proxy.

use std::fmt;
use std::net::IpAddr;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;

/// A proxy for one server.
#[derive(Clone)]
pub struct Proxy {
    url: Uri,
    authorization: Option<HeaderValue>,
    variable: &'static str,
}

/// A variable of the environment names no proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {problem}; it should look like http://proxy.example.com:3128")]
pub struct ProxyError {
    variable: &'static str,
    problem: &'static str,
}

impl Proxy {
    /// The proxy on the way to `server`, if there is one. `variable` reads the environment.
    ///
    /// # Errors
    /// When the variable that counts for this server cannot be used. The others are not looked at.
    pub fn on_the_way_to(
        server: &Uri,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, ProxyError> {
        if is_this_machine(server) {
            return Ok(None);
        }
        let read = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| {
                let value = variable(name)?;
                let value = value.trim();
                (!value.is_empty()).then(|| (name, value.to_owned()))
            })
        };
        let names = match server.scheme_str() {
            Some("https") => ["HTTPS_PROXY", "https_proxy"],
            _ => ["HTTP_PROXY", "http_proxy"],
        };
        let found = read(names).or_else(|| read(["ALL_PROXY", "all_proxy"]));
        let Some((variable, text)) = found else {
            return Ok(None);
        };
        let wrong = |problem| ProxyError { variable, problem };
        let url: Uri = text.parse().map_err(|_| wrong("is no URL"))?;
        if !matches!(url.scheme_str(), None | Some("http" | "https")) {
            return Err(wrong("is no proxy for HTTP"));
        }
        let exceptions = read(["NO_PROXY", "no_proxy"]).map_or_else(String::new, |(_, text)| text);
        // Whether the text names a proxy at all is asked without the exceptions.
        let all = Matcher::builder().all(text.clone()).build();
        if all.intercept(server).is_none() {
            return Err(wrong("has no host"));
        }
        let matcher = Matcher::builder().all(text).no(exceptions).build();
        Ok(matcher.intercept(server).map(|found| Self {
            url: found.uri().clone(),
            authorization: found.basic_auth().cloned(),
            variable,
        }))
    }

    /// Its address: `http` or `https`, host and port.
    pub fn url(&self) -> &Uri {
        &self.url
    }

    /// What it is shown in `Proxy-Authorization`.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Proxy({self})")
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self
            .url
            .authority()
            .map_or("", |authority| authority.as_str());
        write!(formatter, "{host} of {}", self.variable)
    }
}

fn is_this_machine(server: &Uri) -> bool {
    let host = server.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(server: &str, environment: &[(&str, &str)]) -> Result<Option<String>, ProxyError> {
        let server: Uri = server.parse().unwrap();
        let variable = |name: &str| {
            let found = environment.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let proxy = Proxy::on_the_way_to(&server, variable)?;
        Ok(proxy.map(|proxy| proxy.to_string()))
    }

    #[test]
    fn the_variable_of_the_scheme_counts_and_else_that_for_all() {
        let all = [
            ("HTTPS_PROXY", "http://secure:1"),
            ("http_proxy", "plain:2"),
            ("ALL_PROXY", "http://any:3"),
        ];
        let found = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(
            proxy("https://api.example.com", &all),
            found("secure:1 of HTTPS_PROXY")
        );
        assert_eq!(
            proxy("http://api.example.com", &all),
            found("plain:2 of http_proxy")
        );
        assert_eq!(
            proxy("https://api.example.com", &all[1..]),
            found("any:3 of ALL_PROXY")
        );
        assert_eq!(
            proxy("https://api.example.com", &[("HTTPS_PROXY", " ")]),
            Ok(None)
        );
        assert_eq!(proxy("https://api.example.com", &[]), Ok(None));
    }

    #[test]
    fn exceptions_and_this_machine_are_reached_directly() {
        for (server, exceptions, is_direct) in [
            ("https://api.example.com", "", false),
            ("https://api.example.com", "example.com", true),
            ("https://api.example.com", ".example.com, other.net", true),
            ("https://api.example.com", "other.net", false),
            ("https://notexample.com", "example.com", false),
            ("https://10.1.2.3:6443", "10.0.0.0/8", true),
            ("https://11.1.2.3:6443", "10.0.0.0/8", false),
            ("https://api.example.com", "*", true),
            ("https://localhost:8081", "", true),
            ("https://127.0.0.1:8081", "", true),
            ("https://[::1]:8081", "", true),
        ] {
            let environment = [("HTTPS_PROXY", "http://proxy:1"), ("NO_PROXY", exceptions)];
            let found = proxy(server, &environment).unwrap();
            assert_eq!(found.is_none(), is_direct, "{server} with {exceptions:?}");
        }
    }

    #[test]
    fn what_names_no_proxy_is_refused_with_the_variable_and_without_the_value() {
        for text in ["socks5://user:hunter2@proxy:1", "http://", "a b", "/proxy"] {
            let error = proxy("https://api.example.com", &[("HTTPS_PROXY", text)]).unwrap_err();
            let error = error.to_string();
            assert!(error.starts_with("HTTPS_PROXY "), "{text}: {error}");
            assert!(!error.contains("hunter2"));
        }
        // A variable that does not count is not looked at.
        assert_eq!(
            proxy("https://api.example.com", &[("HTTP_PROXY", "a b")]),
            Ok(None)
        );
    }

    #[test]
    fn a_password_is_for_the_proxy_alone() {
        let server = Uri::from_static("https://api.example.com");
        let variable =
            |name: &str| (name == "HTTPS_PROXY").then(|| "http://me:hunter2@proxy:1".to_owned());
        let proxy = Proxy::on_the_way_to(&server, variable).unwrap().unwrap();
        assert_eq!(proxy.authorization().unwrap(), "Basic bWU6aHVudGVyMg==");
        assert!(!format!("{proxy} {proxy:?} {}", proxy.url()).contains("hunter2"));
    }
}
