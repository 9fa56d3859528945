//! Connections that are reset.

use std::error::Error;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use kube::client::ConfigExt;
use nico_apiserver::Server;
use nico_apiserver::faults::{Nth, Rule, Verb, When};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::{SOON, config, map, maps, names, server};

/// The kind of the I/O error at the bottom of an error.
fn cause(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}

/// A server of which the first creation was reset.
async fn after_a_reset(when: When) -> (Server, Api<ConfigMap>) {
    let (server, client) = server().await;
    let maps = maps(&client);
    let rule = Rule::reset(when).verbs([Verb::Create]);
    let reset = server.faults().add(rule.nth(Nth::First(1)));
    let error = create(&maps).await.unwrap_err();
    assert_eq!(
        cause(&error),
        Some(io::ErrorKind::ConnectionReset),
        "{error:?}"
    );
    assert_eq!(reset.hits(), 1);
    (server, maps)
}

async fn create(maps: &Api<ConfigMap>) -> kube::Result<ConfigMap> {
    maps.create(&PostParams::default(), &map("a", "1")).await
}

#[tokio::test]
async fn a_reset_before_the_write_leaves_nothing_behind() {
    let (_server, maps) = after_a_reset(When::Before).await;
    assert!(!names(&maps).await.contains(&"a".to_owned()));
    create(&maps).await.unwrap();
}

#[tokio::test]
async fn a_reset_after_the_write_loses_only_the_answer() {
    let (_server, maps) = after_a_reset(When::After).await;
    assert!(names(&maps).await.contains(&"a".to_owned()));
    // What a client that does not know this gets when it tries again.
    let again = create(&maps).await.unwrap_err();
    assert!(matches!(again, kube::Error::Api(status) if status.reason == "AlreadyExists"));
}

/// A connection as Go clients such as `kubectl` open it; those of `kube` speak HTTP/1.1.
async fn http2(server: &Server) -> hyper::client::conn::http2::SendRequest<Empty<Bytes>> {
    let mut tls = config(server).await.rustls_client_config().unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let name = ServerName::from(server.address().ip());
    let stream = TlsConnector::from(Arc::new(tls))
        .connect(name, stream)
        .await
        .unwrap();
    let (requests, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    // It ends when the server resets it.
    tokio::spawn(connection);
    requests
}

#[tokio::test]
async fn a_reset_ends_every_request_on_an_http2_connection() {
    let (server, _) = server().await;
    let mut requests = http2(&server).await;
    let get = |path: &str| {
        let uri = format!("{}{path}", server.url());
        let request = Request::get(uri).header(header::ACCEPT, "application/json");
        request.body(Empty::new()).unwrap()
    };
    let watch = requests
        .send_request(get("/api/v1/configmaps?watch=true&resourceVersion=0"))
        .await
        .unwrap();
    assert_eq!(watch.version(), http::Version::HTTP_2);
    let reset = server
        .faults()
        .add(Rule::reset(When::Before).verbs([Verb::Get]));
    let error = requests
        .send_request(get("/api/v1/namespaces/default"))
        .await
        .unwrap_err();
    assert_eq!(
        cause(&error),
        Some(io::ErrorKind::ConnectionReset),
        "{error:?}"
    );
    assert_eq!(reset.hits(), 1);
    let rest = timeout(SOON, watch.into_body().collect()).await.unwrap();
    assert!(rest.is_err(), "the watch ends with the connection");
}
