//! The client behind a proxy, and with a server whose certificate the system does not trust.

mod support;

use std::net::SocketAddr;

use nico_mesh::Metrics;
use nico_mesh::netmaker::{BaseUrl, ClientError, ClientSettings, Netmaker};
use support::proxy::{Proxy, tls};
use support::{TIMEOUT, rule_body, server, settings};

/// A name that only the proxy knows.
const NAME: &str = "netmaker.test";

/// A client of `url` in an environment with these variables.
fn client(
    server: &nico_sandbox::netmaker::NetmakerServer,
    url: &str,
    certificate: Option<String>,
    environment: &[(&str, String)],
) -> Netmaker {
    let url: BaseUrl = url.parse().expect("an address");
    let variable = |name: &str| {
        let found = environment.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| value.clone())
    };
    let settings = ClientSettings {
        proxy: url.proxy(variable).expect("a proxy"),
        url,
        authorities: certificate.map(String::into_bytes),
        ..settings(server, TIMEOUT)
    };
    Netmaker::new(&settings, Metrics::default()).expect("a client")
}

fn url_of(proxy: SocketAddr, login: &str) -> String {
    format!("http://{login}{proxy}")
}

#[tokio::test]
async fn a_server_with_tls_is_reached_by_a_tunnel() {
    let server = server().await;
    let (address, certificate) = tls(NAME, server.address()).await;
    let proxy = Proxy::start(address, None).await;
    let environment = [("HTTPS_PROXY", url_of(proxy.address, "me:hunter2@"))];
    let url = format!("https://{NAME}/");
    let netmaker = client(&server, &url, Some(certificate.clone()), &environment);
    assert_eq!(netmaker.hosts().await.expect("hosts").len(), 0);
    netmaker
        .create(&rule_body(&server), None)
        .await
        .expect("a rule");
    assert_eq!(server.rules("net").len(), 1);
    let asked = proxy.asked();
    assert!(!asked.is_empty());
    for asked in asked {
        assert_eq!(asked.line, format!("CONNECT {NAME}:443 HTTP/1.1"));
        let login = "Basic bWU6aHVudGVyMg==";
        assert_eq!(asked.authorization.as_deref(), Some(login));
    }

    // The tunnel does not hide a certificate that nobody vouches for.
    let distrustful = client(&server, &url, None, &environment);
    let error = distrustful.hosts().await.expect_err("no trust");
    assert!(
        matches!(error, ClientError::Unreachable { .. }),
        "{error:?}"
    );
    assert!(!format!("{error:?} {error}").contains("hunter2"));
}

#[tokio::test]
async fn a_server_without_tls_is_asked_by_the_proxy() {
    let server = server().await;
    let proxy = Proxy::start(server.address(), None).await;
    let environment = [("http_proxy", url_of(proxy.address, "me:hunter2@"))];
    let netmaker = client(&server, &format!("http://{NAME}:8081"), None, &environment);
    assert_eq!(netmaker.hosts().await.expect("hosts").len(), 0);
    let first = proxy.asked().remove(0);
    let line = format!("POST http://{NAME}:8081/api/users/adm/authenticate HTTP/1.1");
    assert_eq!(first.line, line);
    assert_eq!(
        first.authorization.as_deref(),
        Some("Basic bWU6aHVudGVyMg==")
    );
}

#[tokio::test]
async fn no_proxy_and_this_machine_are_reached_directly() {
    let server = server().await;
    let proxy = Proxy::start(server.address(), None).await;
    let through = ("HTTP_PROXY", url_of(proxy.address, ""));
    let local = client(&server, &server.url(), None, std::slice::from_ref(&through));
    assert_eq!(local.hosts().await.expect("hosts").len(), 0);
    let exception = ("NO_PROXY", "test".to_owned());
    let url = format!("http://{NAME}:8081");
    let direct = client(&server, &url, None, &[through, exception]);
    let error = direct.hosts().await.expect_err("nobody knows the name");
    assert!(
        matches!(error, ClientError::Unreachable { .. }),
        "{error:?}"
    );
    assert_eq!(proxy.asked(), []);
}

/// What a proxy refuses was not written, and it is the proxy that is named.
#[tokio::test]
async fn a_proxy_that_refuses_is_named() {
    let server = server().await;
    for refusal in [
        "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\n\r\n<html>",
        "",
    ] {
        let proxy = Proxy::start(server.address(), Some(refusal)).await;
        let environment = [("HTTPS_PROXY", url_of(proxy.address, ""))];
        let netmaker = client(&server, &format!("https://{NAME}"), None, &environment);
        let error = netmaker.hosts().await.expect_err("refused");
        assert!(
            matches!(error, ClientError::Unreachable { .. }),
            "{refusal:?}: {error:?}"
        );
        assert!(!error.is_ambiguous());
        let mut source: Option<&dyn std::error::Error> = Some(&error);
        let mut text = String::new();
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        let named = format!("the proxy {} of HTTPS_PROXY", proxy.address);
        assert!(text.contains(&named), "{text}");
    }
}
